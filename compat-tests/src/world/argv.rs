//! The command line and environment each caller gives to a monitor.
//!
//! Source: `docs/specification/callers.md`, for Podman 5 (create and exec) and CRI-O
//! (create and ExecSync).

use std::collections::BTreeMap;

use super::paths;
use crate::scenario::options;
use crate::scenario::placeholder::expand;
use crate::scenario::{Caller, ExitCommand, Monitor, OneOrMany, PipeKind, RuntimeKind, Scenario};

/// How a monitor is called, all placeholders replaced.
pub struct Call {
    /// After argv[0].
    pub argv: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub cwd: String,
    pub pipes: PipeKind,
    pub sync_fd: i32,
    pub start_fd: Option<i32>,
    pub attach_fd: Option<i32>,
    /// Whether the monitor stays the launched process's child, or is that process.
    pub daemonises: bool,
    pub values: BTreeMap<&'static str, String>,
}

/// Puts together how `name` is called in `scenario`.
///
/// # Errors
///
/// A placeholder without a value.
pub fn call(scenario: &Scenario, name: &str, runtime: RuntimeKind) -> Result<Call, String> {
    let monitor = scenario.monitor(name).ok_or_else(|| format!("no monitor `{name}`"))?;
    let exec = scenario.is_exec(name);
    let caller = monitor.caller.unwrap_or_default();
    let cid = monitor.cid.clone().unwrap_or_else(|| container_id(scenario));
    let cuuid = monitor.cuuid.clone().unwrap_or_else(|| {
        if exec {
            format!("5e55{}{name}", "0".repeat(60 - name.len().min(60)))
        } else {
            cid.clone()
        }
    });
    let values = paths::placeholders(runtime, &cid, &cuuid, exec.then_some(name));
    let builder = Builder { scenario, monitor, caller, exec, cuuid: monitor.cuuid.is_some() };
    let words = match &monitor.argv {
        Some(argv) => argv.clone(),
        None => builder.default_argv(),
    };
    let argv = words.iter().map(|w| expand(w, &values)).collect::<Result<Vec<_>, _>>()?;
    let pipes = monitor.pipes.unwrap_or(match (caller, exec) {
        (Caller::Podman, _) => PipeKind::Seqpacket,
        (Caller::Crio, false) => PipeKind::Stream,
        (Caller::Crio, true) => PipeKind::Pipe,
        (Caller::Bare, _) => PipeKind::None,
    });
    let sync_fd = monitor.sync_fd.unwrap_or(3);
    let wants_start = monitor.start_pipe.unwrap_or(pipes != PipeKind::None);
    let start_fd = wants_start.then_some(sync_fd.max(2) + 1);
    let attach_fd =
        (exec && caller == Caller::Podman && pipes != PipeKind::None).then_some(sync_fd.max(2) + 2);
    let mut env = default_env();
    if pipes != PipeKind::None {
        env.insert("_OCI_SYNCPIPE".into(), sync_fd.to_string());
    }
    if let Some(fd) = start_fd {
        env.insert("_OCI_STARTPIPE".into(), fd.to_string());
    }
    if let Some(fd) = attach_fd {
        env.insert("_OCI_ATTACHPIPE".into(), fd.to_string());
    }
    env.insert("CONMON_COMPAT_MONITOR".into(), name.into());
    let exit_paths = ["{exit_dir}/{cid}", "{persist_dir}/exit", "{bundle}/attach"];
    let exit_paths: Vec<String> =
        exit_paths.iter().map(|p| expand(p, &values)).collect::<Result<_, _>>()?;
    env.insert("CONMON_COMPAT_EXISTS".into(), exit_paths.join(":"));
    for (key, value) in &monitor.env {
        env.insert(key.clone(), expand(value, &values)?);
    }
    for key in &monitor.unset {
        env.remove(key);
    }
    let cwd = match (&monitor.cwd, caller, exec) {
        (Some(cwd), ..) => expand(cwd, &values)?,
        (None, Caller::Podman, true) => paths::session_bundle(name),
        (None, Caller::Crio, _) => paths::BUNDLE.into(),
        _ => paths::CWD.into(),
    };
    let daemonises = !argv.iter().any(|word| word == "--sync");
    Ok(Call { argv, env, cwd, pipes, sync_fd, start_fd, attach_fd, daemonises, values })
}

