//! The attach socket and its clients: container output goes out to every client, their
//! input comes in for the container.
//!
//! A client is read and written without ever waiting for it. One that is slow loses nothing:
//! its queue fills, and then the container's output is held back for all. One that takes
//! nothing for the stall timeout is cut off.

mod client;
mod listener;
mod queue;
mod stdin;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;

use self::client::Client;
use self::listener::{Listener, Name};
pub(crate) use self::stdin::{AtLastLeave, ClientId, ContainerStdin};
use crate::config::AttachPlace;
use crate::diagnostics::Diagnostics;
use crate::failure::Failure;
use crate::stream::Stream;
use crate::sys::poll::is_readable;
use crate::sys::socket::accept;

/// How many connections one turn accepts, so that a flood of them starves nobody.
const ACCEPTS_PER_TURN: usize = 32;
/// How long accepting rests after a failure; a client that leaves ends the rest early.
const ACCEPT_REST: Duration = Duration::from_secs(1);

/// How far the container's life has come, as far as clients are concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A client that takes nothing is cut off after the stall timeout.
    Alive,
    /// The container is gone. Clients hold back nobody any more and have all the time they need.
    Ended,
    /// No more output will come: who has everything is closed.
    Closing,
}

/// The attach socket and everybody connected to it.
pub(crate) struct Attach {
    listener: Option<OwnedFd>,
    name: Option<Name>,
    symlink: Option<Name>,
    /// In the order of their coming.
    clients: Vec<Client>,
    next_id: u64,
    /// `None`: a client may stall for ever.
    stall_timeout: Option<Duration>,
    accept_again: Option<Duration>,
    /// Accepting failed, was warned of and has not succeeded since.
    accept_failing: bool,
    stage: Stage,
}

impl Attach {
    /// Creates the attach socket; `stall_timeout` `None` means that no client is cut off.
    ///
    /// # Errors
    ///
    /// Refuses, in the reference's words, and leaves no symlink behind.
    pub(crate) fn create(
        place: &AttachPlace,
        cuuid: Option<&OsStr>,
        bundle: &Path,
        stall_timeout: Option<Duration>,
        diagnostics: &Diagnostics,
    ) -> Result<Self, Failure> {
        let listener = Listener::create(place, cuuid, bundle, diagnostics)?;
        Ok(Self {
            listener: Some(listener.socket),
            name: Some(listener.name),
            symlink: listener.symlink,
            clients: Vec::new(),
            next_id: 0,
            stall_timeout,
            accept_again: None,
            accept_failing: false,
            stage: Stage::Alive,
        })
    }

