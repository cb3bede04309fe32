//! The verbs.

use crate::{fd_facts, sys};
use std::ffi::{OsStr, OsString, c_int};
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

const HELP: &str = "\
payload VERB [ARGUMENT...] [VERB [ARGUMENT...]]...

Output (LEN counts the newline):
  say TEXT             TEXT and a newline to standard output
  say-err TEXT         the same to standard error
  print TEXT           TEXT alone        print-err TEXT    the same to standard error
  raw HEX              these bytes       raw-err HEX       the same to standard error
  print-bytes N CHAR   CHAR, N times     print-bytes-err N CHAR
  lines N LEN          N equal lines, in large writes
  numbered N LEN       N lines that begin with their number, one write each
  trickle N LEN US     N equal lines, one write each, so many microseconds after one another
  write-split TEXT N   TEXT in writes of N bytes, each taken by the reader before the next
  drain                wait until the reader has taken all of standard output
Input:
  read-line            one line; prints `got LINE`, or `eof`
  echo-until-eof       copy standard input to standard output
  count-stdin          read to the end; prints `read N bytes sum S`
Waiting (ends too when the directory of PATH is removed):
  wait-file PATH       until PATH exists
  wait-signal          until one more trapped signal has arrived
  sleep-forever        until killed; trapped signals are served
Ending:
  exit N               default at the end of the verbs: 0
  kill-self SIG        signal to itself; goes on if that does not end it
Signals (names or numbers):
  ignore SIG           trap SIG TEXT (prints TEXT and a newline)
  on-winch             print `winch ROWS COLS` at each window change
Processes:
  fork VERB... end     the verbs in a child that ends after them; the parent goes on
  fork-holder PATH     a child that holds the descriptors until PATH exists
  setsid               chdir PATH
Files:
  touch PATH           write-file PATH TEXT       cat PATH          close FD
Memory:
  alloc MB             take and touch so much memory
  lend MB              the same, but the kernel may take it back
Service manager:
  notify TEXT          one datagram to $NOTIFY_SOCKET        notify-raw HEX
Facts, printed:
  winsize              ROWS COLS of standard input's terminal
  pixels               its width and height in pixels
  isatty               tty or notty for descriptors 0, 1 and 2
  fds                  one line each: FD KIND MODE ACCESS
  sigstate             SigBlk and SigIgn lines of /proc/self/status
  ids                  pid, parent, group, session
  env NAME             NAME=VALUE, or `NAME unset`
  pwd                  the working directory
  args                 the count of all arguments
";

