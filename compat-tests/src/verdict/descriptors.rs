//! Numbers of descriptors in messages at debug level, which say how many a build holds and nothing else.

use serde_json::Value;

/// What such a number follows.
const BEFORE: [&str; 4] =
    ["sun_path=/proc/self/fd/", "terminal_ctrl_fd: ", "winsz read side: ", "winsz write side: "];

/// Names every such number in a list of messages.
pub(super) fn name(messages: &mut Vec<Value>) {
    for message in messages {
        if let Value::String(text) = message {
            *text = named(text);
        }
    }
}

fn named(text: &str) -> String {
    let mut text = text.to_owned();
    for before in BEFORE {
        if let Some((start, rest)) = text.split_once(before) {
            let end = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            if end.len() < rest.len() {
                text = format!("{start}{before}[FD]{end}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_of_descriptors_are_named() {
        for (text, expected) in [
            (
                "addr{sun_family=AF_UNIX, sun_path=/proc/self/fd/13/attach}\\n",
                "addr{sun_family=AF_UNIX, sun_path=/proc/self/fd/[FD]/attach}\\n",
            ),
            ("terminal_ctrl_fd: 12\\n", "terminal_ctrl_fd: [FD]\\n"),
            (
                "winsz read side: 16, winsz write side: 17 \\n",
                "winsz read side: [FD], winsz write side: [FD] \\n",
            ),
            ("terminal_ctrl_fd: none", "terminal_ctrl_fd: none"),
            ("container 12 exited with status 3", "container 12 exited with status 3"),
        ] {
            assert_eq!(named(text), expected);
        }
    }
}
