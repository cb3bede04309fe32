//! Where the container's output goes: a k8s-file, the journal, both or neither.
//!
//! Opening refuses what cannot work; once open, nothing here fails, waits or ends the
//! monitor. The drivers are written in a fixed order, the file first.

mod allowed;
mod batch;
#[cfg(test)]
mod bench;
mod entry;
mod fifo;
mod journal_socket;
pub(crate) mod journald;
mod k8s_file;
mod labels;
pub(crate) mod lines;
mod rotate;
mod stamp;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::config::LogConfig;
use crate::diagnostics::Diagnostics;
use crate::failure::{Failure, concat};
use crate::stream::Stream;

use self::entry::SHORT_ID_BYTES;
use self::journald::Journald;
use self::k8s_file::{K8sFile, Limits};

const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

/// The open log drivers of one container.
pub(crate) struct Log {
    k8s_file: Option<K8sFile>,
    journald: Option<Journald>,
    sync: bool,
}

impl Log {
    /// Opens the drivers and checks the options that belong to them.
    ///
    /// # Errors
    ///
    /// Refuses, in this order: a path outside the allowed directories, a file that cannot be
    /// opened, options that a driver does not support, a container id or label that the
    /// journal cannot carry. The file may exist by then. Source: docs/specification/command-line.md, CLI-20.
    pub(crate) fn open(
        config: &LogConfig,
        cid: &OsStr,
        diag: &Diagnostics,
    ) -> Result<Self, Failure> {
        let k8s_file = match &config.k8s_file {
            Some(path) => Some(open_k8s_file(path.clone(), config, diag)?),
            None => None,
        };
        if k8s_file.is_some() && !config.journald {
            if config.tag.is_some() {
                return Err(Failure::new("k8s-file doesn't support --log-tag"));
            }
            if !config.labels.is_empty() {
                return Err(Failure::new("k8s-file doesn't support --log-label"));
            }
        }
        let journald = if config.journald {
            if cid.as_bytes().len() <= SHORT_ID_BYTES {
                return Err(Failure::new("Container ID must be longer than 12 characters"));
            }
            config.labels.iter().try_for_each(|label| labels::check(label.as_bytes()))?;
            Some(Journald::new(cid, config, PathBuf::from(JOURNAL_SOCKET)))
        } else {
            if config.no_partial_message {
                diag.warn(
                    "--no-container-partial-message has no effect without journald log driver",
                );
            }
            None
        };
        Ok(Self { k8s_file, journald, sync: config.sync })
    }

    /// Logs what one read of a stream returned, as if it had been read in pieces of
    /// [`CHUNK_BYTES`](crate::stream::CHUNK_BYTES).
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8], diag: &Diagnostics) {
        if let Some(file) = &mut self.k8s_file {
            file.write(stream, bytes, diag);
        }
        if let Some(journald) = &mut self.journald {
            journald.write(stream, bytes, diag);
        }
    }

    /// Whether the monitor should stop reading output until [`Self::resume`] has helped.
    pub(crate) fn is_blocked(&self) -> bool {
        self.k8s_file.as_ref().is_some_and(K8sFile::is_blocked)
            || self.journald.as_ref().is_some_and(Journald::is_blocked)
    }

    /// What to wait for until it is writable, while the log is blocked.
    pub(crate) fn blocked_on(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let file = self.k8s_file.as_ref().filter(|file| file.is_blocked()).map(K8sFile::fd);
        file.into_iter().chain(self.journald.as_ref().and_then(Journald::blocked_on))
    }

    /// Hands over what waits; the log may still be blocked afterwards.
    pub(crate) fn resume(&mut self, diag: &Diagnostics) {
        if let Some(file) = &mut self.k8s_file {
            file.resume(diag);
        }
        if let Some(journald) = &mut self.journald {
            journald.resume(diag);
        }
    }

    /// Gives the k8s-file a new file, or rotates it.
    pub(crate) fn reopen(&mut self, diag: &Diagnostics) {
        if let Some(file) = &mut self.k8s_file {
            file.reopen(diag);
        }
    }

    /// How much waits to be taken; falls as long as somebody takes it.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.k8s_file.as_ref().map_or(0, K8sFile::waiting_bytes)
            + self.journald.as_ref().map_or(0, Journald::waiting_bytes)
    }

    /// No more output will come: unfinished lines go out as they are. The log may still be
    /// blocked afterwards.
    pub(crate) fn end_output(&mut self, diag: &Diagnostics) {
        if let Some(journald) = &mut self.journald {
            journald.end_output(diag);
        }
    }

    /// Whether a FIFO that is the log stays open for a reader to come; see
    /// [`Self::close_finished`], which has to be called now and then as long as it does.
    pub(crate) fn awaits_reader(&self) -> bool {
        self.k8s_file.as_ref().is_some_and(|file| !file.is_blocked() && file.is_unread())
    }

    /// Closes the drivers that have handed over everything; says what they had to drop. Not yet
    /// a FIFO without a reader: what is in it would be gone.
    pub(crate) fn close_finished(&mut self, diag: &Diagnostics) {
        let is_finished = |file: &mut K8sFile| {
            !file.is_blocked() && {
                file.look_for_reader();
                !file.is_unread()
            }
        };
        if let Some(mut file) = self.k8s_file.take_if(is_finished) {
            file.drop_waiting(diag);
        }
        if let Some(mut journald) = self.journald.take_if(|journald| !journald.is_blocked()) {
            journald.drop_waiting(diag);
        }
    }

    /// Drops what still waits, and what is in a FIFO without a reader, which is closed. Says what
    /// had to be dropped and was not yet reported.
    pub(crate) fn drop_waiting(&mut self, diag: &Diagnostics) {
        if let Some(mut file) = self.k8s_file.take() {
            // What waits behind it never comes.
            file.look_for_reader();
            file.drop_waiting(diag);
            self.k8s_file = Some(file).filter(|file| !file.is_unread());
        }
        if let Some(journald) = &mut self.journald {
            journald.drop_waiting(diag);
        }
    }

    /// The file to be synced once the container has ended, if that is wanted.
    pub(crate) fn sync_target(&self) -> Option<BorrowedFd<'_>> {
        self.k8s_file.as_ref().filter(|_| self.sync).map(K8sFile::fd)
    }

    /// Gives back the memory that only a busy log needs.
    pub(crate) fn release_buffers(&mut self) {
        if let Some(file) = &mut self.k8s_file {
            file.release_buffers();
        }
        if let Some(journald) = &mut self.journald {
            journald.release_buffers();
        }
    }
}

fn open_k8s_file(
    path: PathBuf,
    config: &LogConfig,
    diag: &Diagnostics,
) -> Result<K8sFile, Failure> {
    if config.k8s_file_count > 1 {
        let path = path.as_os_str().as_bytes();
        diag.warn(concat(&[b"Several k8s-file log paths given, only ", path, b" is used"]));
    }
    if !allowed::is_allowed(&path, &config.allowlist_dirs, diag) {
        let path = path.as_os_str().as_bytes();
        let text = concat(&[b"Log path ", path, b" is not in an allowed directory"]);
        return Err(Failure::new(text));
    }
    let limits = Limits { size: config.size_max, global: config.global_size_max };
    K8sFile::open(path, limits, config.rotate.then_some(config.max_files), diag)
}
