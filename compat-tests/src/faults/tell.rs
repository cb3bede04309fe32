//! What is printed of a run.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::faults::run::{Ran, Results};
use crate::faults::verdict::Verdict;

#[derive(Default)]
struct Row {
    cases: usize,
    refused: usize,
    survived: usize,
    explained: usize,
    wrong: usize,
    not_met: usize,
    broken: usize,
}

impl Row {
    fn count(&mut self, ran: &Ran) {
        self.cases += 1;
        match &ran.verdict {
            Verdict::Refused => self.refused += 1,
            Verdict::Survived => self.survived += 1,
            Verdict::NotMet => self.not_met += 1,
            Verdict::Broken(_) => self.broken += 1,
            Verdict::Wrong(_) if !ran.unexplained.is_empty() => self.wrong += 1,
            // Not seen again, or known.
            Verdict::Wrong(_) => self.explained += 1,
        }
    }
}

/// Everything that needs a person's eye, then the figures.
pub fn summary(results: &Results) -> String {
    let mut text = String::new();
    for (life, why) in &results.skipped {
        let _ = writeln!(text, "skipped    {life}: {why}");
    }
    for ran in &results.ran {
        let name = ran.case.name();
        if let Verdict::Broken(why) = &ran.verdict {
            let _ = writeln!(text, "BROKEN     {name}: {why}");
        }
        for problem in &ran.unexplained {
            let _ = writeln!(text, "WRONG      {name}: {problem}");
        }
        for problem in &ran.unsteady {
            let _ = writeln!(text, "unsteady   {name}: {problem}");
        }
    }
    for exception in &results.stale {
        let _ = writeln!(text, "STALE      {}: {}", exception.case, exception.problem);
    }
    text.push_str(&markdown(results));
    let all = total(results);
    let _ = writeln!(
        text,
        "{} faults in {:.0} s: {} survived, {} refused, {} explained, {} not met, {} wrong, {} broken, {} stale",
        all.cases,
        results.took.as_secs_f64(),
        all.survived,
        all.refused,
        all.explained,
        all.not_met,
        all.wrong,
        all.broken,
        results.stale.len()
    );
    text
}

fn total(results: &Results) -> Row {
    let mut all = Row::default();
    results.ran.iter().for_each(|ran| all.count(ran));
    all
}

/// The figures by life, and what goes wrong by kind.
pub fn markdown(results: &Results) -> String {
    let mut lives: BTreeMap<&str, Row> = BTreeMap::new();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for ran in &results.ran {
        lives.entry(&ran.case.life).or_default().count(ran);
        for problem in &ran.unexplained {
            let kind = problem.split(':').next().unwrap_or_default();
            *kinds.entry(kind.to_owned()).or_default() += 1;
        }
    }
    let mut text = String::from(
        "| Life | faults | survived | refused | explained | not met | wrong |\n|---|---|---|---|---|---|---|\n",
    );
    for (life, row) in &lives {
        let _ = writeln!(
            text,
            "| {life} | {} | {} | {} | {} | {} | {} |",
            row.cases, row.survived, row.refused, row.explained, row.not_met, row.wrong
        );
    }
    if !kinds.is_empty() {
        let kinds: Vec<String> =
            kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let _ = writeln!(text, "\nWhat is wrong: {}.", kinds.join(", "));
    }
    text
}
