//! What a round yields, and what many rounds amount to.

use super::options::Subject;

/// What the least monitor is called in a table; see `floor/floor.c`.
pub const FLOOR: &str = "floor";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Kib,
    Milliseconds,
    Microseconds,
    CpuSecondsPerGb,
    MegabytesPerSecond,
    Count,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Self::Kib => "KiB",
            Self::Milliseconds => "ms",
            Self::Microseconds => "us",
            Self::CpuSecondsPerGb => "CPU s/GB",
            Self::MegabytesPerSecond => "MB/s",
            Self::Count => "",
        }
    }
}

/// One value of one round.
#[derive(Clone, Debug)]
pub struct Reading {
    pub measure: &'static str,
    pub unit: Unit,
    pub value: f64,
}

pub fn reading(measure: &'static str, unit: Unit, value: f64) -> Reading {
    Reading { measure, unit, value }
}

/// Everything a case has yielded so far.
pub struct Samples {
    labels: Vec<String>,
    rows: Vec<Row>,
}

/// One measure of a case.
pub struct Row {
    pub measure: &'static str,
    pub unit: Unit,
    /// By subject, in the order of the table's labels; empty where there is no such value.
    pub values: Vec<Vec<f64>>,
}

/// A finished case.
pub struct Table {
    pub case: String,
    /// The reference first.
    pub labels: Vec<String>,
    pub rows: Vec<Row>,
    /// Why the host cannot run the case.
    pub skipped: Option<String>,
}

impl Samples {
    pub fn new(subjects: &[Subject]) -> Self {
        let labels = subjects.iter().map(|subject| subject.label.clone()).collect();
        Self { labels, rows: Vec::new() }
    }

    /// Adds a round's readings of the subject called `label`.
    pub fn add(&mut self, label: &str, readings: Vec<Reading>) {
        if !self.labels.iter().any(|known| known == label) {
            self.labels.push(label.to_owned());
        }
        let column = self.labels.iter().position(|known| known == label).unwrap_or_default();
        for Reading { measure, unit, value } in readings {
            if !self.rows.iter().any(|row| row.measure == measure) {
                self.rows.push(Row { measure, unit, values: Vec::new() });
            }
            if let Some(row) = self.rows.iter_mut().find(|row| row.measure == measure) {
                row.values.resize(self.labels.len().max(row.values.len()), Vec::new());
                if let Some(values) = row.values.get_mut(column) {
                    values.push(value);
                }
            }
        }
    }

    pub fn into_table(self, case: &str, skipped: Option<String>) -> Table {
        Table { case: case.to_owned(), labels: self.labels, rows: self.rows, skipped }
    }
}

impl Table {
    /// The column of the least monitor, which the others' ratios above it refer to.
    pub fn floor(&self) -> Option<usize> {
        self.labels.iter().position(|label| label == FLOOR)
    }
}

impl Row {
    pub fn summary(&self, column: usize) -> Option<Summary> {
        Summary::of(self.values.get(column)?)
    }

    /// The median of `column` over the reference's.
    pub fn ratio(&self, column: usize) -> Option<f64> {
        let (reference, own) = (self.summary(0)?.median, self.summary(column)?.median);
        (column > 0 && reference != 0.0).then(|| own / reference)
    }

    /// The same ratio of what both take above `floor`, a column of its own.
    pub fn ratio_above(&self, floor: usize, column: usize) -> Option<f64> {
        let [reference, own, floor] =
            [0, column, floor].map(|column| self.summary(column).map(|summary| summary.median));
        let (reference, own) = (reference? - floor?, own? - floor?);
        (column > 0 && reference > 0.0).then(|| own / reference)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Summary {
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let lower =
            if sorted.len() % 2 == 0 { *sorted.get(middle.checked_sub(1)?)? } else { upper };
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        Some(Self { median: (lower + upper) / 2.0, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(
            Summary::of(&[4.0, 1.0, 3.0, 100.0]),
            Some(Summary { median: 3.5, min: 1.0, max: 100.0 })
        );
        assert_eq!(Summary::of(&[2.0, 9.0, 1.0]).map(|summary| summary.median), Some(2.0));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn ratios_are_to_the_first_subject_also_for_one_that_comes_later() {
        let subject = |label: &str| Subject { label: label.into(), path: "/x".into() };
        let mut samples = Samples::new(&[subject("r"), subject("c")]);
        samples.add("r", vec![reading("m", Unit::Kib, 4.0)]);
        samples.add("c", vec![reading("m", Unit::Kib, 1.0)]);
        samples.add("cat", vec![reading("m", Unit::Kib, 2.0)]);
        let table = samples.into_table("case", None);
        let row = &table.rows[0];
        assert_eq!([row.ratio(0), row.ratio(1), row.ratio(2)], [None, Some(0.25), Some(0.5)]);
    }

    #[test]
    fn above_the_floor_both_lose_what_it_takes() {
        let subject = |label: &str| Subject { label: label.into(), path: "/x".into() };
        let mut samples = Samples::new(&[subject("r"), subject("c")]);
        for (label, value) in [("r", 10.0), ("c", 4.0), (FLOOR, 2.0)] {
            samples.add(label, vec![reading("m", Unit::Kib, value)]);
        }
        let table = samples.into_table("case", None);
        assert_eq!(table.floor(), Some(2));
        let row = &table.rows[0];
        assert_eq!([row.ratio_above(2, 0), row.ratio_above(2, 1)], [None, Some(0.25)]);
    }
}
