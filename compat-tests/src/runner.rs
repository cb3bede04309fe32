//! Playing many cases: in what order, how many at once, how often, and until when.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Instant;

use crate::case::{Case, CaseResult, Comparison, Outcome, Table};
use crate::host::cgroup;
use crate::stop;
use crate::world::keeper;

/// How many cases run at once, and how often each.
#[derive(Clone, Copy)]
pub struct Pace {
    /// Nothing: as many as suit the table.
    pub jobs: Option<usize>,
    pub repeat: usize,
}

/// Plays tables one after the other and hands each outcome on. Once the end is asked for, the rest is handed on as not played.
pub fn run(comparison: &Comparison, tables: &[Table], pace: Pace, outcomes: &Sender<Outcome>) {
    cgroup::sweep();
    let processors = thread::available_parallelism().map_or(1, usize::from);
    for table in tables {
        let jobs = pace.jobs.unwrap_or(processors * table.jobs_per_processor);
        run_table(comparison, table, jobs, pace.repeat, outcomes);
    }
    keeper::tidy(&comparison.program);
}

/// The order in which cases are played. Those of one area wait alike, so neighbours are played far apart: where many wait at the same
/// time, a processor would have nothing to do.
pub fn spread<T: Clone>(cases: &[T]) -> Vec<T> {
    let count = cases.len();
    // The golden section leaves no two neighbours near each other; a stride without a common factor comes to everything once.
    let mut stride = (count * 618 / 1000).max(1);
    while greatest_common_divisor(stride, count) > 1 {
        stride -= 1;
    }
    let places = (0..count).map(|index| index * stride % count);
    places.filter_map(|place| cases.get(place).cloned()).collect()
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn run_table(
    comparison: &Comparison,
    table: &Table,
    jobs: usize,
    repeat: usize,
    outcomes: &Sender<Outcome>,
) {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(outcomes.clone());
    let cases = spread(&table.cases);
    let total = cases.len() * repeat;
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= total {
                return;
            }
            let case = &cases[index % cases.len()];
            let outcome =
                if stop::asked() { Outcome::not_played(case) } else { play(comparison, case) };
            let sender = outcomes.lock().map(|sender| sender.clone());
            if sender.is_ok_and(|sender| sender.send(outcome).is_err()) {
                return;
            }
        }
    };
    thread::scope(|scope| {
        // Where no thread can be had, this one plays alone.
        let wanted = 0..jobs.clamp(1, total.max(1));
        let workers = wanted.map_while(|_| thread::Builder::new().spawn_scoped(scope, work).ok());
        if workers.count() == 0 {
            work();
        }
    });
}

/// Plays one case; a panic of the suite loses this one and no other.
fn play(comparison: &Comparison, case: &Arc<dyn Case>) -> Outcome {
    let began = Instant::now();
    catch_unwind(AssertUnwindSafe(|| comparison.play(case))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        let result = CaseResult::Broken(format!("the suite panicked: {text}"));
        Outcome { case: case.clone(), result, took: began.elapsed() }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use anyhow::Result;

    use super::*;
    use crate::case::fake::{Fake, comparison};
    use crate::case::{Judged, Side};
    use crate::clock;
    use crate::host::Host;
    use crate::host::subject::Subject;
    use crate::verdict::Seen;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn table(cases: Vec<Arc<dyn Case>>) -> Table {
        Table { name: "fake", cases, jobs_per_processor: 1 }
    }

    fn play_all(table: &Table, jobs: usize, repeat: usize) -> Vec<Outcome> {
        let (sender, receiver) = channel();
        run_table(&comparison(Vec::new()), table, jobs, repeat, &sender);
        drop(sender);
        receiver.iter().collect()
    }

    #[test]
    fn each_case_is_played_as_often_as_asked_however_many_at_once() {
        let names = ["a/a", "a/b", "a/c"];
        for (jobs, repeat) in [(1, 1), (2, 3), (9, 2), (0, 1)] {
            let cases =
                names.map(|name| Arc::new(Fake::new(name, &["x"], &["x"])) as Arc<dyn Case>);
            let mut played: BTreeMap<String, usize> = BTreeMap::new();
            for outcome in play_all(&table(cases.to_vec()), jobs, repeat) {
                assert_eq!(outcome.word(), "same");
                *played.entry(outcome.case.key()).or_default() += 1;
            }
            let expected = names.map(|name| (name.to_owned(), repeat));
            assert_eq!(played, BTreeMap::from(expected), "{jobs} jobs");
        }
        assert!(play_all(&table(Vec::new()), 2, 1).is_empty());
    }

    #[test]
    fn neighbours_are_played_far_apart_and_each_once() {
        for count in [0_usize, 1, 2, 3, 4, 10, 952] {
            let cases: Vec<usize> = (0..count).collect();
            let order = spread(&cases);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, cases);
            let near =
                order.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < count / 4).count();
            assert_eq!(near, 0, "{count}: {order:?}");
        }
    }

    #[test]
    fn a_panic_of_the_suite_loses_one_case() {
        let cases: [(&str, &[&'static str]); 3] =
            [("a/a", &["x"]), ("a/b", &["panic"]), ("a/c", &["x"])];
        let cases = cases
            .map(|(name, reference)| Arc::new(Fake::new(name, reference, &["x"])) as Arc<dyn Case>);
        let outcomes = play_all(&table(cases.to_vec()), 1, 1);
        let words: Vec<_> = outcomes.iter().map(Outcome::word).collect();
        assert_eq!(words, ["same", "broken", "same"]);
        let said = outcomes.iter().find_map(|outcome| match &outcome.result {
            CaseResult::Broken(reason) => Some(reason.as_str()),
            _ => None,
        });
        assert_eq!(said, Some("the suite panicked: of the suite"));
    }

    #[test]
    fn a_run_ends_when_nobody_listens() {
        let cases = vec![Arc::new(Fake::new("a/a", &["x"], &["x"])) as Arc<dyn Case>];
        let (sender, receiver) = channel();
        drop(receiver);
        // Else it would play for hours.
        run_table(&comparison(Vec::new()), &table(cases), 2, 100_000_000, &sender);
    }

    /// Waits for the others, which come if as many are played at once.
    struct Meeting {
        name: String,
        here: Arc<AtomicUsize>,
        expected: usize,
    }

    impl Case for Meeting {
        fn name(&self) -> &str {
            &self.name
        }

        fn why(&self) -> &str {
            "for tests"
        }

        fn lack(&self, _: &Host) -> Option<String> {
            None
        }

        fn observe(&self, _: &Subject, side: Side, _: &Comparison) -> Result<Seen> {
            self.here.fetch_add(usize::from(side == Side::Reference), Ordering::Relaxed);
            let all = || self.here.load(Ordering::Relaxed) == self.expected;
            Ok(Seen { value: clock::until(PATIENCE, all).into(), unmet: Vec::new() })
        }

        fn play(&self, comparison: &Comparison) -> Result<Judged> {
            comparison.compare(self)
        }
    }

    #[test]
    fn so_many_are_played_at_once() {
        let here = Arc::new(AtomicUsize::new(0));
        let cases = (0..3).map(|number| {
            let (name, here) = (format!("a/{number}"), here.clone());
            Arc::new(Meeting { name, here, expected: 3 }) as Arc<dyn Case>
        });
        let outcomes = play_all(&table(cases.collect()), 3, 1);
        let met = outcomes.iter().filter(|outcome| match &outcome.result {
            CaseResult::Judged(judged) => judged.candidate.value == true,
            _ => false,
        });
        assert_eq!(met.count(), 3);
    }
}
