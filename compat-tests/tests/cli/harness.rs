//! The two programs under test, how they are run, and how their answers are worded.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use predicates::Predicate;
use tempfile::TempDir;

/// Which of the two programs a test is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Reference,
    Candidate,
}

pub use Which::{Candidate, Reference};

/// What a program answers. The texts are those of the newest C conmon, without prefix and
/// newline.
#[derive(Clone, Copy, Debug)]
pub enum Says {
    /// The whole line was accepted and held `--version`.
    Version,
    /// What the option parser prints.
    Parse(&'static str),
    /// A mistake reported before the monitor's own messages are set up.
    Plain(&'static str),
    /// An error whose text is a constant.
    Constant(&'static str),
    /// An error whose text has variable parts.
    Formatted(&'static str),
}

/// A program under test.
#[derive(Debug)]
pub struct Subject {
    pub path: PathBuf,
    /// The compatibility level it claims.
    pub release: (u32, u32, u32),
    pub version_text: String,
    /// Whether it knows the `--seccomp-notify-*` options, which no release number tells.
    pub seccomp: bool,
}

/// Options that came with release 2.2.0.
const SINCE_2_2_0: [&str; 5] = [
    "--log-rotate",
    "--log-max-files",
    "--log-allowlist-dir",
    "--log-label",
    "--no-container-partial-message",
];

impl Subject {
    pub fn get(which: Which) -> &'static Self {
        static REFERENCE: OnceLock<Subject> = OnceLock::new();
        static CANDIDATE: OnceLock<Subject> = OnceLock::new();
        match which {
            Reference => REFERENCE.get_or_init(|| Self::probe(reference())),
            Candidate => CANDIDATE.get_or_init(|| Self::probe(candidate())),
        }
    }

    fn probe(path: PathBuf) -> Self {
        let ask = |option| {
            let output = Command::new(&path).arg(option).output();
            let output = output.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            String::from_utf8(output.stdout).unwrap()
        };
        let version_text = ask("--version");
        let numbers: Vec<u32> = version_text
            .strip_prefix("conmon version ")
            .unwrap_or_else(|| panic!("{} is no conmon: {version_text:?}", path.display()))
            .split(|c: char| !c.is_ascii_digit())
            .take(3)
            .map(|number| number.parse().unwrap())
            .collect();
        let release = (numbers[0], numbers[1], numbers[2]);
        let seccomp = ask("--help").contains("--seccomp-notify-socket");
        Self { path, release, version_text, seccomp }
    }

    /// Option errors went to stdout at first.
    pub fn prints_parse_errors_on_stdout(&self) -> bool {
        self.release < (2, 1, 8)
    }

    /// Whether this release has the option that `element` names.
    pub fn knows(&self, element: &str) -> bool {
        let name = element.split('=').next().unwrap();
        self.release >= (2, 2, 0) || !SINCE_2_2_0.contains(&name)
    }

    /// Standard output and standard error of an answer; the status is 1 unless it is the
    /// version.
    pub fn words(&self, says: Says) -> (String, String) {
        match says {
            Says::Version => (self.version_text.clone(), String::new()),
            Says::Parse(text) => {
                let line = format!("conmon: option parsing failed: {text}\n");
                if self.prints_parse_errors_on_stdout() {
                    (line, String::new())
                } else {
                    (String::new(), line)
                }
            }
            Says::Plain(text) => (String::new(), format!("conmon: {text}\n")),
            Says::Constant(text) if self.release < (2, 2, 0) => {
                (String::new(), format!("[conmon:e] {text}\n"))
            }
            Says::Constant(text) | Says::Formatted(text) => {
                (String::new(), format!("[conmon:e]: {text}\n"))
            }
        }
    }
}

fn reference() -> PathBuf {
    std::env::var_os("CONMON_REFERENCE").map_or_else(|| "/usr/bin/conmon".into(), PathBuf::from)
}

/// The named binary, or this workspace's own, brought up to date first: a stale one would
/// be tested in silence.
fn candidate() -> PathBuf {
    if let Some(path) = std::env::var_os("CONMON_CANDIDATE") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(2).unwrap();
    let profile = match target.file_name().and_then(OsStr::to_str).unwrap() {
        "debug" => "dev",
        profile => profile,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--package", "conmon", "--profile", profile])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(built.success(), "the candidate does not build");
    target.join("conmon")
}

/// One run of a program in a directory of its own.
pub struct Run {
    pub subject: &'static Subject,
    pub dir: TempDir,
    command: Command,
}

/// How long a program may take; none of the vectors makes one wait.
const DEADLINE: Duration = Duration::from_secs(60);

impl Run {
    /// A run with `args` in an empty directory that holds one file, `plain`, which cannot
    /// be executed.
    pub fn new<A: AsRef<OsStr>>(which: Which, args: impl IntoIterator<Item = A>) -> Self {
        let subject = Subject::get(which);
        Self::of(subject, Command::new(&subject.path), args)
    }

    /// As `new`, through a shell script that ends in `exec "$0" "$@"`.
    pub fn in_shell<A: AsRef<OsStr>>(
        which: Which,
        script: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        let subject = Subject::get(which);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).arg(&subject.path);
        Self::of(subject, command, args)
    }

    fn of<A: AsRef<OsStr>>(
        subject: &'static Subject,
        mut command: Command,
        args: impl IntoIterator<Item = A>,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("plain"), "").unwrap();
        command
            .args(args)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            // The only locale in which GLib prints what an implementation without locales does.
            .env("LC_ALL", "C.UTF-8")
            .current_dir(dir.path());
        Self { subject, dir, command }
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Changes argv\[0\].
    pub fn arg0(mut self, name: impl AsRef<OsStr>) -> Self {
        std::os::unix::process::CommandExt::arg0(&mut self.command, name);
        self
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Runs and compares with an answer.
    #[track_caller]
    pub fn says(self, says: Says) -> TempDir {
        let (stdout, stderr) = self.subject.words(says);
        let code = if matches!(says, Says::Version) { 0 } else { 1 };
        self.prints(code, stdout, stderr)
    }

    /// Runs and compares all three: exit status, standard output, standard error.
    #[track_caller]
    pub fn prints(
        self,
        code: i32,
        stdout: impl Into<Vec<u8>>,
        stderr: impl Into<Vec<u8>>,
    ) -> TempDir {
        assert_cmd::Command::from_std(self.command)
            .timeout(DEADLINE)
            .assert()
            .code(code)
            .stdout(Exactly(stdout.into()))
            .stderr(Exactly(stderr.into()));
        self.dir
    }

    /// Runs, expects status 1 and nothing on standard output, and returns standard error.
    #[track_caller]
    pub fn stderr_of_failure(self) -> String {
        let assert = assert_cmd::Command::from_std(self.command).timeout(DEADLINE).assert();
        let output = assert.code(1).stdout(Exactly(Vec::new())).get_output().clone();
        String::from_utf8(output.stderr).unwrap()
    }
}

/// Equality of bytes that shows them as text where it fails.
struct Exactly(Vec<u8>);

impl Predicate<[u8]> for Exactly {
    fn eval(&self, seen: &[u8]) -> bool {
        self.0 == seen
    }
}

impl std::fmt::Display for Exactly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "is exactly \"{}\"", self.0.escape_ascii())
    }
}

impl predicates::reflection::PredicateReflection for Exactly {}

/// Runs a line and compares with what the newest release answers, or with the complaint of
/// an older one about the first option that it does not know.
#[track_caller]
pub fn check(which: Which, line: &[&str], says: Says) {
    let run = Run::new(which, line);
    let subject = run.subject;
    match line.iter().find(|element| !subject.knows(element)) {
        Some(element) => {
            let text = format!("conmon: option parsing failed: Unknown option {element}\n");
            if subject.prints_parse_errors_on_stdout() {
                run.prints(1, text, "")
            } else {
                run.prints(1, "", text)
            }
        }
        None => run.says(says),
    };
}

/// As `check`, for a line that is split at blanks.
#[track_caller]
pub fn check_words(which: Which, line: &str, says: Says) {
    check(which, &line.split_whitespace().collect::<Vec<_>>(), says);
}
