//! What callers write to the fifos, well and badly.

use std::fs::{OpenOptions, symlink_metadata};
use std::io::Write;
use std::os::unix::fs::FileTypeExt;

use rstest::rstest;

use super::Command::{ReopenLogs, Resize};
use super::*;

fn quiet() -> Diagnostics {
    let diagnostics = Diagnostics::new(Level::Debug, None);
    diagnostics.leave_stderr();
    diagnostics
}

fn resize(rows: u16, columns: u16) -> Command {
    Resize { rows, columns }
}

#[rstest]
#[case::resize("1 10 20", Ok(resize(10, 20)))]
#[case::text_after_it("1 10 20 junk", Ok(resize(10, 20)))]
#[case::text_directly_after_it("1 10 20junk", Ok(resize(10, 20)))]
#[case::carriage_return("1 10 20\r", Ok(resize(10, 20)))]
#[case::other_blanks("\t1\x0b10\x0c 20", Ok(resize(10, 20)))]
#[case::signs("+1 +10 -0", Ok(resize(10, 0)))]
#[case::leading_zeros("001 010 0020", Ok(resize(10, 20)))]
#[case::nothing_at_all("1 0 0", Ok(resize(0, 0)))]
#[case::largest("1 1000 1000", Ok(resize(1000, 1000)))]
#[case::nul_ends_the_text("1 10 20\x003 4", Ok(resize(10, 20)))]
#[case::reopen("2 0 0", Ok(ReopenLogs))]
#[case::reopen_with_sizes("2 1000 7", Ok(ReopenLogs))]
#[case::empty("", Err("Invalid control message format"))]
#[case::blank("  ", Err("Invalid control message format"))]
#[case::two_numbers("1 10", Err("Invalid control message format"))]
#[case::nul_before_the_end("1 10\x00 20", Err("Invalid control message format"))]
#[case::hexadecimal("1 0x10 20", Err("Invalid control message format"))]
#[case::sign_alone("1 - 10 20", Err("Invalid control message format"))]
#[case::two_signs("1 +-10 20", Err("Invalid control message format"))]
#[case::words("resize 10 20", Err("Invalid control message format"))]
#[case::no_number_of_ours("1\u{a0}10 20", Err("Invalid control message format"))]
#[case::unknown_type("3 10 20", Err("Invalid control message type: 3"))]
#[case::type_zero("0 10 20", Err("Invalid control message type: 0"))]
#[case::negative_type("-1 10 20", Err("Invalid control message type: -1"))]
#[case::type_beyond_its_range("4294967297 10 20", Err("Invalid control message type: 4294967297"))]
#[case::type_is_checked_first("3 5000 20", Err("Invalid control message type: 3"))]
#[case::too_high("1 1001 20", Err("Invalid window size: 1001x20 (must be between 0 and 1000)"))]
#[case::too_wide("1 10 1001", Err("Invalid window size: 10x1001 (must be between 0 and 1000)"))]
#[case::negative("1-10 20", Err("Invalid window size: -10x20 (must be between 0 and 1000)"))]
#[case::would_wrap_to_16_bits(
    "1 65546 20",
    Err("Invalid window size: 65546x20 (must be between 0 and 1000)")
)]
#[case::would_wrap_to_32_bits(
    "1 4294967306 20",
    Err("Invalid window size: 4294967306x20 (must be between 0 and 1000)")
)]
#[case::beyond_64_bits(
    "1 10 -99999999999999999999",
    Err("Invalid window size: 10x-9223372036854775807 (must be between 0 and 1000)")
)]
#[case::reopen_has_its_sizes_checked_too(
    "2 0 2000",
    Err("Invalid window size: 0x2000 (must be between 0 and 1000)")
)]
fn a_control_line_means(#[case] line: &str, #[case] expected: Result<Command, &str>) {
    let parsed = parse(Kind::Control, line.as_bytes(), &quiet());
    assert_eq!(parsed, expected.map_err(str::to_owned));
}

#[rstest]
#[case::size("24 80", Ok(resize(24, 80)))]
#[case::text_after_it("24 80 x", Ok(resize(24, 80)))]
#[case::one_number("24", Err("Failed to parse window size"))]
#[case::words("big", Err("Failed to parse window size"))]
#[case::too_wide("24 9999", Err("Invalid window size: 24x9999 (must be between 0 and 1000)"))]
fn a_window_size_line_means(#[case] line: &str, #[case] expected: Result<Command, &str>) {
    let parsed = parse(Kind::WindowSize, line.as_bytes(), &quiet());
    assert_eq!(parsed, expected.map_err(str::to_owned));
}

struct World {
    fifo: ControlFifo,
    writer: std::fs::File,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ctl");
        let fifo = ControlFifo::create(&path, Kind::Control, &quiet()).unwrap();
        let writer = OpenOptions::new().write(true).open(&path).unwrap();
        Self { fifo, writer, _dir: dir }
    }

    /// Reads the fifo until it is empty.
    fn commands(&mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        loop {
            let mut bytes = 0;
            let waiting = crate::sys::socket::waiting_bytes(self.fifo.fd().unwrap());
            bytes += waiting.unwrap();
            if bytes == 0 {
                return commands;
            }
            self.fifo.read(&quiet(), |command| commands.push(command));
        }
    }
}

const LONG: &str = concat!(
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
);

fn long(bytes: usize) -> String {
    LONG.get(..bytes).unwrap().to_owned()
}

