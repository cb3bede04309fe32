//! The socket's names, and accepting.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;

use rstest::rstest;

use super::*;

#[test]
fn the_socket_is_private_and_its_name_is_removed_at_the_end() {
    let mut world = World::new(ContainerStdin::none(), None);
    let path = world.dir.path().join("attach");
    let metadata = std::fs::symlink_metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o700);
    world.attach.unlink_socket(&world.diagnostics);
    assert!(!path.exists());
}

#[test]
fn a_name_that_is_a_successors_by_now_is_left_alone() {
    let mut world = World::new(ContainerStdin::none(), None);
    let place = AttachPlace::Bundle;
    let successor =
        Attach::create(&place, None, world.dir.path(), None, &world.diagnostics).unwrap();
    world.attach.unlink_socket(&world.diagnostics);
    Peer::connect(&world.dir.path().join("attach"));
    drop(successor);
}

fn socket_dir() -> (tempfile::TempDir, PathBuf, AttachPlace) {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    std::fs::create_dir(&bundle).unwrap();
    let sockets = dir.path().join("sockets");
    std::fs::create_dir(&sockets).unwrap();
    (dir, bundle, AttachPlace::SocketDir(sockets))
}

/// The reference cuts the symlink's name when its path has 107 bytes (known-defects D9).
#[rstest]
#[case::short(20)]
#[case::as_long_as_a_socket_address(107)]
#[case::longer(150)]
fn the_symlink_leads_to_the_socket_whatever_its_length(#[case] path_bytes: usize) {
    let (dir, bundle, place) = socket_dir();
    let sockets = dir.path().join("sockets");
    let used = sockets.as_os_str().len() + 1;
    let cuuid = "c".repeat(path_bytes.saturating_sub(used).max(1));
    let link = sockets.join(&cuuid);
    std::os::unix::fs::symlink("/nowhere", &link).unwrap();
    let cuuid = OsStr::new(&cuuid);
    let mut attach = Attach::create(&place, Some(cuuid), &bundle, None, &quiet()).unwrap();
    assert_eq!(std::fs::read_link(&link).unwrap(), bundle);
    assert!(bundle.join("attach").exists());
    attach.unlink_socket(&quiet());
    attach.unlink_symlink();
    assert_eq!(std::fs::read_dir(&sockets).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(&bundle).unwrap().count(), 0);
}

#[rstest]
#[case::no_cuuid(None, "An attach socket without --full-attach needs a container UUID (--cuuid)")]
#[case::directory_in_the_way(
    Some("taken"),
    "Failed to remove existing symlink for socket directory [SOCKETS]/taken Is a directory"
)]
#[case::socket_dir_missing(
    Some("missing/c"),
    "Failed to create symlink for notify socket No such file or directory"
)]
#[case::directory_in_place_of_the_socket(
    Some("c"),
    "Failed to remove existing socket: [SOCKETS]/c/attach Is a directory"
)]
fn refuses_a_socket_it_cannot_make(#[case] cuuid: Option<&str>, #[case] expected: &str) {
    let (dir, bundle, place) = socket_dir();
    let sockets = dir.path().join("sockets");
    std::fs::create_dir(sockets.join("taken")).unwrap();
    std::fs::create_dir(bundle.join("attach")).unwrap();
    let refused =
        Attach::create(&place, cuuid.map(OsStr::new), &bundle, None, &quiet()).err().unwrap();
    let expected = expected.replace("[SOCKETS]", sockets.to_str().unwrap());
    assert_eq!(String::from_utf8(refused.sentence()).unwrap(), expected);
    assert!(!sockets.join("c").is_symlink());
}

#[test]
fn refuses_a_missing_bundle() {
    let (_dir, bundle, _) = socket_dir();
    std::fs::remove_dir(&bundle).unwrap();
    let refused =
        Attach::create(&AttachPlace::Bundle, None, &bundle, None, &quiet()).err().unwrap();
    let expected = format!(
        "failed to open socket path parent dir {} No such file or directory",
        bundle.display()
    );
    assert_eq!(String::from_utf8(refused.sentence()).unwrap(), expected);
}

/// Run again in a process of its own, which has few descriptors (known-defects D10).
#[test]
fn without_descriptors_accepting_rests_and_goes_on_when_a_client_leaves() {
    const MARK: &str = "CONMON_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(MARK).is_none() {
        let name = "without_descriptors_accepting_rests_and_goes_on_when_a_client_leaves";
        let mut program = crate::sys::process::this_program().into_iter();
        let run = std::process::Command::new(program.next().unwrap())
            .args(program)
            .args(["--exact", &format!("{}::{name}", module_path!().split_once("::").unwrap().1)])
            .env(MARK, "1")
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && report.contains("1 passed"), "{report}");
        return;
    }
    let mut world = World::new(ContainerStdin::none(), None);
    let path = world.dir.path().join("attach");
    let first = world.connect();
    let waiting = Peer::connect(&path);
    let limit = std::fs::File::open("/dev/null").unwrap().as_raw_fd() as nix::sys::resource::rlim_t;
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, limit, limit)
        .unwrap();
    let now = monotonic();
    assert_eq!(world.attach.accept(now, &world.diagnostics), 0);
    assert!(world.attach.listener(now).is_none());
    let again = world.attach.deadline().unwrap();
    assert!(again > now);
    assert!(world.attach.listener(again).is_some());
    world.attach.on_deadline(again, &world.diagnostics);
    assert_eq!(world.attach.deadline(), None);
    assert_eq!(world.attach.accept(again, &world.diagnostics), 0);
    assert!(world.attach.listener(again).is_none());
    drop(first);
    world.settle();
    assert!(world.attach.listener(again).is_some());
    assert_eq!(world.attach.accept(again, &world.diagnostics), 1);
    world.broadcast(b"hello");
    assert_eq!(waiting.try_receive().unwrap(), b"\x02hello");
}
