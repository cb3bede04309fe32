//! The k8s-file driver, seen from outside.

use crate::facts::{await_fact, await_settled};
use crate::peer::Peer;
use crate::subject::Subject::{self, Candidate, Reference};
use crate::world::{Monitor, World};
use rstest::rstest;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

/// Runs a container to its end.
fn run(monitor: Monitor) {
    assert_eq!(monitor.with(&["--sync"]).start().code(), 0);
}

/// Lines as `TAG xLENGTH`, or `TAG TEXT` when they are short.
fn shapes(world: &World) -> Vec<String> {
    let shape = |line: &String| {
        let (tag, text) = line.strip_prefix("stdout ").unwrap().split_once(' ').unwrap();
        let short = text.len() < 20;
        if short { format!("{tag} {text}") } else { format!("{tag} x{}", text.len()) }
    };
    world.log().iter().map(shape).collect()
}

#[rstest]
#[case::lines(&["print", "a\n\nb\n"], &["F a", "F ", "F b"])]
#[case::no_newline_at_the_end(&["print", "a\nb"], &["F a", "P b"])]
#[case::in_pieces(&["write-split", "abcdef\n", "3"], &["P abc", "P def", "F "])]
#[case::carriage_return(&["print", "a\r\n"], &["F a\r"])]
#[case::escape_sequences(&["raw", "1b5b306d090a"], &["F \u{1b}[0m\t"])]
#[case::a_whole_chunk(&["lines", "1", "8192"], &["F x8191"])]
#[case::one_byte_more(&["lines", "1", "8193"], &["P x8192", "F "])]
#[case::long(&["lines", "1", "20001"], &["P x8192", "P x8192", "F x3616"])]
fn output_is_cut_into(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] verbs: &[&str],
    #[case] expected: &[&str],
) {
    let world = World::new(subject);
    if verbs[0] == "lines" {
        // The pipe is filled while the monitor is not yet reading: it then reads full chunks.
        world.script(verbs, &[&["container"], &["await-container"], &["pid-file"]]);
        run(world.create());
    } else {
        // Written to a monitor that waits for it: what was held back until then is one chunk.
        let go = world.text("go");
        world.container(&[&["wait-file", &go], verbs].concat());
        let mut monitor = world.create().with(&["--sync"]).sync_pipe().start();
        monitor.container();
        await_settled(monitor.pid());
        fs::write(go, "").unwrap();
        assert_eq!(monitor.code(), 0);
    }
    assert_eq!(shapes(&world), expected);
}

#[rstest]
fn bytes_are_kept(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    world.container(&["raw", "00ff80c328610a"]);
    run(world.create());
    let log = fs::read(world.path("log")).unwrap();
    assert!(
        log.ends_with(b" stdout F \x00\xff\x80\xc3\x28a\n"),
        "{:?}",
        log.escape_ascii().to_string()
    );
}

#[rstest]
#[case::universal("UTC", "+00:00")]
#[case::east("XXX-5:30", "+05:30")]
#[case::west("XXX3:30", "-03:30")]
#[case::unknown("No/Where", "+00:00")]
fn times_have_nine_digits_and_the_local_offset(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] zone: &str,
    #[case] offset: &str,
) {
    let world = World::new(subject);
    world.container(&["say", "x"]);
    run(world.create().env("TZ", zone));
    let log = fs::read_to_string(world.path("log")).unwrap();
    let (time, rest) = log.split_once(' ').unwrap();
    assert_eq!(rest, "stdout F x\n");
    let pattern: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let zeros: String = offset.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(pattern, format!("0000-00-00T00:00:00.000000000{zeros}"));
    assert!(time.ends_with(offset), "{time}");
}

/// docs/reference-notes.md.
#[rstest]
#[case::reference(Reference, 0o600)]
#[case::candidate(Candidate, 0o640)]
fn a_new_log_has_the_mode(#[case] subject: Subject, #[case] expected: u32) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    world.container(&["exit", "0"]);
    run(world.create());
    assert_eq!(fs::metadata(world.path("log")).unwrap().mode() & 0o7777, expected);
}

#[rstest]
fn an_older_log_is_continued(#[values(Reference, Candidate)] subject: Subject) {
    let world = World::new(subject);
    fs::write(world.path("log"), "older line\n").unwrap();
    world.container(&["say", "new"]);
    run(world.create());
    assert_eq!(world.log(), ["line", "stdout F new"]);
}

