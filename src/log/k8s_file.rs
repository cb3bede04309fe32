//! The k8s-file driver: one record a line, in the format of Kubernetes' container logs.
//!
//! Only whole records stay in the file, whatever the disk does. Nothing here ends the
//! monitor or waits: what cannot be written is dropped, counted and reported.

use std::fs::{File, Metadata};
use std::io::{IoSlice, Seek};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::uio::writev;

use crate::diagnostics::Diagnostics;
use crate::failure::{Failure, concat};
use crate::log::batch::{Batch, INSERTS, Insert, SCRATCH_MIN, pieces, record_bytes, scratch_bytes};
use crate::log::fifo;
use crate::log::lines::{Line, Lines, is_one_line};
use crate::log::rotate::Renewal;
use crate::log::stamp::Stamp;
use crate::stream::{CHUNK_BYTES, Stream};
use crate::sys;
use crate::sys::pages::Pages;

/// Reads up to this length are framed on the stack; a quiet container needs no more. There is
/// at most one content in them that is not copied.
const QUIET_BYTES: usize = 1024;
const QUIET_INSERTS: usize = 1;
/// One line, or a few. More of them, still not much output, take the larger scratch space.
const QUIET_LINES: usize = 8;
const QUIET_SCRATCH: usize = scratch_bytes(QUIET_BYTES, QUIET_LINES);
const LARGER_SCRATCH: usize = 4096;
const _: () = assert!(SCRATCH_MIN <= QUIET_SCRATCH && QUIET_SCRATCH < LARGER_SCRATCH);

/// What a busy container's output is framed in; released when it falls silent.
const BUSY_SCRATCH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(128 * 1024 - 1);

/// How much may be logged; `None` is no limit.
#[derive(Clone, Copy, Default)]
pub(crate) struct Limits {
    /// Of one file: exceeding it brings a new one.
    pub(crate) size: Option<u64>,
    /// Of all files together: exceeding it ends the log.
    pub(crate) global: Option<u64>,
}

/// An open k8s-file log.
pub(crate) struct K8sFile {
    /// Sizes and offsets are asked of the standard library, which has 64 bits for them on
    /// every machine; nix has what C's `off_t` has.
    file: File,
    /// Only a regular file is ever renewed or cut back.
    regular: bool,
    limits: Limits,
    /// In the current file, and since the start (with what the file held then).
    written: u64,
    total: u64,
    renewal: Renewal,
    /// A renewal that was asked for has failed so far.
    renewal_due: bool,
    renewal_failing: bool,
    global_limit_reported: bool,
    stamp: Stamp,
    scratch: Option<Pages>,
    /// The file ends in a part of a record that could not be removed.
    torn: bool,
    /// What was dropped since the file could last be written.
    lost: Option<Lost>,
    /// What a FIFO or terminal used as a log has not taken yet.
    stalled: Option<Stalled>,
    /// How much is in a FIFO that nobody reads, when it was last looked.
    unread: usize,
}

#[derive(Clone, Copy, Default)]
struct Lost {
    lines: u64,
    bytes: u64,
}

/// Whole records of which the file has taken the first `written` bytes.
struct Stalled {
    bytes: Vec<u8>,
    written: usize,
}

impl Stalled {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    fn is_inside_a_record(&self) -> bool {
        let last = self.written.checked_sub(1).and_then(|last| self.bytes.get(last));
        last.is_some_and(|byte| *byte != b'\n')
    }

    /// What dropping the rest loses; the records' heads count, too.
    fn loss(&self) -> Lost {
        let rest = self.rest();
        Lost { lines: Lines::new(rest).count() as u64, bytes: rest.len() as u64 }
    }
}

