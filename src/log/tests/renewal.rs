//! New files for old: truncation, rotation, and what may be in their way.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};

use nix::fcntl::{FcntlArg, fcntl};
use rstest::rstest;

use super::*;

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self, rotate: bool, max_files: u32) -> LogConfig {
        LogConfig { rotate, max_files, size_max: Some(60), ..to_file(&self.path("log")) }
    }

    /// The contents of one-record files, by name; an empty file has none.
    fn contents(&self) -> Vec<(String, String)> {
        let mut contents: Vec<_> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| {
                let texts = records(&entry.path()).into_iter().map(|(_, _, text)| text);
                let text = String::from_utf8(texts.collect::<Vec<_>>().join(&b","[..])).unwrap();
                (entry.file_name().into_string().unwrap(), text)
            })
            .collect();
        contents.sort();
        contents
    }

    /// How many of this process's descriptors refer to files that are or were here.
    fn open_fds(&self) -> usize {
        let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
        let here = self.dir.path();
        links
            .filter_map(|fd| fs::read_link(fd.path()).ok())
            .filter(|to| to.starts_with(here))
            .count()
    }
}

fn strings(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
}

/// Writes lines of which only one fits a file.
fn write_lines(log: &mut Log, lines: &[&str]) {
    for line in lines {
        log.write(Stream::Stdout, format!("{line:-<10}\n").as_bytes(), &quiet());
    }
}

#[test]
fn truncation_leaves_the_last_lines_only() {
    let place = Place::new();
    write_lines(&mut open(&place.config(false, 1)), &["a", "b", "c"]);
    assert_eq!(place.contents(), strings(&[("log", "c---------")]));
}

#[rstest]
#[case::default_keeps_two(1, &[("log", "e---------"), ("log.1", "d---------"), ("log.2", "c---------")])]
#[case::two(2, &[("log", "e---------"), ("log.1", "d---------"), ("log.2", "c---------")])]
#[case::three(3, &[("log", "e---------"), ("log.1", "d---------"), ("log.2", "c---------"), ("log.3", "b---------")])]
#[case::more_than_there_are(4_000_000_000, &[("log", "e---------"), ("log.1", "d---------"), ("log.2", "c---------"), ("log.3", "b---------"), ("log.4", "a---------")])]
fn rotation_keeps_numbered_backups(#[case] max_files: u32, #[case] expected: &[(&str, &str)]) {
    let place = Place::new();
    write_lines(&mut open(&place.config(true, max_files)), &["a", "b", "c", "d", "e"]);
    assert_eq!(place.contents(), strings(expected));
    assert_eq!(place.path("log").metadata().unwrap().mode() & 0o137, 0);
}

#[rstest]
#[case::by_trying_names(5)]
#[case::by_looking_at_the_directory(500)]
fn a_gap_between_backups_moves_on(#[case] max_files: u32) {
    let place = Place::new();
    for name in ["log.1", "log.3", "log.03", "log.x", "logs.1"] {
        fs::write(place.path(name), "").unwrap();
    }
    write_lines(&mut open(&place.config(true, max_files)), &["a", "b"]);
    let names: Vec<_> = place.contents().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["log", "log.03", "log.1", "log.2", "log.4", "log.x", "logs.1"]);
}

#[rstest]
#[case::truncation(false)]
#[case::rotation(true)]
fn the_new_file_is_appended_to(#[case] rotate: bool) {
    let place = Place::new();
    let mut log = open(&LogConfig { size_max: None, ..place.config(rotate, 1) });
    write_lines(&mut log, &["a"]);
    log.reopen(&quiet());
    write_lines(&mut log, &["b", "c"]);
    // As copytruncate does; without O_APPEND the next line would follow a hole.
    fs::File::options().write(true).open(place.path("log")).unwrap().set_len(0).unwrap();
    write_lines(&mut log, &["d"]);
    assert_eq!(records(&place.path("log")).len(), 1);
}

#[rstest]
#[case::truncation(false)]
#[case::rotation(true)]
fn reopening_creates_the_path_anew_after_it_was_moved_away(#[case] rotate: bool) {
    let place = Place::new();
    let mut log = open(&place.config(rotate, 1));
    write_lines(&mut log, &["a"]);
    fs::rename(place.path("log"), place.path("log.20250101")).unwrap();
    log.reopen(&quiet());
    assert_eq!(place.contents(), strings(&[("log", ""), ("log.20250101", "a---------")]));
    write_lines(&mut log, &["b"]);
    let expected = [("log", "b---------"), ("log.20250101", "a---------")];
    assert_eq!(place.contents(), strings(&expected));
    assert_eq!(place.open_fds(), 1);
}

#[test]
fn reopening_starts_the_size_from_zero() {
    let place = Place::new();
    let mut log = open(&place.config(true, 1));
    write_lines(&mut log, &["a"]);
    log.reopen(&quiet());
    write_lines(&mut log, &["b"]);
    assert_eq!(place.contents(), strings(&[("log", "b---------"), ("log.1", "a---------")]));
}

#[test]
fn truncation_replaces_a_symbolic_link() {
    let place = Place::new();
    fs::write(place.path("target"), "").unwrap();
    symlink("target", place.path("log")).unwrap();
    write_lines(&mut open(&place.config(false, 1)), &["a", "b"]);
    assert!(!place.path("log").is_symlink());
    assert_eq!(place.contents(), strings(&[("log", "b---------"), ("target", "a---------")]));
}

