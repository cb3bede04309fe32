//! The runtime's command line for each operation.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::config::{Config, Operation};

/// Builds the runtime's argument vector, argv\[0\] included.
///
/// The order is what callers' runtimes have always seen; paths stay as they were given.
/// `console_socket` is the path the runtime shall send the terminal to.
pub(crate) fn build(config: &Config, console_socket: Option<&Path>) -> Vec<OsString> {
    let runtime = &config.runtime;
    let exec = matches!(config.operation, Operation::Exec { .. });
    let mut argv: Vec<OsString> = vec![runtime.path.clone().into()];
    let mut push = |arguments: &[&OsStr]| argv.extend(arguments.iter().map(OsString::from));
    if runtime.systemd_cgroup && !exec {
        push(&["--systemd-cgroup".as_ref()]);
    }
    runtime.args.iter().for_each(|argument| push(&[argument]));
    match &config.operation {
        Operation::Create | Operation::Restore { .. } => {
            let bundle = config.bundle.as_deref().unwrap_or_else(|| Path::new(""));
            let restore = match &config.operation {
                Operation::Restore { image } => Some(image),
                _ => None,
            };
            push(&[
                if restore.is_some() { "restore" } else { "create" }.as_ref(),
                "--bundle".as_ref(),
                bundle.as_ref(),
                "--pid-file".as_ref(),
                config.container_pidfile.as_ref(),
            ]);
            if runtime.no_pivot {
                push(&["--no-pivot".as_ref()]);
            }
            if runtime.no_new_keyring {
                push(&["--no-new-keyring".as_ref()]);
            }
            if let Some(image) = restore {
                push(&[
                    "--detach".as_ref(),
                    "--image-path".as_ref(),
                    image.as_ref(),
                    "--work-path".as_ref(),
                    bundle.as_ref(),
                ]);
            }
        }
        Operation::Exec { process_spec, .. } => push(&[
            "exec".as_ref(),
            "--pid-file".as_ref(),
            config.container_pidfile.as_ref(),
            "--process".as_ref(),
            process_spec.as_ref(),
            "--detach".as_ref(),
        ]),
    }
    runtime.opts.iter().for_each(|option| push(&[option]));
    if let Some(path) = console_socket {
        push(&["--console-socket".as_ref(), path.as_ref()]);
    }
    push(&[&config.cid]);
    argv
}