impl K8sFile {
    /// Opens or creates the log at `path`.
    ///
    /// # Errors
    ///
    /// `Failed to open log file` with the reason.
    pub(crate) fn open(
        path: PathBuf,
        limits: Limits,
        backups: Option<u32>,
        diag: &Diagnostics,
    ) -> Result<Self, Failure> {
        let file = fifo::open_log(&path)
            .map_err(|errno| Failure::with_errno("Failed to open log file", errno).on(&path))?;
        let file = File::from(file);
        let status = file.metadata().ok();
        if status.is_none() {
            let path = path.as_os_str().as_encoded_bytes();
            diag.warn(concat(&[b"Could not stat log file ", path, b", assuming 0 size"]));
        }
        let regular = status.as_ref().is_none_or(Metadata::is_file);
        if !regular {
            // A FIFO's reader or a terminal may be slow; the monitor must not wait for it.
            let _ = fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND | OFlag::O_NONBLOCK));
        }
        let size = status.map_or(0, |status| status.len());
        Ok(Self {
            file,
            regular,
            limits: Limits {
                size: limits.size.filter(|max| *max > 0 && regular),
                global: limits.global.filter(|max| *max > 0),
            },
            written: size,
            total: size,
            renewal: renewal(path, backups, diag),
            renewal_due: false,
            renewal_failing: false,
            global_limit_reported: false,
            stamp: Stamp::new(),
            scratch: None,
            torn: false,
            lost: None,
            stalled: None,
            unread: 0,
        })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Logs what one read returned, chunk by chunk.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8], diag: &Diagnostics) {
        if bytes.len() > QUIET_BYTES {
            let scratch = self.scratch.take().or_else(|| Pages::new(BUSY_SCRATCH).ok());
            if let Some(mut scratch) = scratch {
                self.frame_all(&mut scratch, stream, bytes, diag);
                self.scratch = Some(scratch);
                return;
            }
        } else if is_one_line(bytes) || Lines::new(bytes).nth(QUIET_LINES).is_none() {
            return self.frame_few::<QUIET_SCRATCH>(stream, bytes, diag);
        }
        self.frame_few::<LARGER_SCRATCH>(stream, bytes, diag);
    }

    /// Logs a lot of output.
    #[inline(never)]
    fn frame_all(&mut self, scratch: &mut [u8], stream: Stream, bytes: &[u8], diag: &Diagnostics) {
        let mut inserts = [Insert::default(); INSERTS];
        self.frame(Batch::new(scratch, &mut inserts, bytes), stream, bytes, diag);
    }

    /// Logs a little output. Not inlined: the larger space must not cost the smaller one's stack.
    #[inline(never)]
    fn frame_few<const SCRATCH: usize>(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        diag: &Diagnostics,
    ) {
        let (mut scratch, mut inserts) = ([0; SCRATCH], [Insert::default(); QUIET_INSERTS]);
        self.frame(Batch::new(&mut scratch, &mut inserts, bytes), stream, bytes, diag);
    }

    /// Whether a FIFO or terminal used as a log has not taken everything yet.
    pub(crate) fn is_blocked(&self) -> bool {
        self.stalled.is_some()
    }

    /// How much a FIFO or terminal used as a log has not taken yet.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.stalled.as_ref().map_or(0, |stalled| stalled.rest().len())
    }

    /// Looks whether closing the log would lose what is in it, after all has been written.
    pub(crate) fn look_for_reader(&mut self) {
        self.unread = if self.regular { 0 } else { fifo::unread_bytes(&mut self.file) };
    }

    /// Whether nobody had the log open for reading at the last look, and something is in it.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread > 0
    }

    /// Writes on after [`Self::is_blocked`]; to be called when the file takes bytes again.
    pub(crate) fn resume(&mut self, diag: &Diagnostics) {
        let Some(mut stalled) = self.stalled.take() else { return };
        let (written, error) = append(self.file.as_fd(), &mut [IoSlice::new(stalled.rest())]);
        stalled.written += written;
        match error {
            None => self.succeed(0, diag),
            Some(Errno::EAGAIN) => self.stalled = Some(stalled),
            Some(errno) => {
                self.torn = stalled.is_inside_a_record();
                self.report_loss(stalled.loss(), errno, diag);
            }
        }
    }

    /// Gives the log a new file, as a caller demands after it has moved the old one away.
    pub(crate) fn reopen(&mut self, diag: &Diagnostics) {
        self.renewal_failing = false;
        self.renew(diag);
        self.renewal_due = self.renewal_failing;
    }

    /// Drops what waits, and says what was dropped and not yet reported.
    pub(crate) fn drop_waiting(&mut self, diag: &Diagnostics) {
        if let Some(stalled) = self.stalled.take() {
            self.lost.get_or_insert_default().add(stalled.loss());
        }
        if let Some(lost) = self.lost.take() {
            diag.warn(lost.sentence(b"log not writable to the end"));
        }
        if self.is_unread() {
            diag.warn(format!("log not read to the end: {} bytes were dropped", self.unread));
        }
    }

    pub(crate) fn release_buffers(&mut self) {
        self.scratch = None;
    }

    #[cfg(test)]
    pub(crate) fn has_large_buffer(&self) -> bool {
        self.scratch.is_some()
    }

    #[inline(never)]
    fn frame(&mut self, mut batch: Batch<'_>, stream: Stream, bytes: &[u8], diag: &Diagnostics) {
        let limited = self.limits.size.is_some() || self.limits.global.is_some();
        for (index, chunk) in bytes.chunks(CHUNK_BYTES).enumerate() {
            let base = index * CHUNK_BYTES;
            let heads = self.stamp.heads(stream, sys::time::realtime());
            if self.renewal_due {
                self.flush(&mut batch, diag);
                self.renew(diag);
                self.renewal_due = self.renewal_failing;
            }
            // A renewal that fails is tried again for the next chunk, not for each line.
            let mut may_renew = true;
            for line in Lines::new(chunk) {
                let line = Line { start: base + line.start, end: base + line.end, ..line };
                if limited && !self.admit(&mut batch, line, &mut may_renew, diag) {
                    self.flush(&mut batch, diag);
                    batch.restart(base + chunk.len());
                    break;
                }
                if batch.is_empty() && self.torn {
                    batch.mend();
                }
                if !batch.push(&heads, line) {
                    self.flush(&mut batch, diag);
                    if self.torn {
                        batch.mend();
                    }
                    batch.push(&heads, line);
                }
            }
        }
        self.flush(&mut batch, diag);
    }

    /// Makes room for `line` within the limits; `false` if the rest of the chunk is dropped.
    fn admit(
        &mut self,
        batch: &mut Batch<'_>,
        line: Line,
        may_renew: &mut bool,
        diag: &Diagnostics,
    ) -> bool {
        let waiting = batch.bytes() as u64;
        if self.limits.global.is_some_and(|max| self.total + waiting >= max) {
            if !self.global_limit_reported {
                self.global_limit_reported = true;
                diag.warn("Global log size limit reached, further output is not logged");
            }
            return false;
        }
        let size = record_bytes(line) as u64;
        let max = self.limits.size;
        let is_over = |written: u64| max.is_some_and(|max| written + size > max);
        if *may_renew && is_over(self.written + waiting) {
            self.flush(batch, diag);
            // On a full disk less may have been written, or nothing that is worth a backup.
            let is_empty = self.written == 0 && self.lost.is_some();
            if is_over(self.written) && !is_empty {
                self.renew(diag);
                *may_renew = !self.renewal_failing;
            }
        }
        true
    }

    /// Writes the batch and empties it.
    fn flush(&mut self, batch: &mut Batch<'_>, diag: &Diagnostics) {
        if batch.is_empty() {
            return;
        }
        let (written, error) = match self.stalled {
            None if batch.insert_count() <= QUIET_INSERTS => {
                append_batch::<{ pieces(QUIET_INSERTS) }>(self.file.as_fd(), batch)
            }
            None => append_batch::<{ pieces(INSERTS) }>(self.file.as_fd(), batch),
            Some(_) => (0, Some(Errno::EAGAIN)),
        };
        match error {
            None => self.succeed(written, diag),
            Some(Errno::EAGAIN) if !self.regular => self.hold(batch, written, diag),
            Some(errno) => self.lose(batch, written, errno, diag),
        }
        batch.restart_behind();
    }

    /// Holds what the file has not taken, behind what it has not taken before.
    fn hold(&mut self, batch: &Batch<'_>, written: usize, diag: &Diagnostics) {
        let before = self.stalled.take();
        let is_first = before.is_none();
        let mut stalled = before.unwrap_or(Stalled { bytes: Vec::new(), written });
        if stalled.bytes.try_reserve(batch.bytes()).is_err() {
            self.stalled = Some(stalled).filter(|_| !is_first);
            return self.lose(batch, written, Errno::ENOMEM, diag);
        }
        batch.copy_to(&mut stalled.bytes);
        self.stalled = Some(stalled);
        // A newline that mends it is on its way with the rest.
        self.torn = false;
        self.count(batch.bytes());
    }

    fn succeed(&mut self, written: usize, diag: &Diagnostics) {
        self.count(written);
        self.torn = false;
        if let Some(lost) = self.lost.take() {
            diag.warn(lost.sentence(b"log is writable again"));
        }
    }

    fn count(&mut self, written: usize) {
        self.written += written as u64;
        self.total += written as u64;
    }

    /// Drops what could not be written, and the part of a record that could.
    fn lose(&mut self, batch: &Batch<'_>, written: usize, errno: Errno, diag: &Diagnostics) {
        let remains = batch.remains(written);
        let partial = written - remains.whole_bytes;
        if partial > 0 {
            let cut = self.regular && cut_back(&self.file, partial);
            self.torn = !cut;
            self.count(if cut { remains.whole_bytes } else { written });
        } else {
            self.torn = self.torn && written == 0;
            self.count(written);
        }
        let lost = Lost { lines: remains.lost_lines, bytes: remains.lost_bytes };
        self.report_loss(lost, errno, diag);
    }

    fn report_loss(&mut self, lost: Lost, errno: Errno, diag: &Diagnostics) {
        if self.lost.is_none() {
            diag.warn_errno("failed to flush buffer to log, dropping lines:", errno);
        }
        self.lost.get_or_insert_default().add(lost);
    }

    fn renew(&mut self, diag: &Diagnostics) {
        if !self.regular {
            return;
        }
        match self.renewal.renew(self.file.as_fd(), diag) {
            Ok(file) => {
                self.file = File::from(file);
                self.written = 0;
                self.torn = false;
                self.renewal_failing = false;
            }
            Err(failure) => {
                if !self.renewal_failing {
                    diag.warn(failure.sentence());
                }
                self.renewal_failing = true;
            }
        }
    }
}

