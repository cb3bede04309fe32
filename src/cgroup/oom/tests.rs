//! The watch over a group in a directory of files.

use super::*;
use crate::diagnostics::Level;

fn quiet() -> Diagnostics {
    Diagnostics::new(Level::Error, None)
}

#[test]
fn a_watch_that_cannot_be_set_up_costs_only_itself() {
    let group = tempfile::tempdir().unwrap();
    assert!(start_v1(group.path(), &quiet()).is_none());
    std::fs::write(group.path().join("cgroup.event_control"), "").unwrap();
    assert!(start_v1(group.path(), &quiet()).is_none());
    std::fs::write(group.path().join("memory.oom_control"), "").unwrap();
    assert!(start_v1(group.path(), &quiet()).is_some());
}

#[test]
fn reads_both_counters_and_no_other() {
    let text = b"low 9\nhigh 8\nmax 7\noom 2\noom_kill 1\noom_group_kill 5\n";
    assert_eq!(parse_counts(text, &quiet()), Counts { oom: 2, oom_kill: 1 });
}

#[test]
fn a_first_change_that_is_no_oom_does_not_end_the_watch() {
    let dir = tempfile::tempdir().unwrap();
    let events = dir.path().join("memory.events");
    let marks = vec![dir.path().join("bundle")];
    std::fs::create_dir(&marks[0]).unwrap();
    let mut seen = Counts::default();

    std::fs::write(&events, "max 3\noom 0\noom_kill 0\n").unwrap();
    assert!(check_v2(&events, &mut seen, &marks, &quiet()));
    assert!(!marks[0].join("oom").exists());

    std::fs::write(&events, "max 3\noom 1\noom_kill 1\n").unwrap();
    assert!(check_v2(&events, &mut seen, &marks, &quiet()));
    assert!(marks[0].join("oom").exists());
}

/// The watch over a group in a directory of a file system that announces what is written.
fn watch(group: &Path, marks: &Path) -> OomWatch {
    std::fs::write(group.join("memory.events"), "max 0\noom 0\noom_kill 0\n").unwrap();
    OomWatch {
        kind: start_v2(group, &quiet()),
        pid: Pid::this(),
        since: Duration::ZERO,
        directories: vec![marks.to_path_buf()],
    }
}

fn is_announced(watch: &OomWatch) -> bool {
    watch.fd().is_some_and(is_readable)
}

