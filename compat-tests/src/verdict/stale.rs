//! Known divergences that no longer show: what they say would hide the next difference of that kind.

use super::{Divergence, Kind, Verdict};
use crate::host::traits::Traits;
use crate::scenario::{Data, RuntimeKind};
use crate::text::{glob, names};

/// The pattern of an entry that is about every case there is.
const EVERYTHING: &str = "**";

/// A case of a run, and what came of it.
pub struct Played<'a> {
    pub name: &'a str,
    pub runtime: Option<RuntimeKind>,
    pub data: Option<&'a Data>,
    /// Nothing if it was skipped.
    pub verdict: Option<&'a Verdict>,
    /// Whether there was a reference to compare with.
    pub compared: bool,
}

/// Which entries can show at all.
pub struct Sides<'a> {
    pub reference: &'a Traits,
    pub equals: bool,
    pub candidate_is_ours: bool,
}

/// An entry of which something did not show.
#[derive(Debug, Clone)]
pub struct Stale<'a> {
    pub entry: &'a Divergence,
    /// Those of its names of cases, else those of its paths, at which nothing showed.
    pub idle: Vec<&'a str>,
}

impl Stale<'_> {
    /// Where nothing showed, for people.
    #[must_use]
    pub fn place(&self) -> String {
        let cases = self.entry.scenario.joined();
        let idle = self.idle.join(", ");
        match self.entry.scenario.each().iter().any(|name| self.idle.contains(&name.as_str())) {
            true if idle == cases => format!("{cases}: {}", self.entry.paths()),
            true => format!("{idle} (of {cases}): {}", self.entry.paths()),
            false if idle == self.entry.paths() => format!("{cases}: {idle}"),
            false => format!("{cases}: {idle} (of {})", self.entry.paths()),
        }
    }
}

/// What of the known divergences should have shown in these cases and did not.
///
/// Each name that an entry gives is judged for itself; one with a pattern only when every case was played (`complete`). So is each
/// of its paths then, unless a case that may show it was skipped. Cases that allow several outcomes of what the entry is about do
/// not count.
#[must_use]
pub fn stale<'a>(
    known: &'a [Divergence],
    sides: &Sides<'_>,
    cases: &[Played<'_>],
    complete: bool,
) -> Vec<Stale<'a>> {
    let entries = known.iter().enumerate();
    let found = entries.filter_map(|(index, entry)| {
        let concerned: Vec<&Played<'_>> =
            cases.iter().filter(|case| sides.concern(entry, case)).collect();
        let idle = idle_names(entry, index, &concerned, complete);
        let idle = match idle.is_empty() && complete && is_played(entry, &concerned) {
            true => idle_paths(entry, index, &concerned),
            false => idle,
        };
        (!idle.is_empty()).then_some(Stale { entry, idle })
    });
    found.collect()
}

impl Sides<'_> {
    fn concern(&self, entry: &Divergence, case: &Played<'_>) -> bool {
        let skipped = case.verdict.is_none();
        if entry.kind == Kind::Limit {
            let alone = skipped || !case.compared;
            return self.candidate_is_ours && alone && entry.names(case.name, case.runtime);
        }
        let allows = |data: &Data| data.allowed.iter().any(|one| entry.is_about(&one.path));
        !self.equals
            && (skipped || case.compared)
            && entry.concerns(case.name, case.runtime, self.reference)
            && !case.data.is_some_and(allows)
    }
}

fn idle_names<'a>(
    entry: &'a Divergence,
    index: usize,
    concerned: &[&Played<'_>],
    complete: bool,
) -> Vec<&'a str> {
    let is_idle = |name: &str| {
        let mut ran = false;
        for case in concerned.iter().filter(|case| glob(name, case.name, '/')) {
            let Some(verdict) = case.verdict else { continue };
            if verdict.explained.iter().any(|(_, i)| *i == index) {
                return false;
            }
            ran = true;
        }
        ran && (complete || !name.contains('*'))
    };
    entry.scenario.each().iter().map(String::as_str).filter(|name| is_idle(name)).collect()
}

