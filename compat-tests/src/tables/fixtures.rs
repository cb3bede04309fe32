//! Where the suite's data lies: scenarios, Podman's table, known divergences.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Below the directory that an installation goes to.
const INSTALLED: &str = "share/conmon-compat";

/// In the workspace.
const IN_WORKSPACE: &str = "fixtures";

/// Finds the directory of the data: the one given, else that of the installation or the workspace `program` lies in, else that
/// of the current directory.
///
/// # Errors
///
/// There is none.
pub fn find(given: Option<&Path>, program: &Path) -> Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let above = program.ancestors().skip(1).map(|directory| directory.join(INSTALLED));
    let built = program.ancestors().skip(1).map(|directory| directory.join(IN_WORKSPACE));
    above
        .chain(built)
        .chain([PathBuf::from(IN_WORKSPACE)])
        .find(|directory| directory.join("scenarios").is_dir())
        .context("the scenarios are not found: use --fixtures DIR")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_is_found_from_its_program_wherever_it_lies() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path();
        let program = top.join("opt/x/libexec/conmon-compat/conmon-compat");
        for (data, scenarios) in [
            ("opt/x/share/conmon-compat", true),
            ("opt/share/conmon-compat", false),
            ("fixtures", true),
        ] {
            std::fs::create_dir_all(top.join(data).join(if scenarios { "scenarios" } else { "" }))
                .unwrap();
        }
        assert_eq!(find(None, &program).unwrap(), top.join("opt/x/share/conmon-compat"));
        assert_eq!(
            find(None, &top.join("target/debug/conmon-compat")).unwrap(),
            top.join("fixtures")
        );
        assert_eq!(find(Some(Path::new("/elsewhere")), &program).unwrap(), Path::new("/elsewhere"));
    }
}
