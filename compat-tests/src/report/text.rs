//! The report for people: a line a scenario, coloured differences, a table by area.

use console::{Style, style};

use super::groups::{self, first_line};
use super::{Run, by_area};
use crate::case::{CaseResult, Judged, Outcome, WORDS};
use crate::verdict::Divergence;
use crate::verdict::diff::{self, Difference, Tag};

/// Lines of one difference shown before it is cut.
const SHOWN: usize = 60;

/// One line for one outcome.
pub fn line(outcome: &Outcome) -> String {
    let word = outcome.word();
    let coloured = match word {
        "same" | "alone" => style(word).green(),
        "explained" => style(word).cyan(),
        "skipped" => style(word).yellow(),
        _ => style(word).red().bold(),
    };
    let detail = match &outcome.result {
        CaseResult::Skipped(reason) | CaseResult::Broken(reason) => format!(": {reason}"),
        CaseResult::Judged(Judged { verdict, .. }) if !verdict.explained.is_empty() => {
            format!(" ({} known differences)", verdict.explained.len())
        }
        CaseResult::Judged(_) => String::new(),
    };
    let took = outcome.took.as_millis();
    format!("{coloured} {} [{} ms]{detail}", outcome.case.key(), took)
}

/// What is wrong with an outcome; with `all` in full, and what is known to differ too.
pub fn details(outcome: &Outcome, known: &[Divergence], all: bool) -> String {
    told(outcome, known, all, all)
}

/// `states` unfolds the state of whatever hangs.
fn told(outcome: &Outcome, known: &[Divergence], all: bool, states: bool) -> String {
    let mut out = String::new();
    let CaseResult::Judged(Judged { verdict, .. }) = &outcome.result else { return out };
    if verdict.is_good() && !all {
        return out;
    }
    out.push_str(&format!("\n{}\n", style(outcome.case.key()).bold().underlined()));
    out.push_str(&format!("  {}\n", outcome.case.why()));
    for broken in &verdict.broken {
        let broken = match broken.lines().count() {
            lines if lines > 1 && !states => {
                format!("{} ({} lines of its state: --verbose)", first_line(broken), lines - 1)
            }
            _ => broken.replace('\n', "\n    "),
        };
        out.push_str(&format!("  {} {broken}\n", style("not as it must be:").red()));
    }
    for difference in &verdict.unexpected {
        out.push_str(&shown(difference));
    }
    if all {
        for (difference, index) in &verdict.explained {
            let entry = &known[*index];
            out.push_str(&format!("  {} {} ({})\n", style("known:").cyan(), entry.why, entry.doc));
            out.push_str(&shown(difference));
        }
    }
    out
}

/// Why a case is not good, for whoever plays only that one.
pub fn story(outcome: &Outcome, known: &[Divergence]) -> String {
    match &outcome.result {
        CaseResult::Broken(reason) => reason.clone(),
        _ => told(outcome, known, false, true),
    }
}

/// Lines of one difference, and names of cases, that a summary shows.
const SUMMED_UP: usize = 6;

/// What is wrong, each thing once, with how many runs show it.
fn findings(outcomes: &[Outcome]) -> String {
    let groups = groups::groups(outcomes);
    if groups.is_empty() {
        return String::new();
    }
    let title = format!("what is wrong: {} findings", groups.len());
    let mut out = format!("\n{}\n", style(title).red().bold());
    for group in groups {
        let runs = group.outcomes.len();
        out.push_str(&format!("{runs:>6} x {}\n", style(&group.what).bold()));
        let lines = group.example.map(diff::show).unwrap_or_default();
        let changed =
            lines.iter().filter(|line| matches!(line.tag, Tag::Reference | Tag::Candidate));
        for line in changed.take(SUMMED_UP) {
            let mark = if line.tag == Tag::Reference { '-' } else { '+' };
            let text: String = line.text.chars().take(200).collect();
            out.push_str(&format!("         {mark} {text}\n"));
        }
        let keys: Vec<String> =
            group.outcomes.iter().take(SUMMED_UP).map(|outcome| outcome.case.key()).collect();
        let more = runs.saturating_sub(SUMMED_UP);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        out.push_str(&format!("         in {}{more}\n", keys.join(", ")));
    }
    out
}

