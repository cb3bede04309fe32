//! The command line of an OCI runtime, as far as the stand-in needs it.

use crate::problem::Problem;
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Command {
    Create,
    Restore,
    Exec,
    Start,
}

/// One call of the runtime.
#[derive(Debug)]
pub struct Call {
    pub program: OsString,
    pub command: Command,
    pub bundle: OsString,
    pub pid_file: Option<PathBuf>,
    pub console_socket: Option<PathBuf>,
    pub container_id: OsString,
}

impl Call {
    /// `ARGV0` with `suffix`, the way everything beside the program is named.
    pub fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.program.clone();
        path.push(suffix);
        path.into()
    }
}

/// Takes the command to be the first word that names one: global options come before it.
pub fn parse(words: &[OsString]) -> Result<Call, Problem> {
    let at = words.iter().position(|word| command(word).is_some());
    let (before, after) = words.split_at(at.ok_or(Problem::NoCommand)?);
    let (Some(program), Some((name, options))) = (before.first(), after.split_first()) else {
        return Err(Problem::NoCommand);
    };
    let value = |option: &str| {
        let at = options.iter().position(|word| word == option)?;
        options.get(at + 1).cloned()
    };
    Ok(Call {
        program: program.clone(),
        command: command(name).ok_or(Problem::NoCommand)?,
        bundle: value("--bundle").unwrap_or_default(),
        pid_file: value("--pid-file").map(PathBuf::from),
        console_socket: value("--console-socket").map(PathBuf::from),
        container_id: options.last().cloned().unwrap_or_default(),
    })
}

fn command(word: &OsString) -> Option<Command> {
    match word.to_str()? {
        "create" => Some(Command::Create),
        "restore" => Some(Command::Restore),
        "exec" => Some(Command::Exec),
        "start" => Some(Command::Start),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Call {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        parse(&words).ok().unwrap()
    }

    #[test]
    fn finds_the_command_after_global_options() {
        let call =
            call("/r --systemd-cgroup --root /x create --bundle /b --pid-file /p --no-pivot c1");
        assert_eq!(call.command, Command::Create);
        assert_eq!(call.bundle, "/b");
        assert_eq!(call.pid_file, Some("/p".into()));
        assert_eq!(call.console_socket, None);
        assert_eq!(call.container_id, "c1");
    }

    #[test]
    fn names_files_after_the_program() {
        let call = call("/dir/rt exec --pid-file /p --process s --detach c1");
        assert_eq!(call.beside(".script.toml"), PathBuf::from("/dir/rt.script.toml"));
    }
}
