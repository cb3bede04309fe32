//! A run of the benchmark: case by case, round by round.

use std::io::Write;

use super::case::{self, Case};
use super::cases;
use super::html;
use super::lab::Lab;
use super::measure::{Samples, Table};
use super::options::Options;
use super::problem::Problem;
use super::report;

/// Measures all that was asked for. `number` tells the run's directories from those of others.
pub fn run(number: u32, options: &Options) -> Result<(), Problem> {
    let cases = cases::all(options);
    let lab = Lab::open(number, options)?;
    let chosen: Vec<&Case> = cases.iter().filter(|case| options.wants(&case.name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        return Err(Problem::new(format!("no such case; there are: {}", names.join(" "))));
    }
    let mut tables = Vec::new();
    for case in chosen {
        let table = measure(&lab, case, options)?;
        say(&report::text(&table))?;
        tables.push(table);
    }
    let facts = report::Facts::collect(options, &lab);
    say(&facts.text())?;
    if let Some(path) = &options.json {
        report::write(path, report::json(&facts, &tables).as_bytes())?;
    }
    if let Some(path) = &options.html {
        report::write(path, html::page(&facts, &tables).as_bytes())?;
    }
    Ok(())
}

/// Carries out one case, round by round.
fn measure(lab: &Lab, case: &Case, options: &Options) -> Result<Table, Problem> {
    let mut samples = Samples::new(&options.subjects);
    if let Some(reason) = (case.obstacle)(lab) {
        return Ok(samples.into_table(&case.name, Some(reason)));
    }
    let rounds = options.rounds.unwrap_or(if options.quick { 1 } else { case.rounds });
    let warm_up = usize::from(!options.quick && case.warms_up);
    for round in 0..rounds + warm_up {
        let count = options.subjects.len();
        for turn in 0..count {
            let Some(subject) = options.subjects.get((round + turn) % count) else { continue };
            let readings = (case.run)(lab, subject)
                .map_err(|problem| problem.of(&format!("{} of {}", case.name, subject.label)))?;
            if round >= warm_up {
                samples.add(&subject.label, readings);
            }
        }
        if let Some(floor) = lab.floor.as_ref().filter(|_| case.has_floor) {
            let readings = (case.run)(lab, floor)
                .map_err(|problem| problem.of(&format!("{} of the floor", case.name)))?;
            if round >= warm_up {
                samples.add(&floor.label, readings);
            }
        }
        if let Some(limit) = &case.limit {
            let readings = limit(lab).map_err(|problem| problem.of(&case.name))?;
            if round >= warm_up {
                samples.add(case::LIMIT, readings);
            }
        }
    }
    Ok(samples.into_table(&case.name, None))
}

/// Prints a part of the report.
pub fn say(text: &str) -> Result<(), Problem> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Problem::io("standard output"))
}