    /// What to poll for new clients; `None` while accepting rests after a failure.
    pub(crate) fn listener(&self, now: Duration) -> Option<BorrowedFd<'_>> {
        let rests = self.accept_again.is_some_and(|again| now < again);
        self.listener.as_ref().filter(|_| !rests).map(AsFd::as_fd)
    }

    /// Accepts the clients that are waiting, and returns how many; they see what is broadcast
    /// from now on.
    pub(crate) fn accept(&mut self, now: Duration, diagnostics: &Diagnostics) -> usize {
        let mut accepted = 0;
        // To ask is much cheaper than to accept in vain, for which the kernel makes a socket.
        let waits = |listener: &&OwnedFd| is_readable(listener.as_fd());
        let Some(listener) = self.listener.as_ref().filter(waits) else { return accepted };
        for _ in 0..ACCEPTS_PER_TURN {
            match accept(listener.as_fd()) {
                // How many come is not ours to say; one too many is turned away.
                Ok(_) if self.clients.try_reserve(1).is_err() => {
                    let text = "Failed to accept client connection on attach socket";
                    diagnostics.warn_errno(text, Errno::ENOMEM);
                    break;
                }
                Ok(socket) => {
                    let number = socket.as_raw_fd();
                    diagnostics.debug(format!("Accepted console connection {number}"));
                    self.clients.push(Client::new(ClientId(self.next_id), socket));
                    self.next_id += 1;
                    self.accept_failing = false;
                    self.accept_again = None;
                    accepted += 1;
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR | Errno::ECONNABORTED) => {}
                Err(errno) => {
                    if !self.accept_failing {
                        let text = "Failed to accept client connection on attach socket";
                        diagnostics.warn_errno(text, errno);
                    }
                    self.accept_failing = true;
                    self.accept_again = Some(now.saturating_add(ACCEPT_REST));
                    break;
                }
            }
        }
        accepted
    }

    /// Sends container output to every client, newest first: one packet for each chunk of
    /// `bytes`, which begin at a chunk's beginning.
    pub(crate) fn broadcast(
        &mut self,
        stream: Stream,
        bytes: &[u8],
        now: Duration,
        diagnostics: &Diagnostics,
    ) {
        if self.clients.is_empty() {
            return;
        }
        for client in self.clients.iter_mut().rev() {
            if self.stage != Stage::Alive && client.is_congested() {
                client.flush(now, diagnostics);
            }
            client.send(stream, bytes, now, diagnostics);
        }
        self.remove_finished(diagnostics);
    }

    /// Whether some client's queue is full: container output is not to be read meanwhile.
    pub(crate) fn is_congested(&self) -> bool {
        self.clients.iter().any(Client::is_congested)
    }

    /// What to poll of each client: nothing of a direction that is shut or held back.
    ///
    /// A client is read only when `stdin` has passed on its previous packet. Hang-ups and
    /// errors come unasked, and are to be handed to [`on_client`](Self::on_client) as well.
    pub(crate) fn clients(
        &self,
        stdin: &ContainerStdin,
    ) -> impl Iterator<Item = (ClientId, BorrowedFd<'_>, PollFlags)> {
        self.clients.iter().filter_map(move |client| {
            let interest = client.interest(stdin)?;
            Some((client.id, client.fd(), interest))
        })
    }

    /// Handles what poll reported of one client; one that is gone already is no mistake.
    pub(crate) fn on_client(
        &mut self,
        id: ClientId,
        events: PollFlags,
        stdin: &mut ContainerStdin,
        now: Duration,
        diagnostics: &Diagnostics,
    ) {
        let Some(client) = self.clients.iter_mut().find(|client| client.id == id) else { return };
        let over = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
        let mut ended = false;
        if events.intersects(over) {
            client.hang_up(diagnostics);
        }
        if events.contains(PollFlags::POLLOUT) {
            client.flush(now, diagnostics);
        }
        if events.intersects(over | PollFlags::POLLIN) && client.may_be_read(stdin) {
            ended = client.read(stdin, diagnostics);
        }
        if ended {
            let remaining = self.clients.iter().filter(|client| client.sends()).count();
            stdin.client_left(remaining, diagnostics);
        }
        self.remove_finished(diagnostics);
    }

    /// When [`on_deadline`](Self::on_deadline) is to be called.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        if self.clients.is_empty() {
            return self.accept_again;
        }
        let stalls = self.current_stall_timeout().into_iter().flat_map(|timeout| {
            self.clients.iter().filter_map(move |client| client.stalls_at(timeout))
        });
        let releases = self.clients.iter().filter_map(Client::releases_at);
        stalls.chain(releases).chain(self.accept_again).min()
    }

    /// Cuts off clients that have taken nothing for the stall timeout, ends the rest after a
    /// failed accept and gives back memory that is not needed any more.
    pub(crate) fn on_deadline(&mut self, now: Duration, diagnostics: &Diagnostics) {
        self.accept_again = self.accept_again.filter(|again| now < *again);
        for client in &mut self.clients {
            if client.releases_at().is_some_and(|at| at <= now) {
                client.release_memory();
            }
        }
        let Some(timeout) = self.current_stall_timeout() else { return };
        let is_due = |client: &Client| client.stalls_at(timeout).is_some_and(|at| at <= now);
        for client in self.clients.iter_mut().filter(|client| is_due(client)) {
            // It may have read a little: a Unix socket counts as writable for poll only when
            // three quarters of its buffer are free.
            client.flush(now, diagnostics);
            if is_due(client) {
                let seconds = timeout.as_secs();
                let lost = client.cut_off();
                diagnostics.warn(format!(
                    "Attach client has taken no output for {seconds} s: closing its connection, \
                     {lost} bytes did not reach it"
                ));
            }
        }
        self.remove_finished(diagnostics);
    }

    fn current_stall_timeout(&self) -> Option<Duration> {
        self.stall_timeout.filter(|_| self.stage == Stage::Alive)
    }

    /// How many clients have come, and how many are there: equal twice, it is still the same ones.
    pub(crate) fn population(&self) -> (u64, usize) {
        (self.next_id, self.clients.len())
    }

    /// Whether some client has not been given everything yet.
    pub(crate) fn has_queued(&self) -> bool {
        self.clients.iter().any(|client| client.queued_bytes() > 0)
    }

    /// The container is gone: its last output comes at once, and clients may take all the time
    /// they need for it.
    pub(crate) fn begin_exit(&mut self) {
        self.stage = Stage::Ended;
    }

    /// No more output will come: closes the listening socket and every client that has
    /// everything, now or as soon as it has. They see the end of file; so do clients that were
    /// not accepted yet, and not a reset.
    pub(crate) fn end_output(&mut self, now: Duration, diagnostics: &Diagnostics) {
        self.accept(now, diagnostics);
        self.listener = None;
        self.accept_again = None;
        self.stage = Stage::Closing;
        self.remove_finished(diagnostics);
        self.clients.shrink_to_fit();
    }

    /// Closes the clients that are left, and says what they did not get.
    pub(crate) fn abandon(&mut self, diagnostics: &Diagnostics) {
        self.clients.drain(..).for_each(|mut client| client.hang_up(diagnostics));
    }

    /// Gives up what is least worth its descriptor: the listening socket, and clients that
    /// were cut off. For when the record lacks one.
    pub(crate) fn give_back_descriptors(&mut self) {
        self.listener = None;
        self.accept_again = None;
        self.clients.retain(Client::receives);
    }

    /// Removes the socket's name; a failure is warned of.
    pub(crate) fn unlink_socket(&mut self, diagnostics: &Diagnostics) {
        if let Some(Err(errno)) = self.name.take().map(|name| name.remove()) {
            let text = "Failed to remove symlink for attach socket directory";
            diagnostics.warn_errno(text, errno);
        }
    }

    /// Removes the symlink to the bundle; a failure leaves it where it is.
    pub(crate) fn unlink_symlink(&mut self) {
        if let Some(symlink) = self.symlink.take() {
            let _ = symlink.remove();
        }
    }

    fn remove_finished(&mut self, diagnostics: &Diagnostics) {
        let before = self.clients.len();
        let closing = self.stage == Stage::Closing;
        self.clients.retain_mut(|client| {
            if client.is_finished() {
                diagnostics.debug(format!("Closing {}", client.fd().as_raw_fd()));
                return false;
            }
            if closing {
                // Nothing will be queued again in the memory that has become free.
                client.release_memory();
            }
            !closing || client.queued_bytes() > 0
        });
        if self.clients.len() < before {
            // There is a descriptor for a waiting client again.
            self.accept_again = None;
        }
    }
}