/// The identity of the scenario's container.
pub fn container_id(scenario: &Scenario) -> String {
    scenario.data.monitor.cid.clone().unwrap_or_else(|| paths::CID.into())
}

fn default_env() -> BTreeMap<String, String> {
    [
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/root"),
        ("LC_ALL", "C.UTF-8"),
        ("TZ", "UTC"),
        ("TMPDIR", paths::TMP),
        ("XDG_RUNTIME_DIR", ""),
    ]
    .into_iter()
    .map(|(key, value)| (key.into(), value.into()))
    .collect()
}

struct Builder<'a> {
    scenario: &'a Scenario,
    monitor: &'a Monitor,
    caller: Caller,
    exec: bool,
    /// Whether the scenario itself gives a `cuuid`.
    cuuid: bool,
}

impl Builder<'_> {
    fn default_argv(&self) -> Vec<String> {
        let mut words = match (self.caller, self.exec) {
            (Caller::Podman, exec) => self.podman(exec),
            (Caller::Crio, false) => self.crio_create(),
            (Caller::Crio, true) => self.crio_exec_sync(),
            (Caller::Bare, exec) => self.bare(exec),
        };
        self.drop_unwanted(&mut words);
        words
    }

    fn podman(&self, exec: bool) -> Vec<String> {
        let bundle = if exec { "{session_bundle}" } else { "{bundle}" };
        let mut words = strings(&[
            "--api-version",
            "1",
            "-c",
            "{cid}",
            "-u",
            "{cuuid}",
            "-r",
            "{runtime}",
            "-b",
            bundle,
            "-p",
            "{pidfile}",
            "-n",
            "{name}",
            "--exit-dir",
            "{exit_dir}",
            "--persist-dir",
            "{persist_dir}",
            "--full-attach",
        ]);
        self.log(&mut words, if exec { "none" } else { "k8s-file:{log}" });
        self.log_level(&mut words, "warning");
        if self.scenario.data.container.notify && !exec {
            words.push("--sdnotify-socket={notify}".into());
        }
        self.streams(&mut words);
        words.extend(self.monitor.args.iter().cloned());
        if exec {
            words.extend(strings(&[
                "-e",
                "--exec-attach",
                "--exec-process-spec",
                "{process_spec}",
            ]));
        } else {
            words.extend(strings(&["--conmon-pidfile", "{conmon_pidfile}"]));
        }
        self.exit_command(&mut words, !exec);
        words
    }

    fn crio_create(&self) -> Vec<String> {
        let mut words = strings(&["-b", "{bundle}", "-c", "{cid}", "--exit-dir", "{exit_dir}"]);
        self.log(&mut words, "{log}");
        self.log_level(&mut words, "info");
        words.extend(strings(&[
            "-n",
            "{name}",
            "-P",
            "{conmon_pidfile}",
            "-p",
            "{pidfile}",
            "--persist-dir",
            "{persist_dir}",
            "-r",
            "{runtime}",
            "--socket-dir-path",
            "{socket_dir}",
            "--syslog",
            "-u",
            "{cuuid}",
        ]));
        words.extend(self.monitor.args.iter().cloned());
        self.streams(&mut words);
        self.exit_command(&mut words, false);
        words
    }

    fn crio_exec_sync(&self) -> Vec<String> {
        let mut words =
            strings(&["-c", "{cid}", "-n", "{name}", "-r", "{runtime}", "-p", "{pidfile}", "-e"]);
        self.log(&mut words, "{log}");
        words.extend(strings(&["--socket-dir-path", "{socket_dir}"]));
        self.log_level(&mut words, "info");
        words.push("--sync".into());
        self.streams(&mut words);
        words.extend(self.monitor.args.iter().cloned());
        words.extend(strings(&["--exec-process-spec", "{process_spec}"]));
        words
    }

    fn bare(&self, exec: bool) -> Vec<String> {
        let mut words = strings(&["-c", "{cid}", "-r", "{runtime}", "-p", "{pidfile}"]);
        if exec {
            words.extend(strings(&["-e", "--exec-process-spec", "{process_spec}"]));
            if self.cuuid {
                words.extend(strings(&["-u", "{cuuid}"]));
            }
        } else {
            words.extend(strings(&[
                "-u",
                "{cuuid}",
                "-b",
                "{bundle}",
                "--socket-dir-path",
                "{socket_dir}",
                "--exit-dir",
                "{exit_dir}",
            ]));
        }
        self.log(&mut words, "k8s-file:{log}");
        self.streams(&mut words);
        words.extend(self.monitor.args.iter().cloned());
        self.exit_command(&mut words, false);
        words
    }

    fn log(&self, words: &mut Vec<String>, default: &str) {
        let paths = match &self.monitor.log {
            None => vec![default.to_string()],
            Some(OneOrMany::One(one)) => vec![one.clone()],
            Some(OneOrMany::Many(many)) => many.clone(),
        };
        for path in paths {
            words.extend(["-l".to_string(), path]);
        }
    }

    fn log_level(&self, words: &mut Vec<String>, default: &str) {
        let level = self.monitor.log_level.as_deref().unwrap_or(default);
        words.extend(["--log-level".to_string(), level.to_string()]);
    }

    fn streams(&self, words: &mut Vec<String>) {
        let (tty, stdin) = if self.exec {
            (self.monitor.tty, self.monitor.stdin)
        } else {
            (self.scenario.data.container.tty, self.scenario.data.container.stdin)
        };
        if tty {
            words.push("-t".into());
        }
        if stdin {
            words.push("-i".into());
        }
    }

    fn exit_command(&self, words: &mut Vec<String>, default: bool) {
        let arguments = match &self.monitor.exit_command {
            None if default => &[][..],
            Some(ExitCommand::Wanted(true)) => &[][..],
            Some(ExitCommand::Arguments(arguments)) => arguments.as_slice(),
            None | Some(ExitCommand::Wanted(false)) => return,
        };
        words.extend(strings(&["--exit-command", "{exit_recorder}"]));
        let all = std::iter::once("{exit_records}".to_string()).chain(arguments.iter().cloned());
        for argument in all {
            words.extend(["--exit-command-arg".to_string(), argument]);
        }
    }

    /// Takes the options away that the scenario does not want, each with its value.
    fn drop_unwanted(&self, words: &mut Vec<String>) {
        let own = |word: &String| self.monitor.args.contains(word);
        let mut at = 0;
        while at < words.len() {
            let name = words[at].split('=').next().unwrap_or_default().to_string();
            let takes_value = options::takes_value(&words[at]);
            let length = match name.as_str() {
                "--api-version" if words.get(at + 1).is_some_and(|w| w == "1") => 2,
                _ if takes_value => 2,
                _ => 1,
            };
            let end = (at + length).min(words.len());
            if self.monitor.without.contains(&name) && !own(&words[at]) {
                words.drain(at..end);
            } else {
                at = end;
            }
        }
    }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn argv(more: &str) -> String {
        let text = format!("why = \"x\"\nsteps = [\"run\"]\n{more}");
        let scenario = Scenario::parse(Path::new("s/a/b.toml"), &text).unwrap();
        call(&scenario, "main", RuntimeKind::Crun).unwrap().argv.join(" ")
    }

    #[test]
    fn podman_create_is_the_default() {
        let words = argv("");
        assert!(words.starts_with("--api-version 1 -c c0ffee"), "{words}");
        assert!(words.contains(" -l k8s-file:/run/compat/logs/ctr.log --log-level warning"));
        assert!(words.contains("--exit-command /run/compat/bin/exit-recorder"));
    }

    #[test]
    fn without_takes_an_option_and_its_value_away() {
        let words = argv("[monitor]\nwithout = [\"--exit-dir\", \"--api-version\"]\n");
        assert!(words.starts_with("-c c0ffee"), "{words}");
        assert!(!words.contains("--exit-dir"));
    }

    #[test]
    fn crio_needs_no_api_version() {
        let words = argv("[monitor]\ncaller = \"crio\"\n");
        assert!(words.starts_with("-b /run/compat/bundle -c c0ffee"), "{words}");
    }
}
