//! Before the first container: is this a monitor CRI-O starts with?

use anyhow::Result;
use semver::Version;

use super::super::case::{Case, Runtimes, case};
use super::super::node::Node;
use super::super::version::combined;

pub(super) const CASES: &[Case] = &[
    case(
        "version",
        "is-strict-semver",
        "CRI-O does not start with a monitor whose version it cannot parse",
        strict,
    )
    .with(Runtimes::None),
    case(
        "version",
        "help-names-the-size-limit",
        "an older monitor is asked for the option by its help text",
        help,
    )
    .with(Runtimes::None),
];

fn strict(node: &mut Node) -> Result<()> {
    // The probe of the node itself has parsed it.
    let text = combined(&node.monitor, "--version")?;
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    node.facts.must("first words", words.join(" "), "conmon version");
    node.facts.must("times the word `version` occurs", text.matches(" version ").count(), 1);
    node.facts.holds("new enough for CRI-O's limit", node.probe.version >= Version::new(2, 1, 2));
    node.facts.holds("knows --sync", node.probe.sync);
    node.facts.holds("knows --log-global-size-max", node.probe.size_limit);
    Ok(())
}

fn help(node: &mut Node) -> Result<()> {
    let text = combined(&node.monitor, "--help")?;
    node.facts.holds("names the option", text.contains("--log-global-size-max"));
    Ok(())
}
