//! One self-contained page: the matrix, and behind each cell both sides.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Run, by_area};
use crate::case::{CaseResult, Comparison, Judged, Outcome, WORDS};
use crate::scenario::RuntimeKind;
use crate::verdict::Divergence;
use crate::verdict::diff::{self, Difference, Tag};

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --bad: #c62828; --good: #2e7d32; --known: #1565c0; --skip: #8a6d00; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
.cell { border: 0; background: none; font: inherit; cursor: pointer; padding: 0 .3rem; text-decoration: underline dotted; }
.DIFFERS, .broken { color: var(--bad); font-weight: 700; } .same, .alone { color: var(--good); }
.explained { color: var(--known); } .skipped { color: var(--skip); }
tr.detail { display: none; } tr.detail.open { display: table-row; }
.sides { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; }
pre b { font-weight: inherit; display: block; } .minus { background: #c6282822; } .plus { background: #2e7d3222; }
h4 { margin: .8rem 0 .2rem; font-family: monospace; } .why { color: GrayText; } .filter { margin: 1rem 0; }
.num { text-align: right; } .nowrap { white-space: nowrap; }
";

const SCRIPT: &str = "
document.addEventListener('click', e => {
  const id = e.target.dataset && e.target.dataset.open;
  if (id) { const row = document.getElementById(id); row.classList.toggle('open'); }
});
document.getElementById('only').addEventListener('input', e => {
  const want = e.target.value;
  for (const row of document.querySelectorAll('tr.task')) {
    const hit = !want || row.dataset.words.includes(want) || row.dataset.name.includes(want);
    row.style.display = hit ? '' : 'none';
    if (!hit) document.querySelectorAll('[data-of=\"' + row.id + '\"]').forEach(d => d.classList.remove('open'));
  }
});
";

/// The columns of the matrix: the runtimes, and cases that are played with whatever works.
const COLUMNS: [(Option<RuntimeKind>, &str); 4] = [
    (Some(RuntimeKind::Crun), "crun"),
    (Some(RuntimeKind::Runc), "runc"),
    (Some(RuntimeKind::Standin), "stand-in"),
    (None, ""),
];

/// The whole page.
pub fn page(run: &Run<'_>) -> String {
    let Run { comparison, outcomes, stale } = run;
    let mut out = String::from("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">");
    let _ = write!(
        out,
        "<meta name=\"viewport\" content=\"width=device-width\"><title>conmon-compat</title><style>{STYLE}</style>\
         <h1>Two monitors compared</h1><table><tr><th>reference<td>{}<tr><th>candidate<td>{} ({})</table>",
        html(&comparison.reference.label()),
        html(&comparison.candidate.path.display().to_string()),
        html(&comparison.candidate.label),
    );
    areas(&mut out, outcomes);
    if !stale.is_empty() {
        out.push_str("<h2>Known divergences that did not show</h2><ul>");
        for entry in *stale {
            let name = format!("{}: {}", entry.scenario.joined(), entry.path.joined());
            let _ = write!(out, "<li class=\"DIFFERS\">{} — {}", html(&name), html(&entry.why));
        }
        out.push_str("</ul>");
    }
    matrix(&mut out, comparison, outcomes);
    let _ = write!(out, "<script>{SCRIPT}</script></html>");
    out
}

fn areas(out: &mut String, outcomes: &[Outcome]) {
    out.push_str("<h2>By area</h2><table><tr><th>area");
    for word in WORDS {
        let _ = write!(out, "<th class=\"num\">{word}");
    }
    for (area, counts) in by_area(outcomes) {
        let _ = write!(out, "<tr><td>{}", html(&area));
        for word in WORDS {
            match counts.get(word) {
                Some(count) => {
                    let _ = write!(out, "<td class=\"num {word}\">{count}");
                }
                None => out.push_str("<td class=\"num\">·"),
            }
        }
    }
    out.push_str("</table>");
}

fn matrix(out: &mut String, comparison: &Comparison, outcomes: &[Outcome]) {
    let mut rows: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        rows.entry(outcome.case.name()).or_default().push(outcome);
    }
    out.push_str(
        "<h2>Cases</h2><p class=\"filter\"><label>Show only <input id=\"only\" list=\"words\" \
         placeholder=\"DIFFERS, attach/, …\"></label><datalist id=\"words\"><option>DIFFERS<option>explained\
         <option>skipped<option>broken</datalist></p>\
         <table><tr><th>case<th>crun<th>runc<th>stand-in<th>any",
    );
    for (row, (name, mut cells)) in rows.into_iter().enumerate() {
        cells.sort_by_key(|outcome| outcome.case.runtime());
        let words: Vec<&str> = cells.iter().map(|outcome| outcome.word()).collect();
        let why = cells.first().map(|o| o.case.why()).unwrap_or_default();
        let _ = write!(
            out,
            "<tr class=\"task\" id=\"r{row}\" data-name=\"{}\" data-words=\"{}\"><td>{}<div class=\"why\">{}</div>",
            html(name),
            words.join(" "),
            html(name),
            html(why)
        );
        let mut details = String::new();
        for (kind, name) in COLUMNS {
            out.push_str("<td class=\"nowrap\">");
            let of_kind = cells.iter().enumerate().filter(|(_, o)| o.case.runtime() == kind);
            for (index, outcome) in of_kind {
                let id = format!("d{row}-{index}");
                let word = outcome.word();
                let _ =
                    write!(out, "<button class=\"cell {word}\" data-open=\"{id}\">{word}</button>");
                let _ = write!(
                    details,
                    "<tr class=\"detail\" id=\"{id}\" data-of=\"r{row}\"><td colspan=\"5\"><b>{name}</b> {} ms{}",
                    outcome.took.as_millis(),
                    detail(comparison, outcome)
                );
            }
        }
        out.push_str(&details);
    }
    out.push_str("</table>");
}

fn detail(comparison: &Comparison, outcome: &Outcome) -> String {
    let mut out = String::new();
    match &outcome.result {
        CaseResult::Skipped(reason) | CaseResult::Broken(reason) => {
            let _ = write!(out, "<pre>{}</pre>", html(reason));
        }
        CaseResult::Judged(Judged { verdict, candidate, .. }) => {
            for broken in &verdict.broken {
                let _ = write!(out, "<p class=\"DIFFERS\">{}</p>", html(broken));
            }
            for difference in &verdict.unexpected {
                sides(&mut out, difference, None);
            }
            for (difference, index) in &verdict.explained {
                sides(&mut out, difference, comparison.known.get(*index));
            }
            if verdict.unexpected.is_empty() && verdict.explained.is_empty() {
                let seen = serde_json::to_string_pretty(&candidate.value).unwrap_or_default();
                let _ = write!(
                    out,
                    "<details><summary>what was seen</summary><pre>{}</pre></details>",
                    html(&seen)
                );
            }
        }
    }
    out
}

fn sides(out: &mut String, difference: &Difference, known: Option<&Divergence>) {
    let _ = write!(out, "<h4>{}</h4>", html(&difference.path));
    if let Some(entry) = known {
        let _ = write!(
            out,
            "<p class=\"explained\">{} <span class=\"why\">{}</span></p>",
            html(&entry.why),
            html(&entry.doc)
        );
    }
    let (mut left, mut right) = (String::new(), String::new());
    for line in diff::show(difference) {
        let text = html(&line.text);
        match line.tag {
            Tag::Same | Tag::Gap => {
                let _ = write!(left, "<b>{text}</b>");
                let _ = write!(right, "<b>{text}</b>");
            }
            Tag::Reference => {
                let _ = write!(left, "<b class=\"minus\">{text}</b>");
            }
            Tag::Candidate => {
                let _ = write!(right, "<b class=\"plus\">{text}</b>");
            }
        }
    }
    let _ = write!(
        out,
        "<div class=\"sides\"><div>reference<pre>{left}</pre></div><div>candidate<pre>{right}</pre></div></div>"
    );
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