#[rstest]
fn nothing_is_logged_with_none_but_clients_get_it(
    #[values(Reference, Candidate)] subject: Subject,
    #[values("none", "off", "null")] driver: &str,
) {
    let world = World::new(subject);
    let go = world.text("go");
    world.container(&["wait-file", &go, "say", "hello"]);
    let monitor = world.create().without("-l").with(&["-l", driver]).sync_pipe().start();
    monitor.container();
    let client = Peer::attach(&world.path("bundle/attach"));
    fs::write(go, "").unwrap();
    assert_eq!(client.rest(), "\u{2}hello\n");
    assert!(!world.path("log").exists());
}

/// A line of five bytes and a newline takes 51; the limit is looked at before each line.
#[rstest]
#[case::nothing("0", 10)]
#[case::unlimited("-1", 10)]
#[case::one_line("1", 1)]
#[case::three_lines("150", 3)]
#[case::exactly_three("153", 3)]
#[case::four_lines("154", 4)]
fn the_global_limit_drops_the_rest(
    #[values(Reference, Candidate)] subject: Subject,
    #[case] limit: &str,
    #[case] expected: usize,
) {
    let world = World::new(subject);
    world.container(&["lines", "10", "6"]);
    run(world.create().with(&["--log-global-size-max", limit]));
    assert_eq!(world.log().len(), expected);
}

/// The file begins anew when the next line would not fit.
#[rstest]
#[case::two_lines("102", 10, 2)]
#[case::nearly_two_lines("101", 10, 1)]
#[case::remainder("102", 9, 1)]
#[case::smaller_than_a_line("10", 3, 1)]
fn the_size_limit_truncates(#[case] limit: &str, #[case] lines: usize, #[case] left: usize) {
    let world = World::new(Candidate);
    world.container(&["numbered", &lines.to_string(), "6"]);
    run(world.create().with(&["--log-size-max", limit]));
    let log = world.log();
    assert_eq!(log.len(), left, "{log:?}");
    assert!(log[left - 1].starts_with(&format!("stdout F {lines}")), "{log:?}");
}

/// A monitor that rotates: two lines of 51 bytes a file. Releases before 2.2 cannot.
fn rotating<'w>(world: &'w World, log: &Path, files: &str) -> Monitor<'w> {
    let log = format!("k8s-file:{}", log.display());
    world.create().without("-l").with(&[
        "-l",
        &log,
        "--log-rotate",
        "--log-size-max",
        "102",
        "--log-max-files",
        files,
    ])
}

/// The numbers of the lines in a log and its backups, newest first.
fn rotated(log: &Path) -> Vec<String> {
    let numbers = |path: &Path| {
        let text = fs::read_to_string(path).ok()?;
        let number = |line: &str| line.rsplit(' ').next().unwrap().trim_end_matches('.').to_owned();
        Some(text.lines().map(number).collect::<Vec<_>>().join(" "))
    };
    let backup = |number| {
        let mut path = log.as_os_str().to_owned();
        path.push(format!(".{number}"));
        path
    };
    let backups = (1..9).map_while(|number| numbers(Path::new(&backup(number))));
    numbers(log).into_iter().chain(backups).collect()
}

/// B5: with one file there are two backups.
#[rstest]
#[case::one("1", &["9 10", "7 8", "5 6"])]
#[case::two("2", &["9 10", "7 8", "5 6"])]
#[case::three("3", &["9 10", "7 8", "5 6", "3 4"])]
fn rotation_keeps(#[case] files: &str, #[case] expected: &[&str]) {
    let world = World::new(Candidate);
    world.container(&["numbered", "10", "6"]);
    run(rotating(&world, &world.path("log"), files));
    assert_eq!(rotated(&world.path("log")), expected);
    assert!(!world.path("log.new").exists());
}

/// B3: the original never rotates again after a crash at the wrong moment.
#[test]
fn rotation_is_not_stopped_by_a_leftover() {
    let world = World::new(Candidate);
    fs::write(world.path("log.new"), "from a crash").unwrap();
    world.container(&["numbered", "4", "6"]);
    run(rotating(&world, &world.path("log"), "2"));
    assert_eq!(rotated(&world.path("log")), ["3 4", "1 2"]);
}

