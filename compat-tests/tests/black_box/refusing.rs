//! System calls of a running monitor that the kernel refuses, by strace's injection.

use crate::facts::await_fact;
use crate::skip::skipped;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Whether there is a strace; says so where not.
pub fn has_strace() -> bool {
    let mut command = Command::new("strace");
    let there = command.arg("--version").stdout(Stdio::null()).status().is_ok();
    if !there {
        skipped("there is no strace");
    }
    there
}

/// A tracer that makes calls of one process fail; they go on undisturbed when it is dropped.
pub struct Refusing {
    tracer: Child,
    trace: PathBuf,
}

impl Refusing {
    /// Has calls of `pid` fail as `rules` say, each like `openat:error=EMFILE:when=1..3`.
    ///
    /// `None`, and a line that says so, where processes cannot be traced.
    #[track_caller]
    pub fn calls_of(pid: i32, rules: &[&str]) -> Option<Self> {
        if !has_strace() {
            return None;
        }
        let trace = std::env::temp_dir().join(format!("bb-refused-{}-{pid}", std::process::id()));
        let calls: Vec<&str> = rules.iter().filter_map(|rule| rule.split(':').next()).collect();
        let mut command = Command::new("strace");
        command.args(["-e", &format!("trace={}", calls.join(",")), "-o"]).arg(&trace);
        for rule in rules {
            command.args(["-e", &format!("inject={rule}")]);
        }
        let errors = File::create(trace.with_extension("err")).unwrap();
        command.args(["-p", &pid.to_string()]).stdin(Stdio::null()).stderr(errors);
        let tracer = command.spawn().unwrap();
        let mut refusing = Self { tracer, trace };
        let messages = refusing.trace.with_extension("err");
        let attached = await_fact("the tracer", || {
            let ended = refusing.tracer.try_wait().unwrap().is_some();
            // It says so when the process has been told to stop; that it is the tracer is true
            // earlier, while calls still go through.
            let said = fs::read_to_string(&messages).unwrap_or_default();
            (ended || said.contains(" attached")).then_some(!ended)
        });
        if !attached {
            let why = fs::read_to_string(&messages).unwrap();
            assert!(why.contains("not permitted"), "{why}");
            skipped("processes cannot be traced here");
            return None;
        }
        Some(refusing)
    }

    /// Waits until a call has been refused; the tracer may write so after its process has ended.
    #[track_caller]
    pub fn await_refusal(&self) {
        await_fact("a refused call", || {
            let trace = fs::read_to_string(&self.trace).unwrap_or_default();
            trace.contains("(INJECTED)").then_some(())
        });
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        // The tracer lets go of the monitor when it is told to end.
        if let Ok(None) = self.tracer.try_wait() {
            let _ = crate::sys::kill(i32::try_from(self.tracer.id()).unwrap(), libc::SIGTERM);
            let _ = self.tracer.wait();
        }
        for path in [self.trace.clone(), self.trace.with_extension("err")] {
            let _ = fs::remove_file(path);
        }
    }
}