/// The kernel keeps silent for 10 ms after an announcement.
#[test]
fn what_happens_after_an_announcement_is_looked_for() {
    let (group, marks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut watch = watch(group.path(), marks.path());
    assert_eq!(watch.deadline(), None);
    let start = Duration::from_secs(100);
    assert!(watch.on_event(start, &quiet()));
    let mut looks = Vec::new();
    while let Some(next) = watch.deadline() {
        looks.push((next - start).as_millis());
        if looks.len() == 3 {
            let counters = "max 2\noom 1\noom_kill 1\n";
            std::fs::write(group.path().join("memory.events"), counters).unwrap();
        }
        assert!(watch.on_deadline(next, &quiet()));
        assert_eq!(marks.path().join("oom").exists(), looks.len() >= 3);
    }
    assert_eq!(looks, [1, 3, 7, 15, 515]);
}

#[test]
fn a_container_at_its_limit_is_not_looked_after_all_the_time() {
    let (group, marks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut watch = watch(group.path(), marks.path());
    let counters = |text: &str| {
        std::fs::write(group.path().join("memory.events"), text).unwrap();
    };
    counters("max 1\noom 0\noom_kill 0\n");
    assert!(is_announced(&watch));
    assert!(watch.on_event(Duration::from_secs(100), &quiet()));
    counters("max 2\noom 1\noom_kill 1\n");
    assert!(!is_announced(&watch), "it rests");
    let mut last = Duration::ZERO;
    while let Some(next) = watch.deadline() {
        assert!(watch.on_deadline(next, &quiet()));
        last = next;
    }
    assert!(marks.path().join("oom").exists(), "the rest ends with a look");
    assert!(!is_announced(&watch));
    counters("max 3\noom 1\noom_kill 1\n");
    assert!(is_announced(&watch), "it is watched again");
    assert!(watch.on_event(last + Duration::from_millis(1), &quiet()));
    assert!(watch.deadline().is_some(), "and looked after again");
}

/// Lives at its limit from `now` on; the lengths of so many rests in milliseconds.
fn rests(watch: &mut OomWatch, group: &Path, now: &mut Duration, count: usize) -> Vec<u128> {
    let mut lengths = Vec::new();
    for _ in 0..count {
        std::fs::write(group.join("memory.events"), "max 9\noom 0\noom_kill 0\n").unwrap();
        assert!(is_announced(watch) && watch.on_event(*now, &quiet()));
        let mut looks = vec![*now];
        while let Some(next) = watch.deadline() {
            assert!(watch.on_deadline(next, &quiet()));
            looks.push(next);
        }
        let [.., before, last] = looks[..] else { unreachable!() };
        lengths.push((last - before).as_millis());
        *now = last + Duration::from_millis(1);
    }
    lengths
}

#[test]
fn a_container_that_stays_at_its_limit_is_looked_after_ever_less() {
    let (group, marks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut watch = watch(group.path(), marks.path());
    let mut now = Duration::from_secs(100);
    let lengths = rests(&mut watch, group.path(), &mut now, 6);
    assert_eq!(lengths, [500, 1000, 2000, 4000, 4000, 4000]);
    now += REST;
    assert_eq!(rests(&mut watch, group.path(), &mut now, 2), [500, 1000], "it had recovered");
    std::fs::write(group.path().join("memory.events"), "max 9\noom 1\noom_kill 1\n").unwrap();
    assert!(is_announced(&watch) && watch.on_event(now, &quiet()));
    assert!(marks.path().join("oom").exists());
    let mut last = now;
    while let Some(deadline) = watch.deadline() {
        assert!(watch.on_deadline(deadline, &quiet()));
        last = deadline;
    }
    assert_eq!((last - now).as_millis(), 515, "something was killed");
}

#[test]
fn the_emptying_of_the_group_is_announced_during_the_rest() {
    let (group, marks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(group.path().join("cgroup.events"), "populated 1\n").unwrap();
    let mut watch = watch(group.path(), marks.path());
    assert!(!is_announced(&watch));
    assert!(watch.on_event(Duration::ZERO, &quiet()));
    let counters = "max 2\noom 1\noom_kill 1\n";
    std::fs::write(group.path().join("memory.events"), counters).unwrap();
    assert!(!is_announced(&watch));
    std::fs::write(group.path().join("cgroup.events"), "populated 0\n").unwrap();
    assert!(is_announced(&watch));
    assert!(watch.on_event(Duration::from_millis(1), &quiet()));
    assert!(marks.path().join("oom").exists());
}

/// The end decides what is made of it.
#[test]
fn a_group_that_is_gone_is_waited_for_no_longer() {
    let (group, marks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut watch = watch(group.path(), marks.path());
    std::fs::remove_file(group.path().join("memory.events")).unwrap();
    assert!(watch.on_event(Duration::ZERO, &quiet()));
    assert!(watch.fd().is_none() && watch.deadline().is_none());
}

#[test]
fn a_mark_that_could_not_be_made_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let events = dir.path().join("memory.events");
    let marks = vec![dir.path().join("late")];
    std::fs::write(&events, "oom_kill 1\n").unwrap();
    let mut seen = Counts::default();
    check_v2(&events, &mut seen, &marks, &quiet());
    std::fs::create_dir(&marks[0]).unwrap();
    check_v2(&events, &mut seen, &marks, &quiet());
    assert!(marks[0].join("oom").exists());
}
