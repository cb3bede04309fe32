//! Whoever writes to the two control FIFOs.

use super::dice::Dice;
use crate::facts::{DEADLINE, await_fact};
use crate::peer::Peer;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

/// One FIFO's writer.
struct Fifo {
    file: File,
    /// A part of a line is in it.
    half: bool,
    /// Before the numbers of a window size.
    size: &'static str,
}

impl Fifo {
    fn open(path: &Path, size: &'static str) -> Self {
        let open = || File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path).ok();
        Self { file: await_fact("a FIFO's reader", open), half: false, size }
    }

    /// What is longer than the room there is goes nowhere.
    fn write(&mut self, bytes: &[u8]) -> bool {
        let taken = self.file.write(bytes).is_ok();
        if taken {
            self.half = bytes.last() != Some(&b'\n');
        }
        taken
    }

    fn line(&mut self, line: &str) -> bool {
        // Somebody else's half line is ended first.
        let before = if self.half { "\n" } else { "" };
        self.write(format!("{before}{line}\n").as_bytes())
    }

    /// Nothing that means anything.
    fn junk(&mut self, dice: &mut Dice) {
        let x = |bytes: &[u8]| [b"x", bytes].concat();
        let junk = match dice.below(6) {
            0 => x(&dice.bytes(60).iter().map(|byte| byte | 0x40).collect::<Vec<u8>>()),
            1 => x(&[&[b'1'; 500][..], b"\n"].concat()),
            2 => x(&[b'7'; 190]),
            3 => x(b" -1 99999999999999999999\n"),
            4 => x(b"\0\0 5 5\n\n\n"),
            _ => x(b" 20 20\n").repeat(50),
        };
        if self.half {
            self.write(b"\n");
        }
        self.write(&junk);
    }
}

/// Both FIFOs of one monitor.
pub struct Fifos([Fifo; 2]);

impl Fifos {
    pub fn new(bundle: &Path) -> Self {
        Self([Fifo::open(&bundle.join("ctl"), "1 "), Fifo::open(&bundle.join("winsz"), "")])
    }

    /// Junk, or the order to begin a new log.
    pub fn act(&mut self, dice: &mut Dice) {
        match dice.below(8) {
            0 => drop(self.0[0].line("2 0 0")),
            _ => self.0[dice.below(2)].junk(dice),
        }
    }
}

/// A terminal whose container says each new size, and a client that reads.
pub struct Terminal {
    fifos: Fifos,
    client: Peer,
    /// Which of the FIFOs tells sizes: lines of two have no order.
    speaker: usize,
    rows: u16,
    seen: String,
}

impl Terminal {
    pub fn new(bundle: &Path) -> Self {
        let client = Peer::attach(&bundle.join("attach"));
        Self { fifos: Fifos::new(bundle), client, speaker: 0, rows: 1, seen: String::new() }
    }

    pub fn act(&mut self, dice: &mut Dice, bundle: &Path) {
        match dice.below(6) {
            0 => self.fifos.act(dice),
            1 => self.fifos.0[1 - self.speaker].junk(dice),
            2 => drop(Peer::attach_within(&bundle.join("attach"), DEADLINE)),
            _ => drop(self.resize()),
        }
        self.pump();
    }

    fn resize(&mut self) -> bool {
        self.rows = self.rows % 900 + 1;
        let fifo = &mut self.fifos.0[self.speaker];
        fifo.line(&format!("{}{} 132", fifo.size, self.rows))
    }

    fn pump(&mut self) {
        let mut buffer = [0; 10_000];
        while let Some(length @ 1..) = self.client.try_receive(&mut buffer) {
            self.seen += std::str::from_utf8(&buffer[1..length]).unwrap();
        }
        let keep = self.seen.len().saturating_sub(100);
        self.seen.drain(..keep);
    }

    /// The size that was told last is the terminal's; from now on the other FIFO tells it.
    #[track_caller]
    pub fn settle(&mut self) {
        await_fact("room in a FIFO", || self.resize().then_some(()));
        let due = format!("winch {} 132\r\n", self.rows);
        let start = Instant::now();
        while !self.seen.ends_with(&due) {
            self.pump();
            assert!(start.elapsed() < DEADLINE, "{due:?} is due, {:?} has come", self.seen);
        }
        self.speaker = 1 - self.speaker;
    }
}
