//! Attach clients of a container that sends back whatever they type.
//!
//! What they type are frames that say who sent them and which of his they are, with a body that follows
//! from that. One client, the watcher, reads all the time and takes the container's output apart; what the
//! others receive must be a part of the same output without a gap, from some packet on.

use super::dice::Dice;
use crate::facts::{A_WHILE, DEADLINE};
use crate::peer::Peer;
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Instant;

const MARK: [u8; 4] = *b"\xa5\x00\n\x5a";
const HEAD: usize = MARK.len() + 12;
/// By so many bytes a client finds the place in the output where its own begins.
const FINDER: usize = 64;
/// How much is under way at most: what two pipes and the container hold, and some more.
const UNDER_WAY: usize = 160 * 1024;

fn body(sender: u32, number: u32, length: usize) -> Vec<u8> {
    Dice::new(u64::from(sender) << 32 | u64::from(number)).bytes(length)
}

fn frame(sender: u32, number: u32, length: usize) -> Vec<u8> {
    let words = [sender, number, u32::try_from(length).unwrap()].map(u32::to_le_bytes);
    [&MARK[..], words.as_flattened(), &body(sender, number, length)].concat()
}

/// The container's output as the watcher has it.
struct Output {
    /// Where `bytes` begin in all that was put out.
    start: usize,
    bytes: Vec<u8>,
    /// Where the next frame begins.
    parsed: usize,
    /// Of each sender the numbers and lengths of what has not come back.
    typed: HashMap<u32, VecDeque<(u32, usize)>>,
    under_way: usize,
}

impl Output {
    fn end(&self) -> usize {
        self.start + self.bytes.len()
    }

    fn from(&self, place: usize) -> &[u8] {
        &self.bytes[place - self.start..]
    }

    /// Takes apart what is there; every frame must be its sender's next.
    #[track_caller]
    fn parse(&mut self) {
        while let Some(head) = self.from(self.parsed).get(..HEAD) {
            assert_eq!(head[..4], MARK, "no frame at byte {} of the output", self.parsed);
            let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
            let (sender, number) = (word(4), word(8));
            let length = usize::try_from(word(12)).unwrap();
            let Some(found) = self.from(self.parsed + HEAD).get(..length) else { return };
            assert!(found == body(sender, number, length), "frame {number} of {sender} is torn");
            let due = self.typed.get_mut(&sender).and_then(VecDeque::pop_front);
            assert_eq!(due, Some((number, length)), "not the next one of {sender}");
            if self.typed[&sender].is_empty() {
                self.typed.remove(&sender);
            }
            self.parsed += HEAD + length;
            self.under_way -= HEAD + length;
        }
    }
}

/// A client besides the watcher.
struct Client {
    id: u32,
    peer: Peer,
    sends: bool,
    /// It does not read for now.
    paused: bool,
    sent: u32,
    /// Where what is unchecked begins, or the earliest place where that may be.
    place: usize,
    found: bool,
    unchecked: Vec<u8>,
    ended: bool,
}

impl Client {
    /// Takes what is there, a bounded part of it.
    fn receive(&mut self, buffer: &mut [u8]) {
        for _ in 0..64 {
            match self.peer.try_receive(buffer) {
                None => return,
                Some(0) => {
                    self.ended = true;
                    return;
                }
                Some(length) => {
                    assert!(buffer[0] == 2 && length <= 8193, "a packet of {length} bytes");
                    self.unchecked.extend(&buffer[1..length]);
                }
            }
        }
    }

    #[track_caller]
    fn check(&mut self, output: &Output) {
        if !self.found && self.unchecked.len() >= FINDER {
            let from = output.from(self.place);
            let at = from.windows(FINDER).position(|bytes| *bytes == self.unchecked[..FINDER]);
            let Some(at) = at else { return };
            (self.place, self.found) = (self.place + at, true);
        }
        if self.found {
            let known = output.from(self.place);
            let count = known.len().min(self.unchecked.len());
            let same = known[..count] == self.unchecked[..count];
            assert!(same, "client {} reads something else at {}", self.id, self.place);
            self.place += count;
            self.unchecked.drain(..count);
        }
    }

