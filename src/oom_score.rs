//! The monitor's own out-of-memory score: the kernel must not choose the monitor.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};

use crate::diagnostics::Diagnostics;
use crate::failure::Failure;

const PATH: &str = "/proc/self/oom_score_adj";
const NEVER: &[u8] = b"-1000";

/// The score the process was started with, for the runtime and the exit command.
pub(crate) struct OomScore {
    /// As read, ended by a newline; `0` when it could not be read.
    original: Vec<u8>,
}

impl OomScore {
    /// Remembers the score and lowers it as far as it goes.
    ///
    /// Without the privilege the score stays; that is worth a debug message only.
    pub(crate) fn lower(diag: &Diagnostics) -> Self {
        let mut original = b"0".to_vec();
        let report = |what: &str, error: &std::io::Error| {
            let errno = nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0));
            diag.debug(Failure::with_errno(format!("failed to {what} {PATH}:"), errno).sentence());
        };
        match OpenOptions::new().read(true).write(true).open(PATH) {
            Err(error) => report("open", &error),
            Ok(mut file) => match read(&mut file) {
                Err(error) => report("read from", &error),
                Ok(score) => {
                    original = score;
                    if let Err(error) = file.rewind().and_then(|()| file.write_all(NEVER)) {
                        report("write to", &error);
                    }
                }
            },
        }
        Self { original }
    }

    /// Puts the remembered score back, in a child about to become another program.
    pub(crate) fn restore(&self) {
        if let Ok(mut file) = OpenOptions::new().write(true).open(PATH) {
            // Lowering may be forbidden; the child is then no worse off than the monitor.
            let _ = file.write_all(&self.original);
        }
    }
}

fn read(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut score = [0; 16];
    let length = file.read(&mut score)?;
    Ok(score.get(..length).unwrap_or_default().to_vec())
}