/// Why a verb was not carried out.
pub enum Problem {
    UnknownVerb(OsString),
    Missing { verb: &'static str, what: &'static str },
    Bad { what: &'static str, value: OsString },
    Io { what: &'static str, error: io::Error },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVerb(verb) => write!(f, "unknown verb {}", verb.to_string_lossy()),
            Self::Missing { verb, what } => write!(f, "{verb} needs {what}"),
            Self::Bad { what, value } => write!(f, "bad {what} {}", value.to_string_lossy()),
            Self::Io { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

type Result<T> = std::result::Result<T, Problem>;

/// The arguments not used up yet.
struct Words<'a> {
    verb: &'static str,
    rest: std::slice::Iter<'a, OsString>,
}

impl<'a> Words<'a> {
    fn next(&mut self, what: &'static str) -> Result<&'a OsStr> {
        let verb = self.verb;
        self.rest.next().map(OsString::as_os_str).ok_or(Problem::Missing { verb, what })
    }

    fn number<T: std::str::FromStr>(&mut self, what: &'static str) -> Result<T> {
        let word = self.next(what)?;
        let bad = || Problem::Bad { what, value: word.into() };
        word.to_str().and_then(|text| text.parse().ok()).ok_or_else(bad)
    }

    fn line(&mut self) -> Result<Vec<u8>> {
        let mut text = self.next("a text")?.as_bytes().to_vec();
        text.push(b'\n');
        Ok(text)
    }

    fn hex(&mut self) -> Result<Vec<u8>> {
        let word = self.next("bytes in hex")?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let pair = |pair: &[u8]| match pair {
            [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = word.as_bytes().chunks(2).map(pair).collect();
        bytes.ok_or_else(|| Problem::Bad { what: "hex", value: word.into() })
    }

    fn signal(&mut self) -> Result<c_int> {
        let word = self.next("a signal")?;
        signal_number(word).ok_or_else(|| Problem::Bad { what: "signal", value: word.into() })
    }
}

/// Carries out all verbs; returns the status to end with.
pub fn run(arguments: &[OsString]) -> Result<c_int> {
    let mut words = Words { verb: "", rest: arguments.iter() };
    let mut in_child = false;
    let mut signals_seen = 0;
    while let Some(verb) = words.rest.next() {
        let Some(name) = VERBS.iter().find(|name| *name == verb) else {
            return Err(Problem::UnknownVerb(verb.clone()));
        };
        words.verb = name;
        match *name {
            "exit" => return words.number("a status"),
            "end" if in_child => return Ok(0),
            "end" => {}
            "fork" => in_child = fork(&mut words)? || in_child,
            "wait-signal" => signals_seen = wait_signal(signals_seen),
            "args" => print(1, format!("{}\n", arguments.len()).as_bytes())?,
            _ => single(name, &mut words)?,
        }
    }
    Ok(0)
}

const VERBS: &[&str] = &[
    "alloc",
    "args",
    "cat",
    "chdir",
    "close",
    "count-stdin",
    "drain",
    "echo-until-eof",
    "end",
    "env",
    "exit",
    "fds",
    "fork",
    "fork-holder",
    "help",
    "ids",
    "ignore",
    "isatty",
    "kill-self",
    "lend",
    "lines",
    "notify",
    "notify-raw",
    "numbered",
    "on-winch",
    "pixels",
    "print",
    "print-bytes",
    "print-bytes-err",
    "print-err",
    "pwd",
    "raw",
    "raw-err",
    "read-line",
    "say",
    "say-err",
    "setsid",
    "sigstate",
    "sleep-forever",
    "touch",
    "trap",
    "trickle",
    "wait-file",
    "wait-signal",
    "winsize",
    "write-file",
    "write-split",
];

/// A verb that changes nothing in how the verbs are walked through.
fn single(verb: &str, words: &mut Words) -> Result<()> {
    match verb {
        "help" => print(1, HELP.as_bytes()),
        "say" => print(1, &words.line()?),
        "say-err" => print(2, &words.line()?),
        "print" => print(1, words.next("a text")?.as_bytes()),
        "print-err" => print(2, words.next("a text")?.as_bytes()),
        "raw" => print(1, &words.hex()?),
        "raw-err" => print(2, &words.hex()?),
        "print-bytes" => print_bytes(1, words),
        "print-bytes-err" => print_bytes(2, words),
        "lines" => lines(words),
        "numbered" => numbered(words),
        "trickle" => trickle(words),
        "write-split" => write_split(words),
        "drain" => drain(),
        "read-line" => read_line(),
        "echo-until-eof" => echo(),
        "count-stdin" => count_stdin(),
        "wait-file" => {
            sys::wait_file(words.next("a path")?);
            Ok(())
        }
        "sleep-forever" => loop {
            sys::tick(-1);
        },
        "kill-self" => words.signal().map(sys::raise),
        "ignore" => words.signal().map(sys::ignore),
        "trap" => {
            let number = words.signal()?;
            sys::trap(number, words.line()?);
            Ok(())
        }
        "on-winch" => {
            sys::report_window_changes();
            Ok(())
        }
        "fork-holder" => fork_holder(words.next("a path")?),
        "setsid" => sys::new_session().map_err(io_problem("setsid")),
        "chdir" => sys::change_directory(words.next("a path")?).map_err(io_problem("chdir")),
        "touch" => fs::write(words.next("a path")?, b"").map_err(io_problem("touch")),
        "write-file" => {
            let path = words.next("a path")?;
            fs::write(path, words.next("a text")?.as_bytes()).map_err(io_problem("write-file"))
        }
        "cat" => print(1, &fs::read(words.next("a path")?).map_err(io_problem("cat"))?),
        "close" => words.number("a descriptor").map(sys::close_fd),
        "alloc" | "lend" => take_memory(words, verb == "lend"),
        "notify" => notify(words.next("a text")?.as_bytes()),
        "notify-raw" => notify(&words.hex()?),
        "env" => env(words.next("a name")?),
        _ => fact(verb),
    }
}

/// The verbs without argument that print what the process knows of itself.
fn fact(verb: &str) -> Result<()> {
    let text = match verb {
        "winsize" => {
            let (rows, columns) = sys::window_size(0).map_err(io_problem("winsize"))?;
            format!("{rows} {columns}\n")
        }
        "pixels" => {
            let (width, height) = sys::window_pixels(0).map_err(io_problem("pixels"))?;
            format!("{width} {height}\n")
        }
        "isatty" => {
            let words = [0, 1, 2].map(|fd| if sys::is_terminal(fd) { "tty" } else { "notty" });
            format!("{}\n", words.join(" "))
        }
        "fds" => {
            let fds = fd_facts::open_fds().map_err(io_problem("fds"))?;
            let line = |fd: &fd_facts::FdFact| {
                format!("{} {} {} {}\n", fd.fd, fd.kind, fd.mode, fd.access)
            };
            fds.iter().map(line).collect()
        }
        "sigstate" => {
            let status = fs::read_to_string("/proc/self/status").map_err(io_problem("sigstate"))?;
            let wanted = |line: &&str| line.starts_with("SigBlk") || line.starts_with("SigIgn");
            status.lines().filter(wanted).map(|line| format!("{line}\n")).collect()
        }
        "ids" => {
            let [pid, parent, group, session] = sys::ids();
            format!("pid {pid} parent {parent} group {group} session {session}\n")
        }
        _ => {
            let here = std::env::current_dir().map_err(io_problem("pwd"))?;
            let mut line = here.into_os_string().into_vec();
            line.push(b'\n');
            return print(1, &line);
        }
    };
    print(1, text.as_bytes())
}

fn io_problem(what: &'static str) -> impl Fn(io::Error) -> Problem {
    move |error| Problem::Io { what, error }
}

fn print(fd: c_int, bytes: &[u8]) -> Result<()> {
    sys::write_all(fd, bytes).map_err(io_problem("write"))
}

fn print_bytes(fd: c_int, words: &mut Words) -> Result<()> {
    let mut left: usize = words.number("a count")?;
    let byte = *words.next("a character")?.as_bytes().first().unwrap_or(&b'x');
    let chunk = vec![byte; left.min(65536)];
    while left > 0 {
        let now = left.min(chunk.len());
        print(fd, chunk.get(..now).unwrap_or_default())?;
        left -= now;
    }
    Ok(())
}

fn lines(words: &mut Words) -> Result<()> {
    let mut left: usize = words.number("a count")?;
    let length = words.number::<usize>("a length")?.max(1);
    let mut line: Vec<u8> = b"0123456789abcdef".iter().copied().cycle().take(length - 1).collect();
    line.push(b'\n');
    let at_once = (65536 / length).max(1);
    let chunk = line.repeat(at_once);
    while left > 0 {
        let now = left.min(at_once);
        print(1, chunk.get(..now * length).unwrap_or_default())?;
        left -= now;
    }
    Ok(())
}

fn trickle(words: &mut Words) -> Result<()> {
    let count: u32 = words.number("a count")?;
    let length = words.number::<usize>("a length")?.max(1);
    let pause = Duration::from_micros(words.number("a time")?);
    let line = [vec![b'x'; length - 1], vec![b'\n']].concat();
    let start = Instant::now();
    for number in 1..=count {
        // After one another by the clock, so that many of them do not drift.
        std::thread::sleep((start + pause * number).saturating_duration_since(Instant::now()));
        print(1, &line)?;
    }
    Ok(())
}

fn numbered(words: &mut Words) -> Result<()> {
    let count: usize = words.number("a count")?;
    let length = words.number::<usize>("a length")?.max(1);
    for number in 1..=count {
        let mut line = format!("{number:<width$}", width = length - 1).replace(' ', ".");
        line.push('\n');
        print(1, line.as_bytes())?;
    }
    Ok(())
}

fn write_split(words: &mut Words) -> Result<()> {
    let text = words.next("a text")?.as_bytes();
    let size = words.number::<usize>("a size")?.max(1);
    text.chunks(size).try_for_each(|part| {
        print(1, part)?;
        drain()
    })
}

fn drain() -> Result<()> {
    while sys::unread(1).map_err(io_problem("drain"))? > 0 {
        sys::tick(1);
    }
    Ok(())
}

fn read_line() -> Result<()> {
    let mut line = b"got ".to_vec();
    let mut byte = [0];
    loop {
        if sys::read_some(0, &mut byte).map_err(io_problem("read"))? == 0 {
            return print(1, b"eof\n");
        }
        line.extend_from_slice(&byte);
        if byte == [b'\n'] {
            return print(1, &line);
        }
    }
}

fn echo() -> Result<()> {
    let mut buffer = vec![0; 32768];
    loop {
        match sys::read_some(0, &mut buffer).map_err(io_problem("read"))? {
            0 => return Ok(()),
            count => print(1, buffer.get(..count).unwrap_or_default())?,
        }
    }
}

fn count_stdin() -> Result<()> {
    let mut buffer = vec![0; 32768];
    let (mut total, mut sum) = (0_u64, 0_u64);
    loop {
        let count = sys::read_some(0, &mut buffer).map_err(io_problem("read"))?;
        if count == 0 {
            return print(1, format!("read {total} bytes sum {sum}\n").as_bytes());
        }
        total += count as u64;
        for &byte in buffer.iter().take(count) {
            sum = sum.wrapping_mul(31).wrapping_add(u64::from(byte)) % 1_000_003;
        }
    }
}

fn wait_signal(seen: usize) -> usize {
    while sys::handled() <= seen {
        sys::tick(10);
    }
    seen + 1
}

/// In the child goes on with the next verb, in the parent skips to the matching `end`.
fn fork(words: &mut Words) -> Result<bool> {
    if sys::fork_process().map_err(io_problem("fork"))? == 0 {
        return Ok(true);
    }
    let mut depth = 1;
    while depth > 0 {
        let word = words.next("end")?;
        depth += if word == "fork" { 1 } else { 0 };
        depth -= if word == "end" { 1 } else { 0 };
    }
    Ok(false)
}

fn fork_holder(path: &OsStr) -> Result<()> {
    if sys::fork_process().map_err(io_problem("fork"))? == 0 {
        sys::wait_file(path);
        sys::exit_now(0);
    }
    Ok(())
}

fn take_memory(words: &mut Words, lent: bool) -> Result<()> {
    for _ in 0..words.number::<usize>("a size in MB")? {
        // Hidden from the optimiser, which would not allocate what nobody reads.
        let taken = std::hint::black_box(Box::leak(vec![1_u8; 1 << 20].into_boxed_slice()));
        let offered = if lent { sys::offer(taken) } else { Ok(()) };
        offered.map_err(io_problem("lend"))?;
    }
    Ok(())
}

fn notify(message: &[u8]) -> Result<()> {
    let path = std::env::var_os("NOTIFY_SOCKET").unwrap_or_default();
    let socket = UnixDatagram::unbound().map_err(io_problem("socket"))?;
    socket.send_to(message, path).map_err(io_problem("notify"))?;
    Ok(())
}

fn env(name: &OsStr) -> Result<()> {
    let mut line = name.as_bytes().to_vec();
    match std::env::var_os(name) {
        Some(value) => {
            line.push(b'=');
            line.extend_from_slice(value.as_bytes());
        }
        None => line.extend_from_slice(b" unset"),
    }
    line.push(b'\n');
    print(1, &line)
}

/// The numbers Linux uses on most architectures; others can be given as numbers.
fn signal_number(word: &OsStr) -> Option<c_int> {
    const NAMES: &[(&str, c_int)] = &[
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ABRT", 6),
        ("KILL", 9),
        ("USR1", 10),
        ("SEGV", 11),
        ("USR2", 12),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
        ("CHLD", 17),
        ("CONT", 18),
        ("STOP", 19),
        ("TSTP", 20),
        ("WINCH", 28),
    ];
    let word = word.to_str()?;
    let name = word.strip_prefix("SIG").unwrap_or(word);
    let known = NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    known.or_else(|| word.parse().ok().filter(|number| (1..=64).contains(number)))
}
