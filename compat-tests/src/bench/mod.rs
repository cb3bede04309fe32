//! The benchmark: monitors side by side, measured in turns on the same machine.
//!
//! In each round every subject does the same work once, in rotating order, so that whatever else
//! the machine does falls on all alike. Reported are median, minimum and maximum, and the ratio
//! of the medians to the reference's. Shares nothing with the monitor under test.

mod attach;
mod case;
mod cases;
mod html;
mod journal;
mod lab;
mod measure;
mod monitor;
mod options;
mod problem;
mod procfs;
mod report;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use self::case::Case;
use self::lab::Lab;
use self::measure::{Samples, Table};
use self::options::Options;
use self::problem::Problem;

/// Runs the benchmark that the command line asks for.
pub fn main(words: &[OsString]) -> ExitCode {
    match run(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let _ = writeln!(std::io::stderr(), "bench: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[OsString]) -> Result<(), Problem> {
    let Some(options) = options::parse(words)? else {
        return say(options::HELP);
    };
    let cases = cases::all(&options);
    if options.list {
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        return say(&names.join("\n"));
    }
    let lab = Lab::open(&options)?;
    let chosen: Vec<&Case> = cases.iter().filter(|case| options.wants(&case.name)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        return Err(Problem::new(format!("no such case; there are: {}", names.join(" "))));
    }
    let mut tables = Vec::new();
    for case in chosen {
        let table = measure(&lab, case, &options)?;
        say(&report::text(&table))?;
        tables.push(table);
    }
    let facts = report::Facts::collect(&options, &lab);
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

fn say(text: &str) -> Result<(), Problem> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Problem::io("standard output"))
}
