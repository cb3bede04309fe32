//! The last look at the counters, when every descriptor the process may have is in use.

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::*;

fn quiet() -> Diagnostics {
    Diagnostics::new(crate::diagnostics::Level::Error, None)
}

/// Version 2's watch, or version 1's, over counters that tell of one kill.
fn watch(version: Version, dir: &Path) -> OomWatch {
    std::fs::write(dir.join("memory.events"), "oom 1\noom_kill 1\n").unwrap();
    let kind = match version {
        Version::V2 => start_v2(dir, &quiet()),
        Version::V1 => Kind::V1 {
            events: EventFd::from_value_and_flags(2, EfdFlags::EFD_NONBLOCK).unwrap(),
            event_control: dir.join("memory.events"),
            oom_control: Some(File::open(dir).unwrap()),
        },
    };
    let pid = nix::unistd::getpid();
    OomWatch { kind, pid, since: Duration::ZERO, directories: vec![dir.to_path_buf()] }
}

#[rstest::rstest]
#[case(Version::V1)]
#[case(Version::V2)]
fn needs_no_descriptor_but_its_own(#[case] version: Version) {
    let dir = tempfile::tempdir().unwrap();
    let mut watch = Some(watch(version, dir.path()));
    assert!(watch.as_ref().is_some_and(OomWatch::has_descriptor_to_spare));
    let child = sys::process::run_in_child(|| {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 512, hard).unwrap();
        while fcntl(std::io::stdin(), FcntlArg::F_DUPFD(0)).is_ok() {}
        let refused = File::open("/dev/null").is_err();
        watch.take().unwrap().final_check(None, &quiet());
        if refused { 0 } else { 1 }
    });
    let status = nix::sys::wait::waitpid(child.unwrap(), None).unwrap();
    assert!(matches!(status, nix::sys::wait::WaitStatus::Exited(_, 0)), "{status:?}");
    assert!(dir.path().join("oom").exists());
}
