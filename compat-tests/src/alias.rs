//! The commands of earlier releases, in words of `conmon-compat`.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Becomes `conmon-compat`, to play one table as `words` ask for. Comes back only if that fails.
pub fn exec(table: &str, words: impl Iterator<Item = OsString>) -> io::Error {
    let program = match std::env::current_exe() {
        Ok(own) => own.with_file_name("conmon-compat"),
        Err(error) => return error,
    };
    Command::new(program).args(translated(table, words)).exec()
}

/// `--list` was an option, a filter a part of a name without its table, and `--keep` left worlds.
fn translated(table: &str, words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut command = "run";
    let mut out: Vec<OsString> = vec!["--table".into(), table.into()];
    let mut filters = false;
    for word in words {
        let text = word.as_bytes();
        if std::mem::take(&mut filters) {
            out.push(filter(table, text));
        } else if text == b"--list" {
            command = "list";
        } else if text == b"--keep" {
            out.push("--keep-worlds".into());
        } else if let Some(value) = text.strip_prefix(b"--filter=") {
            out.extend(["--filter".into(), filter(table, value)]);
        } else {
            filters = text == b"--filter";
            out.push(word);
        }
    }
    out.insert(0, command.into());
    out
}

fn filter(table: &str, part: &[u8]) -> OsString {
    let (name, runtime) = match part.iter().position(|byte| *byte == b'@') {
        Some(at) => part.split_at(at),
        None => (part, &b""[..]),
    };
    let pattern = [table.as_bytes(), b"/**", name, b"**", runtime].concat();
    OsString::from_vec(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(table: &str, words: &[&str]) -> String {
        let all = translated(table, words.iter().map(OsString::from));
        let all: Vec<String> = all.into_iter().map(|word| word.into_string().unwrap()).collect();
        all.join(" ")
    }

    #[test]
    fn old_words_mean_what_they_meant() {
        assert_eq!(words("podman", &["--keep"]), "run --table podman --keep-worlds");
        assert_eq!(
            words("crio", &["--list", "--filter", "exec/times-out@crun", "--runtime", "crun"]),
            "list --table crio --filter crio/**exec/times-out**@crun --runtime crun"
        );
        assert_eq!(
            words("podman", &["--filter=run/", "--junit", "x"]),
            "run --table podman --filter podman/**run/** --junit x"
        );
    }
}
