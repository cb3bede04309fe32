//! One self-contained page: what is wrong first and open, what is known quiet.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::groups::{self, Group, Mark};
use super::{Run, by_area};
use crate::case::{CaseResult, Judged, Outcome, WORDS};
use crate::verdict::diff::{self, Difference, Tag};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Where the rules of a prefix stand in the specification.
const RULES: [(&str, &[&str]); 6] = [
    ("attach-and-control.md", &["ATT", "CTL", "NTF"]),
    ("callers.md", &["CALL"]),
    ("cgroups-and-oom.md", &["OOM"]),
    ("command-line.md", &["CLI", "ENV"]),
    ("life.md", &["CMD", "EXEC", "EXIT", "LIFE", "REP", "RUN", "SIG", "TIME", "TTY"]),
    ("logs.md", &["JRN", "LOG", "MSG"]),
];

/// How often the two sides of one and the same difference are shown; after that a link leads to its group.
const EXAMPLES: usize = 3;

/// Lines of a difference, characters of a line, and names of cases that are shown.
const LINES: usize = 60;
const WIDTH: usize = 400;
const NAMES: usize = 12;

/// Bytes of both sides on a page.
const ROOM: usize = 2 << 20;

/// The whole page.
pub fn page(run: &Run<'_>) -> String {
    let mut out = String::from("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">");
    let bad: Vec<&Outcome> = run.outcomes.iter().filter(|outcome| !outcome.is_good()).collect();
    let groups = groups::groups(run.outcomes);
    let (title, class) = match bad.len() + run.stale.len() {
        0 => ("nothing unexplained".to_owned(), "same"),
        _ => (format!("{} of {} runs failed", bad.len(), run.outcomes.len()), "DIFFERS"),
    };
    let _ = write!(
        out,
        "<meta name=\"viewport\" content=\"width=device-width\"><title>conmon-compat: {title}</title><style>{STYLE}</style>\
         <h1>Two monitors compared: <span class=\"{class}\">{title}</span></h1>",
    );
    about(&mut out, run);
    findings(&mut out, &groups);
    stale(&mut out, run);
    failures(&mut out, run, &bad, &groups);
    known(&mut out, run);
    areas(&mut out, run.outcomes);
    matrix(&mut out, run.outcomes);
    let _ = write!(out, "<script>{SCRIPT}</script></html>");
    out
}

fn about(out: &mut String, run: &Run<'_>) {
    let comparison = run.comparison;
    let candidate = &comparison.candidate;
    let monitors = [
        ("reference", comparison.reference.label()),
        ("candidate", format!("{} ({})", candidate.path.display(), candidate.label)),
    ];
    out.push_str("<div class=\"wide\"><table class=\"about\">");
    for (word, text) in monitors.iter().chain(run.about) {
        let _ = write!(out, "<tr><th>{word}<td>{}", html(text));
    }
    out.push_str("</table></div>");
}

fn findings(out: &mut String, groups: &[Group<'_>]) {
    if groups.is_empty() {
        return;
    }
    let _ = write!(out, "<h2>What is wrong: {} findings</h2>", groups.len());
    for (number, group) in (1..).zip(groups) {
        let runs = group.outcomes.len();
        let _ = write!(
            out,
            "<details open id=\"g{number}\"><summary><b>{runs}×</b> <code>{}</code></summary>",
            html(&cut(&group.what))
        );
        if let Some(example) = group.example {
            sides(out, example);
        }
        out.push_str("<p class=\"why\">");
        for outcome in group.outcomes.iter().take(NAMES) {
            let key = html(&outcome.case.key());
            let _ = write!(out, "<a href=\"#{}\">{key}</a> ", anchor(&key));
        }
        if runs > NAMES {
            let _ = write!(out, "and {} more", runs - NAMES);
        }
        out.push_str("</p></details>");
    }
}

fn stale(out: &mut String, run: &Run<'_>) {
    if run.stale.is_empty() {
        return;
    }
    out.push_str("<h2>Known divergences that did not show</h2><ul>");
    for stale in run.stale {
        let (place, why) = (html(&stale.place()), html(&stale.entry.why));
        let _ = write!(out, "<li class=\"DIFFERS\">{place} — {why}");
    }
    out.push_str("</ul>");
}

fn failures(out: &mut String, run: &Run<'_>, bad: &[&Outcome], groups: &[Group<'_>]) {
    if bad.is_empty() {
        return;
    }
    let mut numbers: BTreeMap<Mark, (usize, usize)> = BTreeMap::new();
    for (number, group) in (1..).zip(groups) {
        for mark in group.example.into_iter().flat_map(groups::of_difference) {
            numbers.entry(mark).or_insert((number, 0));
        }
    }
    out.push_str("<h2>The runs that failed</h2>");
    let (mut room, mut told) = (ROOM, "");
    for outcome in bad {
        let key = html(&outcome.case.key());
        let _ = write!(
            out,
            "<details class=\"case\" id=\"{}\"><summary><b class=\"DIFFERS\">{}</b> {key}</summary><p class=\"why\">{} {}</p>",
            anchor(&key),
            outcome.word(),
            html(outcome.case.why()),
            rules(run.specification, outcome.case.proves()),
        );
        match &outcome.result {
            CaseResult::Skipped(reason) | CaseResult::Broken(reason) => in_words(out, reason),
            CaseResult::Judged(Judged { verdict, .. }) => {
                verdict.broken.iter().for_each(|text| in_words(out, text));
                for difference in &verdict.unexpected {
                    let of_group = groups::of_difference(difference);
                    let mark = of_group.iter().find(|mark| numbers.contains_key(mark));
                    let seen = mark.and_then(|mark| numbers.get_mut(mark));
                    let number = seen.as_ref().map(|seen| seen.0);
                    let shown = seen.map_or(0, |seen| {
                        seen.1 += 1;
                        seen.1 - 1
                    });
                    let mut both = String::new();
                    sides(&mut both, difference);
                    let _ = write!(out, "<h4>{}</h4>", html(&difference.path));
                    if shown < EXAMPLES && both.len() <= room {
                        room -= both.len();
                        out.push_str(&both);
                    } else if let Some(number) = number {
                        let _ = write!(out, "<p><a href=\"#g{number}\">the same as above</a></p>");
                    } else {
                        out.push_str("<p>left out: the page is full; --json has it</p>");
                    }
                }
            }
        }
        // With each runtime it is the same.
        if outcome.case.name() != told {
            told = outcome.case.name();
            let story = outcome.case.story().unwrap_or_else(|error| error.to_string());
            let _ = write!(
                out,
                "<details><summary>its steps, and how to do it by hand</summary><pre>{}</pre></details>",
                html(&story)
            );
        }
        out.push_str("</details>");
    }
}

/// What did not hold; a state that follows the line is folded behind it.
fn in_words(out: &mut String, text: &str) {
    let line = groups::first_line(text);
    let _ = write!(out, "<p class=\"DIFFERS\">{}</p>", html(&cut(line)));
    let rest = text.get(line.len()..).unwrap_or_default().trim_start_matches('\n');
    if !rest.is_empty() {
        let rest: String = rest.chars().take(LINES * WIDTH).collect();
        let _ = write!(
            out,
            "<details><summary>its state</summary><pre>{}</pre></details>",
            html(&rest)
        );
    }
}

fn known(out: &mut String, run: &Run<'_>) {
    let mut entries: BTreeMap<usize, (usize, Vec<String>)> = BTreeMap::new();
    for outcome in run.outcomes {
        let CaseResult::Judged(Judged { verdict, .. }) = &outcome.result else { continue };
        for (_, index) in &verdict.explained {
            let (count, keys) = entries.entry(*index).or_default();
            *count += 1;
            if keys.last() != Some(&outcome.case.key()) {
                keys.push(outcome.case.key());
            }
        }
    }
    if entries.is_empty() {
        return;
    }
    let _ = write!(
        out,
        "<details><summary><b class=\"explained\">{} known divergences</b></summary><div class=\"wide\"><table><tr><th class=\"num\">differences<th>kind<th>why<th>runs",
        entries.len()
    );
    for (index, (count, keys)) in entries {
        let Some(entry) = run.comparison.known.get(index) else { continue };
        let more = keys.len().saturating_sub(NAMES);
        let _ = write!(
            out,
            "<tr><td class=\"num\">{count}<td>{:?}<td>{} <span class=\"why\">{}</span><td class=\"why\">{}{}",
            entry.kind,
            html(&entry.why),
            html(&entry.doc),
            html(&keys.iter().take(NAMES).cloned().collect::<Vec<_>>().join(", ")),
            if more > 0 { format!(" and {more} more") } else { String::new() }
        );
    }
    out.push_str("</table></div></details>");
}

fn areas(out: &mut String, outcomes: &[Outcome]) {
    out.push_str("<h2>By area</h2><div class=\"wide\"><table><tr><th>area");
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
    out.push_str("</table></div>");
}

fn matrix(out: &mut String, outcomes: &[Outcome]) {
    let mut rows: BTreeMap<&str, Vec<&Outcome>> = BTreeMap::new();
    for outcome in outcomes {
        rows.entry(outcome.case.name()).or_default().push(outcome);
    }
    out.push_str(
        "<h2>All cases</h2><p><label>Show only <input id=\"only\" list=\"words\" placeholder=\"DIFFERS, attach/, …\"></label>\
         <datalist id=\"words\"><option>DIFFERS<option>explained<option>skipped<option>broken</datalist></p><table>",
    );
    for (name, cells) in rows {
        let why = cells.first().map(|outcome| outcome.case.why()).unwrap_or_default();
        let _ = write!(
            out,
            "<tr class=\"task\"><td>{}<div class=\"why\">{}</div><td>",
            html(name),
            html(why)
        );
        for outcome in cells {
            let runtime = outcome.case.runtime().map(|kind| kind.to_string()).unwrap_or_default();
            let (word, took) = (outcome.word(), outcome.took.as_millis());
            let key = html(&outcome.case.key());
            let title = match &outcome.result {
                CaseResult::Skipped(reason) => html(&cut(reason)),
                _ => format!("{took} ms"),
            };
            let shown = format!("<span class=\"{word}\" title=\"{title}\">{runtime} {word}</span>");
            let _ = match outcome.is_good() {
                true => write!(out, "{shown} "),
                false => write!(out, "<a href=\"#{}\">{shown}</a> ", anchor(&key)),
            };
        }
    }
    out.push_str("</table>");
}

fn sides(out: &mut String, difference: &Difference) {
    let (mut left, mut right) = (String::new(), String::new());
    let lines = diff::show(difference);
    for line in lines.iter().take(LINES) {
        let text = html(&cut(&line.text));
        let (on_left, on_right, class) = match line.tag {
            Tag::Same | Tag::Gap => (true, true, ""),
            Tag::Reference => (true, false, " class=\"minus\""),
            Tag::Candidate => (false, true, " class=\"plus\""),
        };
        for (side, shown) in [(&mut left, on_left), (&mut right, on_right)] {
            if shown {
                let _ = write!(side, "<b{class}>{text}</b>");
            }
        }
    }
    if let Some(more) = lines.len().checked_sub(LINES).filter(|more| *more > 0) {
        let _ = write!(right, "<b>... {more} lines more</b>");
    }
    let _ = write!(
        out,
        "<div class=\"sides\"><div>reference<pre>{left}</pre></div><div>candidate<pre>{right}</pre></div></div>"
    );
}

/// Links to rules.
fn rules(specification: &str, rules: &[String]) -> String {
    let links = rules.iter().map(|rule| match file_of(rule) {
        Some(file) => format!(
            "<a href=\"{}/{file}#{}\">{}</a> ",
            html(specification.trim_end_matches('/')),
            html(&rule.to_lowercase()),
            html(rule)
        ),
        None => format!("{} ", html(rule)),
    });
    links.collect()
}

fn file_of(rule: &str) -> Option<&'static str> {
    let (prefix, _) = rule.rsplit_once('-')?;
    RULES.iter().find(|(_, prefixes)| prefixes.contains(&prefix)).map(|(file, _)| *file)
}