impl Lost {
    fn add(&mut self, more: Self) {
        self.lines += more.lines;
        self.bytes += more.bytes;
    }

    fn sentence(self, what: &[u8]) -> Vec<u8> {
        let counts = format!(": {} lines ({} bytes) were dropped", self.lines, self.bytes);
        concat(&[what, counts.as_bytes()])
    }
}

/// With `backups` a resolved path is rotated; without, the path is taken as it is.
fn renewal(path: PathBuf, backups: Option<u32>, diag: &Diagnostics) -> Renewal {
    let Some(backups) = backups else { return Renewal::Truncate { path } };
    match std::fs::canonicalize(&path) {
        Ok(path) => Renewal::Rotate { path, backups },
        Err(error) => {
            let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
            let what = path.as_os_str().as_encoded_bytes();
            diag.warn_errno(concat(&[b"Failed to canonicalize log path ", what, b":"]), errno);
            Renewal::Rotate { path, backups }
        }
    }
}

/// Appends a batch of at most `PIECES` pieces. Not inlined: few pieces need little stack.
#[inline(never)]
fn append_batch<const PIECES: usize>(
    file: BorrowedFd<'_>,
    batch: &Batch<'_>,
) -> (usize, Option<Errno>) {
    append(file, batch.pieces(&mut [IoSlice::new(&[]); PIECES]))
}

