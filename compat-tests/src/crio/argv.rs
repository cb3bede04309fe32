//! The command lines CRI-O gives to a monitor, option by option in its order.

use std::collections::BTreeMap;
use std::path::Path;

/// Always there in a service's environment, and CRI-O's default for its monitors.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a container is given to the monitor by.
pub struct Create<'a> {
    pub bundle: &'a Path,
    pub id: &'a str,
    pub exit_dir: &'a str,
    pub log: &'a Path,
    pub log_level: &'a str,
    pub name: &'a str,
    pub persist_dir: &'a Path,
    pub runtime: &'a Path,
    pub root: &'a str,
    pub socket_dir: &'a str,
    pub systemd: bool,
    pub settings: &'a Settings,
}

/// What an administrator or a pod may choose.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `log_size_max`; given only if it is not negative.
    pub log_size_max: Option<u64>,
    pub no_sync_log: bool,
    pub log_to_journald: bool,
    pub no_pivot: bool,
    pub tty: bool,
    pub stdin: bool,
    pub stdin_once: bool,
    pub restore: Option<Restore>,
}

/// A checkpoint to start from.
#[derive(Clone, Debug)]
pub struct Restore {
    pub directory: String,
    pub lsm_profile: Option<String>,
    pub lsm_mount_context: Option<String>,
}

/// The arguments after the program's name.
#[must_use]
pub fn create(given: &Create) -> Vec<String> {
    let path = |path: &Path| path.display().to_string();
    let mut argv: Vec<String> = vec!["-b".into(), path(given.bundle)];
    let mut add = |words: &[&str]| argv.extend(words.iter().map(|&word| word.to_owned()));
    add(&["-c", given.id, "--exit-dir", given.exit_dir, "-l", &path(given.log)]);
    add(&["--log-level", given.log_level, "-n", given.name]);
    add(&["-P", &path(&given.bundle.join("conmon-pidfile"))]);
    add(&["-p", &path(&given.bundle.join("pidfile"))]);
    add(&["--persist-dir", &path(given.persist_dir), "-r", &path(given.runtime)]);
    add(&["--runtime-arg", &format!("--root={}", given.root)]);
    add(&["--socket-dir-path", given.socket_dir, "--syslog", "-u", given.id]);
    let settings = given.settings;
    if given.systemd {
        add(&["-s"]);
    }
    if let Some(limit) = settings.log_size_max {
        add(&["--log-size-max", &limit.to_string()]);
    }
    if settings.no_sync_log {
        add(&["--no-sync-log"]);
    }
    if settings.log_to_journald {
        add(&["--log-path", "journald:"]);
    }
    if settings.no_pivot {
        add(&["--no-pivot"]);
    }
    if settings.tty {
        add(&["-t"]);
    } else if settings.stdin {
        if !settings.stdin_once {
            add(&["--leave-stdin-open"]);
        }
        add(&["-i"]);
    }
    if let Some(restore) = &settings.restore {
        add(&["--restore", &restore.directory]);
        if let Some(label) = &restore.lsm_profile {
            add(&["--runtime-opt", &format!("--lsm-profile=selinux:{label}")]);
        }
        if let Some(label) = &restore.lsm_mount_context {
            add(&["--runtime-opt", &format!("--lsm-mount-context={label}")]);
        }
    }
    argv
}

/// What an exec in a container is given to the monitor by.
pub struct ExecSync<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub runtime: &'a Path,
    pub root: &'a str,
    pub pid_file: &'a str,
    pub log: &'a str,
    pub process_spec: &'a str,
    pub socket_dir: &'a str,
    pub log_level: &'a str,
    /// The monitor waits for the end before it reports.
    pub sync: bool,
    /// The monitor can be told how much output to keep.
    pub size_limit: Option<u64>,
    pub tty: bool,
    pub timeout_s: Option<u32>,
    pub systemd: bool,
}

/// The arguments after the program's name.
#[must_use]
pub fn exec_sync(given: &ExecSync) -> Vec<String> {
    let mut argv: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| argv.extend(words.iter().map(|&word| word.to_owned()));
    add(&["-c", given.id, "-n", given.name, "-r", &given.runtime.display().to_string()]);
    add(&["-p", given.pid_file, "-e", "-l", given.log]);
    add(&["--socket-dir-path", given.socket_dir, "--log-level", given.log_level]);
    if given.sync {
        add(&["--sync"]);
    }
    if let Some(limit) = given.size_limit {
        add(&["--log-global-size-max", &limit.to_string()]);
    }
    if given.tty {
        add(&["-t"]);
    }
    if let Some(timeout) = given.timeout_s {
        add(&["-T", &timeout.to_string()]);
    }
    if given.systemd {
        add(&["-s"]);
    }
    add(&["--exec-process-spec", given.process_spec]);
    add(&["--runtime-arg", &format!("--root={}", given.root)]);
    argv
}

/// All a monitor finds in its environment.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    [("PATH", PATH), ("CRI_O_EXTERNAL", "1"), ("_OCI_SYNCPIPE", "3"), ("_OCI_STARTPIPE", "4")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(settings: &Settings) -> String {
        let given = Create {
            bundle: Path::new("/b"),
            id: "i",
            exit_dir: "/exits",
            log: Path::new("/l"),
            log_level: "info",
            name: "n",
            persist_dir: Path::new("/p"),
            runtime: Path::new("/r"),
            root: "/root",
            socket_dir: "/s",
            systemd: false,
            settings,
        };
        create(&given).join(" ")
    }

    #[test]
    fn a_plain_container_has_the_options_that_are_always_given() {
        assert_eq!(
            line(&Settings::default()),
            "-b /b -c i --exit-dir /exits -l /l --log-level info -n n -P /b/conmon-pidfile -p /b/pidfile \
             --persist-dir /p -r /r --runtime-arg --root=/root --socket-dir-path /s --syslog -u i"
        );
    }

    #[test]
    fn what_is_chosen_follows_in_order() {
        let settings = Settings {
            log_size_max: Some(8),
            no_sync_log: true,
            log_to_journald: true,
            no_pivot: true,
            stdin: true,
            ..Settings::default()
        };
        assert!(line(&settings).ends_with(
            "-u i --log-size-max 8 --no-sync-log --log-path journald: --no-pivot --leave-stdin-open -i"
        ));
    }

    #[test]
    fn a_terminal_takes_the_place_of_standard_input() {
        let settings = Settings { tty: true, stdin: true, ..Settings::default() };
        assert!(line(&settings).ends_with("-u i -t"));
    }
}