fn shown(difference: &Difference) -> String {
    let mut out = format!("  {}\n", style(&difference.path).bold());
    let lines = diff::show(difference);
    for line in lines.iter().take(SHOWN) {
        let (mark, look) = match line.tag {
            Tag::Same => (' ', Style::new().dim()),
            Tag::Reference => ('-', Style::new().red()),
            Tag::Candidate => ('+', Style::new().green()),
            Tag::Gap => (' ', Style::new().dim()),
        };
        out.push_str(&format!("    {}\n", look.apply_to(format!("{mark} {}", line.text))));
    }
    if lines.len() > SHOWN {
        out.push_str(&format!("    ... {} lines more\n", lines.len() - SHOWN));
    }
    out
}

/// The table by area, and the last line.
pub fn summary(run: &Run<'_>) -> String {
    let Run { comparison, outcomes, stale, .. } = run;
    let columns = WORDS;
    let areas = by_area(outcomes);
    let width = areas.keys().map(String::len).chain([8]).max().unwrap_or(8);
    let mut out = format!("\n{:width$}", "area");
    for column in columns {
        out.push_str(&format!(" {column:>9}"));
    }
    out.push('\n');
    for (area, counts) in &areas {
        out.push_str(&format!("{area:width$}"));
        for column in columns {
            match counts.get(column) {
                Some(count) => out.push_str(&format!(" {count:>9}")),
                None => out.push_str(&format!(" {:>9}", "-")),
            }
        }
        out.push('\n');
    }
    out.push_str(&findings(outcomes));
    for stale in *stale {
        let (place, why) = (stale.place(), &stale.entry.why);
        let title = style("known divergence that did not show:").red();
        out.push_str(&format!("{title} {place}: {why}\n"));
    }
    let bad = outcomes.iter().filter(|o| !o.is_good()).count();
    out.push_str(&format!("\nreference: {}\n", comparison.reference.label()));
    if !comparison.equals {
        out.push_str(&format!("           {}\n", comparison.traits));
    }
    out.push_str(&format!(
        "candidate: {} ({})\n",
        comparison.candidate.path.display(),
        comparison.candidate.label
    ));
    let runs = match outcomes.len() {
        1 => "1 run".to_string(),
        many => format!("{many} runs"),
    };
    let verdict = if bad == 0 && stale.is_empty() {
        style(format!("{runs}, nothing unexplained")).green()
    } else {
        style(format!("{runs}, {bad} with unexplained differences, {} stale entries", stale.len()))
            .red()
    };
    out.push_str(&format!("{verdict}\n"));
    let skipped = outcomes.iter().filter(|outcome| outcome.is_skipped()).count();
    let (passed, failed) = (outcomes.len() - bad - skipped, bad + stale.len());
    out.push_str(&format!("{passed} passed, {failed} failed, {skipped} skipped\n"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{difference, failing, judged, not_judged, with_run};
    use crate::verdict::Verdict;

    fn summed_up(outcomes: &[Outcome], stale: bool) -> String {
        with_run(outcomes, stale, |run| console::strip_ansi_codes(&summary(run)).into_owned())
    }

    #[test]
    fn the_last_lines_count_what_passed_failed_and_was_skipped() {
        let outcomes = [
            judged(Verdict::default()),
            judged(Verdict::default()),
            failing(vec![difference("a.b", "x", "y")]),
            not_judged(CaseResult::Broken("no world".into())),
            not_judged(CaseResult::Skipped("no criu".into())),
        ];
        let text = summed_up(&outcomes, true);
        assert!(
            text.contains("5 runs, 2 with unexplained differences, 1 stale entries\n"),
            "{text}"
        );
        assert!(text.ends_with("2 passed, 3 failed, 1 skipped\n"), "{text}");
        let text = summed_up(&outcomes[..1], false);
        assert!(
            text.ends_with("1 run, nothing unexplained\n1 passed, 0 failed, 0 skipped\n"),
            "{text}"
        );
        // An entry that did not show is a failure where every case is good.
        let text = summed_up(&outcomes[..1], true);
        assert!(text.contains("1 run, 0 with unexplained differences, 1 stale entries"), "{text}");
        assert!(text.ends_with("1 passed, 1 failed, 0 skipped\n"), "{text}");
    }

    #[test]
    fn the_state_of_what_hangs_is_told_to_who_asks_for_it() {
        let broken = vec!["candidate: deadline\nits state".to_owned()];
        let outcome = judged(Verdict { broken, ..Verdict::default() });
        let folded = console::strip_ansi_codes(&details(&outcome, &[], false)).into_owned();
        assert!(folded.contains("deadline (1 lines of its state: --verbose)"), "{folded}");
        assert!(!folded.contains("its state\n"), "{folded}");
        for told in [details(&outcome, &[], true), story(&outcome, &[])] {
            assert!(told.contains("deadline\n    its state"), "{told}");
        }
    }
}