/// Whether every case that may show something of the entry was played. A few of all cases are skipped everywhere, so of an entry
/// about all of them each runtime is enough.
fn is_played(entry: &Divergence, concerned: &[&Played<'_>]) -> bool {
    let played = |case: &&&Played<'_>| case.verdict.is_some();
    let all_of = |name: &String| {
        let mut cases = concerned.iter().filter(|case| glob(name, case.name, '/')).peekable();
        cases.peek().is_some() && cases.all(|case| case.verdict.is_some())
    };
    let each_runtime = || {
        concerned.iter().all(|skipped| {
            concerned.iter().filter(played).any(|case| case.runtime == skipped.runtime)
        })
    };
    match entry.scenario.each() {
        [everything] if everything == EVERYTHING => each_runtime(),
        names => names.iter().all(all_of),
    }
}

fn idle_paths<'a>(entry: &'a Divergence, index: usize, concerned: &[&Played<'_>]) -> Vec<&'a str> {
    let mut shown = Vec::new();
    for verdict in concerned.iter().filter_map(|case| case.verdict) {
        // Where several entries know a difference the first has it, but the others show, too.
        let explained = verdict.explained.iter();
        let explained = explained.filter(|(difference, i)| *i == index || entry.covers(difference));
        shown.extend(explained.map(|(difference, _)| difference.path.as_str()));
    }
    if shown.is_empty() {
        return Vec::new();
    }
    let paths = entry.fields.iter().flat_map(|field| field.path.each()).map(String::as_str);
    paths.filter(|pattern| !shown.iter().any(|path| names(pattern, path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::diff::Difference;
    use crate::verdict::parse;

    const ENTRY: &str = "[[divergence]]\nkind='defect'\nwhy='w'\ndoc='d'\nfields=[\
        {path=['logs.*.mode','end'],from='a',to='b'},{path='left',from='a',to='b'}]\n";

    /// A run of cases with the paths that the only entry explains; `None` for a skipped one.
    fn places(names: &str, cases: &[(&str, Option<&[&str]>)], complete: bool) -> Vec<String> {
        let known = parse(&format!("{ENTRY}scenario={names}")).unwrap();
        let traits = Traits::of_version(&semver::Version::new(2, 1, 6));
        let sides = Sides { reference: &traits, equals: false, candidate_is_ours: true };
        let verdicts: Vec<Option<Verdict>> = cases
            .iter()
            .map(|(_, paths)| {
                let explained = (*paths)?.iter().map(|path| {
                    let path = (*path).to_owned();
                    (Difference { path, reference: None, candidate: None }, 0)
                });
                Some(Verdict { explained: explained.collect(), ..Verdict::default() })
            })
            .collect();
        let played: Vec<Played<'_>> = cases
            .iter()
            .zip(&verdicts)
            .map(|((name, _), verdict)| Played {
                name,
                runtime: Some(RuntimeKind::Crun),
                data: None,
                verdict: verdict.as_ref(),
                compared: verdict.is_some(),
            })
            .collect();
        stale(&known, &sides, &played, complete).iter().map(Stale::place).collect()
    }

    const ALL: Option<&[&str]> = Some(&["logs.x.mode", "end", "left"]);

    #[test]
    fn each_name_counts_for_itself() {
        let of = |second| places("['a/b','a/c']", &[("a/b", ALL), ("a/c", second)], false);
        assert!(of(ALL).is_empty());
        assert_eq!(of(Some(&[])), ["a/c (of a/b, a/c): logs.*.mode, end, left"]);
        assert!(of(None).is_empty(), "a skipped case tells nothing");
        assert!(places("['a/b','a/*']", &[("a/b", ALL), ("a/c", Some(&[]))], true).is_empty());
        assert_eq!(places("'a/*'", &[("a/c", Some(&[]))], true).len(), 1);
        assert!(places("'a/*'", &[("a/c", Some(&[]))], false).is_empty());
    }

    #[test]
    fn each_path_counts_for_itself_where_everything_was_played() {
        let of = |names, cases: &[_], complete| places(names, cases, complete);
        let some: Option<&[&str]> = Some(&["logs.x.mode", "left"]);
        assert_eq!(of("'a/b'", &[("a/b", some)], true), ["a/b: end (of logs.*.mode, end, left)"]);
        assert!(of("'a/b'", &[("a/b", ALL)], true).is_empty());
        assert!(of("'a/b'", &[("a/b", some)], false).is_empty(), "a filtered run tells nothing");
        // Another case shows it.
        let end: Option<&[&str]> = Some(&["end"]);
        assert!(of("'a/*'", &[("a/b", some), ("a/c", end)], true).is_empty());
        // One that was skipped, or that is of a table that was not played, might.
        assert!(of("['a/*']", &[("a/b", some), ("a/c", None)], true).is_empty());
        assert!(of("['a/b','crio/b']", &[("a/b", some)], true).is_empty());
        // Of all cases a few are skipped everywhere.
        assert_eq!(of("'**'", &[("a/b", some), ("a/c", None)], true).len(), 1);
    }

    #[test]
    fn what_lies_inside_a_path_shows_it() {
        let inside: Option<&[&str]> = Some(&["logs.x.mode.0", "end.status", "left"]);
        assert!(places("'a/b'", &[("a/b", inside)], true).is_empty());
    }
}