/// Each case is a series of writes, read after each one as well as all together.
#[rstest]
#[case::one(&["1 10 20\n"], &[resize(10, 20)])]
#[case::two_in_one_write(&["1 10 20\n1 30 40\n"], &[resize(10, 20), resize(30, 40)])]
#[case::one_in_two_writes(&["1 10", " 20\n"], &[resize(10, 20)])]
#[case::byte_by_byte(&["1", " ", "1", "0", " ", "2", "0", "\n"], &[resize(10, 20)])]
#[case::no_newline_waits(&["1 10 20"], &[])]
#[case::empty_line_first(&["\n", "1 10 20\n"], &[resize(10, 20)])]
#[case::one_number_a_line(&["1\n10\n20\n"], &[])]
#[case::rejected_before_good_in_one_write(&["bad\n1 10 20\n"], &[resize(10, 20)])]
#[case::rejected_tail_does_not_stay(&["1 10", " abc\n", "1 10 20\n"], &[resize(10, 20)])]
#[case::good_before_a_partial(&["1 10 20\n1 30", " 40\n"], &[resize(10, 20), resize(30, 40)])]
#[case::exactly_as_long_as_the_buffer(&[LONG, "1 10 20\n"], &[resize(10, 20)])]
#[case::longest_line(&[&(long(198) + "\n"), "1 10 20\n"], &[resize(10, 20)])]
#[case::too_long_in_pieces(
    &[&long(150), &long(100), "\n", "1 10 20\n"],
    &[resize(10, 20)]
)]
#[case::too_long_in_many_pieces(
    &[&long(150), &long(199), &long(199), &long(150), "\n", "2 0 0\n"],
    &[ReopenLogs]
)]
#[case::too_long_after_a_good_one(
    &["1 10 20\n", &long(150), &long(150), "A\n2 0 0\n"],
    &[resize(10, 20), ReopenLogs]
)]
#[case::mixed(&["2 0 0\n1 24 80\n9 9 9\n1 1 1\n"], &[ReopenLogs, resize(24, 80), resize(1, 1)])]
#[case::nul_costs_its_line_only(&["1 10\0 20\n1 30 40\n"], &[resize(30, 40)])]
fn lines_arrive_however_they_are_written(#[case] writes: &[&str], #[case] expected: &[Command]) {
    let mut world = World::new();
    let mut commands = Vec::new();
    for text in writes {
        world.writer.write_all(text.as_bytes()).unwrap();
        commands.extend(world.commands());
    }
    assert_eq!(commands, expected, "read after each write");

    let mut world = World::new();
    world.writer.write_all(writes.concat().as_bytes()).unwrap();
    assert_eq!(world.commands(), expected, "read at the end");
}

#[test]
fn many_messages_are_handed_over_in_order() {
    let mut world = World::new();
    let expected: Vec<Command> = (0..1000).map(|n| resize(n, 1000 - n)).collect();
    let text: String = (0..1000).map(|n| format!("1 {n} {}\n", 1000 - n)).collect();
    world.writer.write_all(text.as_bytes()).unwrap();
    assert_eq!(world.commands(), expected);
}

#[test]
fn an_over_long_line_is_reported_once() {
    let mut lines = LineBuffer::default();
    let mut push = |text: &str| {
        lines
            .fill(|space| {
                let count = text.len().min(space.len());
                space[..count].copy_from_slice(&text.as_bytes()[..count]);
                Ok(count)
            })
            .unwrap();
        lines.drain(|_| {})
    };
    assert!(!push(&long(150)));
    assert!(push(&long(49)));
    assert!(!push(LONG));
    assert!(!push("A\n"));
    assert!(push(LONG));
}

#[test]
fn a_caller_that_closes_its_end_wakes_nobody() {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let World { fifo, mut writer, _dir } = World::new();
    writer.write_all(b"1 10 20").unwrap();
    let mut fifo = fifo;
    fifo.read(&quiet(), |_| panic!("not a whole line"));
    drop(writer);
    let mut polled = [PollFd::new(fifo.fd().unwrap(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut polled, PollTimeout::ZERO), Ok(0));
}

#[rstest]
#[case::nothing(|_: &Path| ())]
#[case::file(|path: &Path| std::fs::write(path, "old").unwrap())]
#[case::fifo(|path: &Path| mkfifo(path, Mode::S_IRWXU).unwrap())]
#[case::dangling_symlink(|path: &Path| std::os::unix::fs::symlink("/nowhere", path).unwrap())]
fn a_fifo_takes_the_place_of_what_was_there(#[case] prepare: impl Fn(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ctl");
    prepare(&path);
    ControlFifo::create(&path, Kind::Control, &quiet()).unwrap();
    assert!(symlink_metadata(&path).unwrap().file_type().is_fifo());
}

#[rstest]
#[case::directory_in_the_way(Kind::Control, "taken", "Failed to mkfifo at [PATH] File exists")]
#[case::no_directory_for_ctl(
    Kind::Control,
    "missing/ctl",
    "Failed to open terminal control fifo read half No such file or directory"
)]
#[case::no_directory_for_winsz(
    Kind::WindowSize,
    "missing/winsz",
    "Failed to open window resize control fifo read half No such file or directory"
)]
fn refuses_a_fifo_it_cannot_make(#[case] kind: Kind, #[case] name: &str, #[case] expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("taken")).unwrap();
    let path = dir.path().join(name);
    let refused = ControlFifo::create(&path, kind, &quiet()).err().unwrap();
    let expected = expected.replace("[PATH]", path.to_str().unwrap());
    assert_eq!(String::from_utf8(refused.sentence()).unwrap(), expected);
}
