//! Containers that do not come to be, and the error CRI-O shows for each.

use std::fs;

use anyhow::{Result, bail};

use super::super::case::{Case, case};
use super::super::container::Creation;
use super::super::node::Node;
use super::super::spec::{Configuration, Spec};
use super::super::world;

pub(super) const CASES: &[Case] = &[
    case(
        "failure",
        "names-a-missing-command",
        "a wrong command in a pod is the commonest mistake of all",
        command,
    ),
    case(
        "failure",
        "names-a-broken-configuration",
        "the runtime's words must reach the event of the pod",
        broken,
    ),
    case(
        "failure",
        "names-a-missing-configuration",
        "a bundle without config.json is named",
        missing,
    ),
    case(
        "failure",
        "ends-early-for-a-missing-runtime",
        "a wrong runtime path fails at once and says why",
        runtime,
    ),
    case(
        "failure",
        "ends-early-for-a-refused-option",
        "a log level no monitor knows fails at once",
        option,
    ),
    case("failure", "says-why-it-cannot-log", "a log directory that is not there is named", log),
    case(
        "failure",
        "leaves-nothing-for-the-next-try",
        "kubelet tries again, with the same directories",
        next,
    ),
];

/// Makes a container that cannot be made; CRI-O's error must contain `needle`.
fn fails(node: &mut Node, spec: &Spec, needle: &str) -> Result<()> {
    match node.create(spec)? {
        Creation::Made(_) => bail!("it was made"),
        Creation::Failed(error) => {
            node.facts.holds(format!("the error names `{needle}`"), error.contains(needle));
        }
    }
    node.facts.must("an exit file is left", world::exit_file(&node.id("ctr")).exists(), false);
    Ok(())
}

fn command(node: &mut Node) -> Result<()> {
    let spec = Spec::new("ctr", &["/no-such-program", "argument"]);
    fails(node, &spec, "no-such-program")?;
    node.facts.must("a log is left", world::log("ctr").exists(), false);
    Ok(())
}

fn broken(node: &mut Node) -> Result<()> {
    let spec = Spec::payload("ctr", &[]);
    fails(node, &Spec { configuration: Configuration::NoJson, ..spec }, "container create failed: ")
}

fn missing(node: &mut Node) -> Result<()> {
    let spec = Spec::payload("ctr", &[]);
    fails(node, &Spec { configuration: Configuration::Missing, ..spec }, "config.json")
}

fn runtime(node: &mut Node) -> Result<()> {
    let spec = Spec::payload("ctr", &[]);
    fails(node, &Spec { runtime: Some("/no/such/runtime".into()), ..spec }, "exit status 1")
}

fn option(node: &mut Node) -> Result<()> {
    let spec = Spec::payload("ctr", &[]);
    fails(node, &Spec { log_level: "loud".to_owned(), ..spec }, "exit status 1")
}

fn log(node: &mut Node) -> Result<()> {
    let spec = Spec::payload("ctr", &[]);
    fails(node, &Spec { log: Some("/no/such/directory/0.log".into()), ..spec }, "exit status 1")
}

fn next(node: &mut Node) -> Result<()> {
    let spec = Spec::new("ctr", &["/no-such-program"]);
    fails(node, &spec, "no-such-program")?;
    for name in ["attach", "ctl", "winsz"] {
        let _ = fs::remove_file(world::bundle("ctr").join(name));
    }
    let container = node.run(&Spec::payload("second", &["exit", "6"]))?;
    node.ends_with(&container, 6)
}