#[test]
fn rotation_rotates_what_a_symbolic_link_points_to() {
    let place = Place::new();
    fs::create_dir(place.path("sub")).unwrap();
    fs::write(place.path("target"), "").unwrap();
    symlink("target", place.path("log")).unwrap();
    let config = LogConfig { k8s_file: Some(place.path("sub/../log")), ..place.config(true, 1) };
    write_lines(&mut open(&config), &["a", "b"]);
    assert!(place.path("log").is_symlink());
    assert_eq!(place.contents(), strings(&[("target", "b---------"), ("target.1", "a---------")]));
}

#[rstest]
#[case::truncation(false, "log.tmp")]
#[case::rotation(true, "log.new")]
fn left_over_temporary_files_are_replaced_and_links_not_followed(
    #[case] rotate: bool,
    #[case] temporary: &str,
) {
    let place = Place::new();
    let mut log = open(&place.config(rotate, 1));
    fs::write(place.path(temporary), "stale").unwrap();
    write_lines(&mut log, &["a", "b"]);
    fs::write(place.path("victim"), "").unwrap();
    symlink("victim", place.path(temporary)).unwrap();
    write_lines(&mut log, &["c"]);
    let found = place.contents();
    assert!(found.contains(&("log".to_string(), "c---------".to_string())), "{found:?}");
    assert!(found.contains(&("victim".to_string(), String::new())), "{found:?}");
    assert!(!place.path("log").is_symlink() && !place.path(temporary).is_symlink());
}

#[test]
fn a_deleted_log_is_created_anew_without_leaking_descriptors() {
    let place = Place::new();
    let mut log = open(&place.config(true, 1));
    for name in ["a", "b", "c", "d", "e"] {
        write_lines(&mut log, &[name]);
        fs::remove_file(place.path("log")).unwrap();
    }
    write_lines(&mut log, &["f", "g"]);
    assert_eq!(place.contents(), strings(&[("log", "g---------"), ("log.1", "f---------")]));
    assert_eq!(place.open_fds(), 1);
}

#[test]
fn a_link_put_in_the_logs_place_is_not_followed() {
    let place = Place::new();
    let mut log = open(&place.config(true, 1));
    write_lines(&mut log, &["a"]);
    fs::write(place.path("victim"), "").unwrap();
    fs::remove_file(place.path("log")).unwrap();
    symlink("victim", place.path("log")).unwrap();
    write_lines(&mut log, &["b"]);
    assert!(place.path("log.1").is_symlink());
    assert_eq!(place.contents(), strings(&[("log", "b---------"), ("victim", "")]));
}

#[rstest]
#[case::truncation(false, "log.tmp")]
#[case::rotation(true, "log.new")]
fn a_failed_renewal_keeps_the_log_and_is_tried_again(#[case] rotate: bool, #[case] obstacle: &str) {
    let place = Place::new();
    let mut log = open(&place.config(rotate, 1));
    write_lines(&mut log, &["a"]);
    fs::create_dir(place.path(obstacle)).unwrap();
    write_lines(&mut log, &["b", "c"]);
    assert_eq!(place.contents(), strings(&[("log", "a---------,b---------,c---------")]));
    fs::remove_dir(place.path(obstacle)).unwrap();
    write_lines(&mut log, &["d"]);
    let (_, current) = place.contents().remove(0);
    assert_eq!(current, "d---------");
    assert_eq!(place.open_fds(), 1);
}

#[rstest]
#[case::truncation(false)]
#[case::rotation(true)]
fn a_demanded_renewal_that_failed_is_made_up_for(#[case] rotate: bool) {
    let place = Place::new();
    let sub = place.path("sub");
    fs::create_dir(&sub).unwrap();
    let config = LogConfig { k8s_file: Some(sub.join("log")), ..place.config(rotate, 1) };
    let mut log = open(&LogConfig { size_max: None, ..config });
    fs::rename(&sub, place.path("away")).unwrap();
    log.reopen(&quiet());
    write_lines(&mut log, &["a"]);
    assert_eq!(records(&place.path("away/log")).len(), 1);
    fs::create_dir(&sub).unwrap();
    write_lines(&mut log, &["b", "c"]);
    assert_eq!(records(&sub.join("log")).len(), 2);
    assert_eq!(records(&place.path("away/log")).len(), 1);
}

#[test]
fn a_locked_log_is_not_rotated() {
    let place = Place::new();
    let test = "log::tests::renewal::writes_more_than_a_locked_log_may_hold";
    // Locks do not work between the descriptors of one process.
    let file = fs::File::options().create(true).append(true).open(place.path("log")).unwrap();
    let lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_SETLK(&lock)).unwrap();
    let said = said(&run_alone(&[], test, place.dir.path()));
    // Once, although it happens at every line.
    let expected = "[conmon:w]: Log file locked by another process, skipping rotation\n";
    assert_eq!(said, expected);
    assert_eq!(place.contents(), strings(&[("log", "a---------,b---------,c---------")]));
}

#[test]
#[ignore = "run by a_locked_log_is_not_rotated"]
fn writes_more_than_a_locked_log_may_hold() {
    let path = own_directory().join("log");
    let config = LogConfig { rotate: true, size_max: Some(60), ..to_file(&path) };
    let diag = Diagnostics::new(Level::Warning, None);
    let mut log = Log::open(&config, OsStr::new(CID), &diag).unwrap();
    for line in ["a---------\n", "b---------\n", "c---------\n"] {
        log.write(Stream::Stdout, line.as_bytes(), &diag);
    }
}

#[test]
fn a_device_is_never_renewed() {
    let mut log = open(&LogConfig { size_max: Some(1), ..to_file(Path::new("/dev/null")) });
    write_lines(&mut log, &["a", "b"]);
    log.reopen(&quiet());
    assert!(!Path::new("/dev/null").metadata().unwrap().is_file());
    fs::File::options().write(true).open("/dev/null").unwrap().write_all(b"x").unwrap();
}