    fn is_up_to_date(&self, output: &Output) -> bool {
        self.unchecked.is_empty() && (!self.found || self.place == output.end())
    }
}

/// The watcher and the others.
pub struct Clients {
    socket: PathBuf,
    watcher: Peer,
    output: Output,
    others: Vec<Client>,
    next: u32,
    buffer: Vec<u8>,
    watcher_ended: bool,
    /// The container has been killed: everybody is closed, in any order.
    ending: bool,
    /// The output from here on is kept for one that is not among the others.
    keep: usize,
}

impl Clients {
    pub fn new(socket: &Path) -> Self {
        let (start, bytes, parsed) = (0, Vec::new(), 0);
        Self {
            socket: socket.into(),
            watcher: Peer::attach(socket),
            output: Output { start, bytes, parsed, typed: HashMap::new(), under_way: 0 },
            others: Vec::new(),
            next: 0,
            buffer: vec![0; 10_000],
            watcher_ended: false,
            ending: false,
            keep: usize::MAX,
        }
    }

    /// How many connections the monitor has.
    pub fn count(&self) -> usize {
        1 + self.others.len()
    }

    pub fn connect(&mut self) {
        // A backlog that is full passes: the monitor accepts many at once.
        let Some(peer) = Peer::attach_within(&self.socket, DEADLINE) else {
            panic!("nobody accepts clients");
        };
        self.others.push(Client {
            id: self.next,
            peer,
            sends: true,
            paused: false,
            sent: 0,
            place: self.output.parsed.min(self.output.end()),
            found: false,
            unchecked: Vec::new(),
            ended: false,
        });
        self.next += 1;
    }

    /// Connects and goes away at once.
    pub fn probe(&self) {
        drop(Peer::attach_within(&self.socket, DEADLINE));
    }

    /// Some other one types `length` bytes and a head, if it can and there is room.
    #[track_caller]
    pub fn send(&mut self, chosen: usize, length: usize) {
        if self.output.under_way + length > UNDER_WAY {
            self.make_room(UNDER_WAY / 2);
        }
        let count = self.others.len().max(1);
        let Some(client) = self.others.get_mut(chosen % count).filter(|client| client.sends) else {
            return;
        };
        if client.peer.try_send(&frame(client.id, client.sent, length)) {
            let typed = self.output.typed.entry(client.id).or_default();
            typed.push_back((client.sent, length));
            client.sent += 1;
            self.output.under_way += HEAD + length;
        }
    }

    pub fn pause(&mut self, chosen: usize) {
        let count = self.others.len().max(1);
        if let Some(client) = self.others.get_mut(chosen % count) {
            client.paused = !client.paused;
        }
    }

    /// Ends its sending: by the socket, or with an empty packet, which is no different.
    pub fn finish_sending(&mut self, chosen: usize, empty: bool) {
        let count = self.others.len().max(1);
        let Some(client) = self.others.get_mut(chosen % count).filter(|client| client.sends) else {
            return;
        };
        if empty && !client.peer.try_send(&[]) {
            return;
        }
        if !empty {
            client.peer.finish_sending();
        }
        client.sends = false;
    }

    /// Goes away, whatever it has not read.
    pub fn leave(&mut self, chosen: usize) {
        if !self.others.is_empty() {
            let at = chosen % self.others.len();
            self.others.swap_remove(at);
        }
    }