/// Where on the page a case is.
fn anchor(key: &str) -> String {
    format!("c-{}", key.replace(' ', "-"))
}

fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(WIDTH).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use semver::Version;

    use super::*;
    use crate::case::{Comparison, Source};
    use crate::host::subject::Subject;
    use crate::report::tests::{difference, failing, judged, with_run};
    use crate::verdict::Verdict;

    fn page_of(outcomes: &[Outcome]) -> String {
        let version = Version::new(1, 2, 3);
        let candidate = Subject { path: "/bin/true".into(), version, label: "x".into() };
        let reference = Source::Run(candidate.clone());
        let comparison = Comparison::new("/bin/true".into(), reference, candidate, Vec::new());
        let about = vec![("kernel", "6.0 & more".to_owned())];
        page(&Run {
            comparison: &comparison,
            outcomes,
            stale: &[],
            about: &about,
            specification: "docs",
        })
    }

    #[test]
    fn a_page_of_many_failures_stays_small_and_tells_each_once() {
        let text = "x".repeat(5000);
        let outcomes: Vec<Outcome> = (0..1000)
            .map(|number| {
                failing(vec![
                    difference("runtime.0.umask", "0022", "0077"),
                    difference("logs.main.text", &text, &format!("{number}")),
                ])
            })
            .collect();
        let page = page_of(&outcomes);
        assert!(page.len() < 4 << 20, "{} bytes", page.len());
        assert!(page.contains("<b>1000×</b> <code>runtime.*.umask</code>"));
        assert!(page.contains("1000 of 1000 runs failed") && page.contains("6.0 &amp; more"));
        assert!(page.contains("area/&lt;case&gt;") && !page.contains("area/<case>"));
    }

    #[test]
    fn a_state_is_folded_behind_its_line() {
        let broken = vec!["candidate: deadline at step 1: run\nstate & more".to_owned()];
        let page = page_of(&[judged(Verdict { broken, ..Verdict::default() })]);
        let folded = "deadline at step 1: run</p><details><summary>its state</summary><pre>state &amp; more</pre>";
        assert!(page.contains(folded), "{page}");
    }

    #[test]
    fn every_rule_has_its_place() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/specification");
        let mut count = 0;
        for entry in std::fs::read_dir(docs).unwrap().flatten() {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            let anchors = text.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
            for rule in anchors.filter(|anchor| anchor.contains('-')) {
                let file = file_of(&rule.to_uppercase());
                assert_eq!(file, entry.file_name().to_str(), "{rule}");
                count += 1;
            }
        }
        assert!(count > 300, "{count}");
        let links = rules("https://example.org/spec/", &["LOG-12".to_owned()]);
        assert_eq!(links, "<a href=\"https://example.org/spec/logs.md#log-12\">LOG-12</a> ");
    }

    #[test]
    fn the_same_difference_is_shown_a_few_times_then_linked() {
        let outcome = || failing(vec![difference("runtime.0.umask", "0022", "\"7\"")]);
        let page = page_of(&[outcome(), outcome(), outcome(), outcome(), outcome()]);
        // Once in its group.
        assert_eq!(page.matches("<div class=\"sides\">").count(), EXAMPLES + 1);
        assert_eq!(page.matches("the same as above").count(), 5 - EXAMPLES);
        assert!(page.contains("&quot;7&quot;") && !page.contains("\"7\""));
    }

    #[test]
    fn a_run_with_many_long_differences_shows_no_more_than_there_is_room_for() {
        let line = |letter: &str, number| format!("{letter}{number} {}\\n", letter.repeat(WIDTH));
        let text = |letter| (0..LINES).map(|number| line(letter, number)).collect::<String>();
        let many = (0..200).map(|n| difference(&format!("a.x{n}"), &text("a"), &text("b")));
        let page = page_of(&[failing(many.collect())]);
        // Their groups show each of them already.
        let (_, runs) = page.split_once("<h2>The runs that failed</h2>").unwrap();
        assert!((ROOM / 2..ROOM * 2).contains(&runs.len()), "{} bytes", runs.len());
    }

    #[test]
    fn an_entry_that_did_not_show_is_in_the_title() {
        let good = [judged(Verdict::default())];
        assert!(with_run(&good, false, page).contains("<title>conmon-compat: nothing unexplained"));
        let page = with_run(&good, true, page);
        assert!(page.contains("<title>conmon-compat: 0 of 1 runs failed"), "{page}");
        assert!(page.contains("<li class=\"DIFFERS\">a/b: p — w # x"), "{page}");
    }
}