/// B6: the original never rotates such a path, and does not say so.
#[rstest]
#[case::dots("exits/../log")]
#[case::link("sockets/link")]
fn rotation_follows_the_path(#[case] path: &str) {
    let world = World::new(Candidate);
    fs::write(world.path("log"), "").unwrap();
    symlink(world.path("log"), world.path("sockets/link")).unwrap();
    world.container(&["numbered", "4", "6"]);
    run(rotating(&world, &world.path(path), "2"));
    assert_eq!(rotated(&world.path("log")), ["3 4", "1 2"]);
}

/// B4: the original leaks a descriptor a line and writes to a file nobody can find.
#[test]
fn rotation_survives_the_loss_of_the_file() {
    let world = World::new(Candidate);
    let go = world.text("go");
    world.container(&[
        "numbered",
        "2",
        "6",
        "wait-file",
        &go,
        "numbered",
        "30",
        "6",
        "sleep-forever",
    ]);
    let monitor = rotating(&world, &world.path("log"), "2").sync_pipe().start();
    monitor.container();
    monitor.await_log("2....");
    await_settled(monitor.pid());
    let before = crate::facts::descriptors(monitor.pid()).len();
    fs::remove_file(world.path("log")).unwrap();
    fs::write(go, "").unwrap();
    await_fact("the last line", || {
        let text = fs::read_to_string(world.path("log")).ok()?;
        text.ends_with(" 30...\n").then_some(())
    });
    assert_eq!(crate::facts::descriptors(monitor.pid()).len(), before);
}

/// B7: the original looks at the list in one rare case only.
#[rstest]
#[case::inside("logs", 0)]
#[case::inside_a_subdirectory("logs/deep", 0)]
#[case::outside("sockets", 1)]
#[case::a_longer_name("logs2", 1)]
#[case::through_a_link("logs/link", 1)]
fn the_allowlist_is_enforced(#[case] directory: &str, #[case] expected: i32) {
    let world = World::new(Candidate);
    for name in ["logs", "logs/deep", "logs2"] {
        fs::create_dir(world.path(name)).unwrap();
    }
    symlink(world.path("sockets"), world.path("logs/link")).unwrap();
    world.container(&["exit", "0"]);
    let log = world.path(directory).join("log");
    let mut monitor = rotating(&world, &log, "1")
        .with(&["--log-allowlist-dir", &world.text("logs"), "--sync"])
        .start();
    assert_eq!(monitor.code(), expected);
    let stderr = fs::read_to_string(world.path("stderr")).unwrap();
    assert_eq!(stderr.contains("is not in an allowed directory"), expected == 1, "{stderr}");
}

/// B1: a full disk costs whole lines. The disk is a small tmpfs that only the monitor sees.
#[rstest]
#[case::reference(Reference, true)]
#[case::candidate(Candidate, false)]
fn a_full_disk_tears_a_line(#[case] subject: Subject, #[case] expected: bool) {
    let Some(world) = World::as_in_2_1_6(subject) else { return };
    let (go, disk) = (world.text("go"), world.path("disk"));
    fs::create_dir(&disk).unwrap();
    world.container(&[
        "numbered",
        "3000",
        "128",
        "touch",
        &world.text("full"),
        "wait-file",
        &go,
        "say",
        "after",
        "sleep-forever",
    ]);
    let log = format!("k8s-file:{}", disk.join("log").display());
    let monitor = world.create().without("-l").with(&["-l", &log, "--sync"]);
    let monitor = monitor.on_small_disk(&disk).sync_pipe().start();
    monitor.container();
    await_fact("a full disk", || world.path("full").exists().then_some(()));
    await_settled(monitor.pid());
    let disk = format!("/proc/{}/root{}", monitor.pid(), disk.display());
    let disk = Path::new(&disk);
    // Space returns when the ballast goes.
    fs::remove_file(disk.join("ballast")).unwrap();
    fs::write(go, "").unwrap();
    let log = await_fact("the line after", || {
        let text = fs::read_to_string(disk.join("log")).unwrap();
        text.ends_with("after\n").then_some(text)
    });
    // 64 of these lines make a chunk, so that no line is cut for any other reason.
    let whole = |line: &&str| [45 + 127, 45 + "after".len()].contains(&line.len());
    let torn: Vec<&str> = log.lines().filter(|line| !whole(line)).collect();
    assert_eq!(!torn.is_empty(), expected, "{:?}", torn.first());
}