    /// Everybody who reads takes what is there.
    #[track_caller]
    pub fn pump(&mut self) {
        while let Some(length) = self.watcher.try_receive(&mut self.buffer) {
            if length == 0 {
                self.watcher_ended = true;
                break;
            }
            assert_eq!(self.buffer[0], 2);
            self.output.bytes.extend(&self.buffer[1..length]);
        }
        self.output.parse();
        for client in self.others.iter_mut().filter(|client| !client.paused) {
            client.receive(&mut self.buffer);
            client.check(&self.output);
            let may_end = self.watcher_ended || self.ending;
            assert!(!client.ended || may_end, "client {} was closed", client.id);
        }
        let needed = self.others.iter().map(|client| client.place).min();
        let needed = needed.unwrap_or(usize::MAX).min(self.output.parsed).min(self.keep);
        if needed > self.output.start + (1 << 20) {
            self.output.bytes.drain(..needed - self.output.start);
            self.output.start = needed;
        }
    }

    /// Pumps until no more than `left` bytes are under way; who is paused gives in when nothing moves.
    #[track_caller]
    pub fn make_room(&mut self, left: usize) {
        let (mut since, mut before) = (Instant::now(), self.output.under_way);
        loop {
            self.pump();
            if self.output.under_way <= left {
                return;
            }
            if self.output.under_way < before {
                (since, before) = (Instant::now(), self.output.under_way);
            }
            if since.elapsed() > A_WHILE / 15 {
                self.others.iter_mut().for_each(|client| client.paused = false);
            }
            assert!(since.elapsed() < DEADLINE, "{} bytes do not come back", before);
            std::thread::yield_now();
        }
    }

    /// One that takes nothing holds the output back until it is cut off, which costs only itself.
    #[track_caller]
    pub fn be_cut_off(&mut self) {
        self.connect();
        self.make_room(0);
        let mut stalled = self.others.pop().unwrap();
        self.keep = stalled.place;
        self.connect();
        let sender = self.others.len() - 1;
        let start = Instant::now();
        // Its socket, its queue and then the pipe are full.
        for _ in 0..40 {
            self.send_patiently(sender, 20_000);
        }
        self.make_room(0);
        assert!(start.elapsed() < DEADLINE);
        loop {
            stalled.receive(&mut self.buffer);
            stalled.check(&self.output);
            if stalled.ended {
                break;
            }
            assert!(start.elapsed() < DEADLINE, "it was not cut off");
        }
        assert!(stalled.place < self.output.end(), "it has got everything");
        self.keep = usize::MAX;
        self.others.pop();
    }

    fn send_patiently(&mut self, sender: usize, length: usize) {
        let before = self.others[sender].sent;
        let start = Instant::now();
        while self.others[sender].sent == before {
            self.send(sender, length);
            self.pump();
            assert!(start.elapsed() < DEADLINE, "nothing is taken");
        }
    }

    /// Everybody reads to the end of what there is.
    #[track_caller]
    pub fn settle(&mut self) {
        self.others.iter_mut().for_each(|client| client.paused = false);
        self.make_room(0);
        self.connect();
        let speaker = self.others.len() - 1;
        let start = Instant::now();
        while !self.others.iter().all(|client| client.is_up_to_date(&self.output)) {
            assert!(start.elapsed() < DEADLINE, "a client lacks something");
            self.pump();
            if self.others.iter().any(|client| !client.found && !client.unchecked.is_empty()) {
                // By as many bytes a client that came late finds its place.
                self.send(speaker, FINDER);
            }
        }
        self.others.pop();
    }

    pub fn leave_all(&mut self) {
        self.others.clear();
    }

    /// The container has ended: everybody has everything, and then the end of the stream.
    #[track_caller]
    pub fn end(&mut self) {
        let start = Instant::now();
        self.ending = true;
        while !self.watcher_ended || !self.others.iter().all(|client| client.ended) {
            self.pump();
            assert!(start.elapsed() < DEADLINE, "a client does not see the end");
        }
        assert!(self.others.iter().all(|client| client.is_up_to_date(&self.output)));
        assert_eq!(self.output.under_way, 0);
    }

    pub fn bytes(&self) -> usize {
        self.output.end()
    }
}
