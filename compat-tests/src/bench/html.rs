//! The results as one page without scripts or other files.

use std::fmt::Write;

use super::measure::Table;
use super::report::{Facts, cell, figure};

const STYLE: &str = "\
body { font: 15px/1.45 sans-serif; margin: 2em auto; max-width: 62em; color: #222 }
table { border-collapse: collapse; margin: .5em 0 1.5em; width: 100% }
th, td { text-align: left; padding: .25em .6em; border-bottom: 1px solid #ddd }
td.figure { font-variant-numeric: tabular-nums; white-space: nowrap }
.bar { display: inline-block; height: .7em; background: #4a7ab0; vertical-align: middle }
.bar.reference { background: #bbb }
small { color: #666 }";

/// The whole page.
pub fn page(facts: &Facts, tables: &[Table]) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <title>Monitors measured</title>\n<style>\n{STYLE}\n</style></head><body>\n\
         <h1>Monitors measured side by side</h1>\n<p>{}</p>\n",
        escape(&facts.text()).replace('\n', "<br>\n")
    );
    for table in tables {
        let _ = writeln!(page, "<h2>{}</h2>", escape(&table.case));
        match &table.skipped {
            Some(reason) => {
                let _ = writeln!(page, "<p>skipped: {}</p>", escape(reason));
            }
            None => rows(&mut page, table),
        }
    }
    page.push_str("</body></html>\n");
    page
}

fn rows(page: &mut String, table: &Table) {
    page.push_str("<table><tr><th>measure</th><th>monitor</th><th>median (min .. max)</th>");
    page.push_str("<th>ratio</th><th>above floor</th><th></th></tr>\n");
    for row in &table.rows {
        let summaries: Vec<_> = (0..table.labels.len()).map(|column| row.summary(column)).collect();
        let most = summaries.iter().flatten().map(|summary| summary.median).fold(0.0, f64::max);
        for (column, label) in table.labels.iter().enumerate() {
            let Some(summary) = summaries.get(column).copied().flatten() else { continue };
            let share = if most > 0.0 { 100.0 * summary.median.max(0.0) / most } else { 0.0 };
            let class = if column == 0 { "bar reference" } else { "bar" };
            let ratio = row.ratio(column).map_or_else(String::new, figure);
            let above = table.floor().and_then(|floor| row.ratio_above(floor, column));
            let above = above.map_or_else(String::new, figure);
            let _ = writeln!(
                page,
                "<tr><td>{} <small>{}</small></td><td>{}</td><td class=\"figure\">{}</td>\
                 <td class=\"figure\">{ratio}</td><td class=\"figure\">{above}</td>\
                 <td><span class=\"{class}\" style=\"width:{share:.0}px\"></span></td></tr>",
                escape(row.measure),
                escape(row.unit.name()),
                escape(label),
                escape(&cell(summary)),
            );
        }
    }
    page.push_str("</table>\n");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_measured_can_break_the_page() {
        let facts = Facts {
            subjects: vec![["<b>".into(), "1 & 2".into(), "/x".into()]],
            kernel: "6".into(),
            processors: 2,
            bytes: 1,
        };
        let skipped = Some("no <journal>".to_owned());
        let table = Table { case: "c".into(), labels: Vec::new(), rows: Vec::new(), skipped };
        let page = page(&facts, &[table]);
        assert!(page.contains("&lt;b&gt;: 1 &amp; 2") && page.contains("no &lt;journal&gt;"));
    }
}