/// Appends all of `pieces`, or as much as the file takes before it reports an error.
fn append(file: BorrowedFd<'_>, mut pieces: &mut [IoSlice<'_>]) -> (usize, Option<Errno>) {
    let mut written = 0;
    while !pieces.is_empty() {
        match writev(file, pieces) {
            Ok(0) => return (written, Some(Errno::EIO)),
            Ok(count) => {
                written += count;
                IoSlice::advance_slices(&mut pieces, count);
            }
            Err(Errno::EINTR) => {}
            Err(errno) => return (written, Some(errno)),
        }
    }
    (written, None)
}

/// Removes the last `bytes` that we have written, if they are still the file's end.
fn cut_back(mut file: &File, bytes: usize) -> bool {
    // Appending leaves the offset behind what was written.
    let Ok(ours) = file.stream_position() else { return false };
    let Some(start) = ours.checked_sub(bytes as u64) else { return false };
    let still_the_end = file.metadata().is_ok_and(|status| status.len() == ours);
    still_the_end && file.set_len(start).is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use nix::fcntl::open;

    use super::*;
    use crate::log::rotate::{file_mode, open_flags};

    #[test]
    fn a_record_is_cut_off_the_end_of_a_file_of_any_size() {
        const GIB_5: u64 = 5 << 30;
        let dir = tempfile::tempdir().unwrap();
        let file = open(&dir.path().join("log"), open_flags(), file_mode()).unwrap();
        let mut file = File::from(file);
        file.set_len(GIB_5).unwrap();
        file.write_all(b"whole\ntorn").unwrap();
        assert!(cut_back(&file, 4));
        assert_eq!(file.metadata().unwrap().len(), GIB_5 + 6);
        assert!(!cut_back(&file, 4), "the offset is no longer the file's end");
    }
}
