//! The results as text and as JSON.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::lab::Lab;
use super::measure::{Summary, Table, Unit};
use super::monitor;
use super::options::Options;
use super::problem::Problem;

/// What the figures depend on.
pub struct Facts {
    /// Label, version and path of each subject.
    pub subjects: Vec<[String; 3]>,
    pub kernel: String,
    pub processors: usize,
    pub bytes: u64,
}

impl Facts {
    pub fn collect(options: &Options, lab: &Lab) -> Self {
        let subjects = options.subjects.iter().map(|subject| {
            let version = monitor::version(&subject.path).unwrap_or_else(|| "unknown".to_owned());
            let size = fs::metadata(&subject.path).map_or(0, |data| data.len());
            let version = format!("{version}, {size} bytes");
            [subject.label.clone(), version, subject.path.display().to_string()]
        });
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let kernel = kernel.trim().to_owned();
        Self { subjects: subjects.collect(), kernel, processors, bytes: lab.bytes }
    }

    pub fn text(&self) -> String {
        let mut text = format!("Linux {}, {} processors", self.kernel, self.processors);
        for [label, version, path] in &self.subjects {
            let _ = write!(text, "\n{label}: {version}, {path}");
        }
        text
    }
}

/// A figure with as many digits as it deserves.
pub fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || size == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Median, then minimum and maximum where there was more than one round.
pub fn cell(summary: Summary) -> String {
    let Summary { median, min, max } = summary;
    if min == max {
        return figure(median);
    }
    format!("{} ({} .. {})", figure(median), figure(min), figure(max))
}

/// One case as a Markdown table, readable as it is.
pub fn text(table: &Table) -> String {
    let mut text = format!("### {}\n", table.case);
    if let Some(reason) = &table.skipped {
        let _ = write!(text, "\nskipped: {reason}\n");
        return text;
    }
    let mut rows = vec![header(table)];
    for row in &table.rows {
        let unit = if row.unit == Unit::Count { "" } else { ", " };
        let mut cells = vec![format!("{}{unit}{}", row.measure, row.unit.name())];
        for column in 0..table.labels.len() {
            cells.push(row.summary(column).map_or_else(String::new, cell));
            if column > 0 {
                cells.push(row.ratio(column).map_or_else(String::new, figure));
            }
            if let Some(floor) = table.floor().filter(|floor| column > 0 && column != *floor) {
                cells.push(row.ratio_above(floor, column).map_or_else(String::new, figure));
            }
        }
        rows.push(cells);
    }
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    for (index, row) in rows.iter().enumerate() {
        let padded = row.iter().enumerate().map(|(column, cell)| {
            format!("{cell:<width$}", width = width(column).unwrap_or_default())
        });
        let _ = write!(text, "\n| {} |", padded.collect::<Vec<_>>().join(" | "));
        if index == 0 {
            let rule = (0..row.len()).map(|column| "-".repeat(width(column).unwrap_or_default()));
            let _ = write!(text, "\n|-{}-|", rule.collect::<Vec<_>>().join("-|-"));
        }
    }
    text.push('\n');
    text
}

/// The columns' titles: each subject but the first is followed by its ratio, and by that of
/// what it takes above the floor, where the case has one.
pub fn header(table: &Table) -> Vec<String> {
    let mut cells = vec!["measure".to_owned()];
    for (column, label) in table.labels.iter().enumerate() {
        cells.push(label.clone());
        if column > 0 {
            cells.push("ratio".to_owned());
        }
        if column > 0 && table.floor().is_some_and(|floor| floor != column) {
            cells.push("above floor".to_owned());
        }
    }
    cells
}

/// All samples, so that they can be judged anew.
pub fn json(facts: &Facts, tables: &[Table]) -> String {
    let subject = |[label, version, path]: &[String; 3]| json!({ "label": label, "version": version, "path": path });
    let row = |table: &Table| {
        let rows = table.rows.iter().map(|row| {
            let columns = table.labels.iter().enumerate().map(|(column, label)| {
                let samples = row.values.get(column).cloned().unwrap_or_default();
                let summary = row.summary(column);
                let median = summary.map(|summary| summary.median);
                let ratio = row.ratio(column);
                let above = table.floor().and_then(|floor| row.ratio_above(floor, column));
                json!({
                    "label": label, "median": median, "ratio": ratio, "above_floor": above,
                    "samples": samples,
                })
            });
            json!({
                "measure": row.measure, "unit": row.unit.name(),
                "subjects": columns.collect::<Vec<Value>>(),
            })
        });
        json!({
            "case": table.case, "skipped": table.skipped, "measures": rows.collect::<Vec<Value>>(),
        })
    };
    let whole = json!({
        "kernel": facts.kernel, "processors": facts.processors, "bytes": facts.bytes,
        "subjects": facts.subjects.iter().map(subject).collect::<Vec<Value>>(),
        "cases": tables.iter().map(row).collect::<Vec<Value>>(),
    });
    format!("{whole:#}\n")
}

pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    fs::write(path, bytes).map_err(Problem::io(path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::{Samples, reading};
    use crate::bench::options::Subject;

    fn table() -> Table {
        let subject = |label: &str| Subject { label: label.into(), path: "/x".into() };
        let mut samples = Samples::new(&[subject("C"), subject("ours")]);
        for value in [330.0, 340.0] {
            samples.add("C", vec![reading("PSS", Unit::Kib, value)]);
        }
        samples.add("ours", vec![reading("PSS", Unit::Kib, 67.0)]);
        samples.into_table("memory", None)
    }

    #[test]
    fn a_table_shows_the_spread_and_the_ratio_of_the_medians() {
        let text = text(&table());
        assert!(text.contains("| PSS, KiB | 335 (330 .. 340) | 67.0 | 0.20  |"), "{text}");
    }

    #[test]
    fn json_keeps_every_sample() {
        let facts = Facts { subjects: Vec::new(), kernel: "6".into(), processors: 2, bytes: 1 };
        let value: Value = serde_json::from_str(&json(&facts, &[table()])).unwrap();
        let measure = &value["cases"][0]["measures"][0];
        assert_eq!(measure["subjects"][0]["samples"], json!([330.0, 340.0]));
        assert_eq!(measure["subjects"][1]["ratio"], json!(0.2));
    }
}
