//! Clocks and the local time zone, with 64 bits for the seconds on every machine.
//!
//! The C libraries of older 32-bit machines have each of these functions twice. The one by
//! the usual name ends in 2038; the other is what C programs get when they are built for
//! 64-bit times. Neither nix nor the libc crate binds it.

use std::mem::MaybeUninit;
use std::time::Duration;

use nix::sys::time::TimeSpec;

/// Time since the epoch.
pub(crate) fn realtime() -> Duration {
    read(libc::CLOCK_REALTIME)
}

/// Time on the clock that deadlines are measured with; it never steps.
pub(crate) fn monotonic() -> Duration {
    read(libc::CLOCK_MONOTONIC)
}

/// Sleeps for `pause`, or less: a signal or a refusing kernel ends it early.
///
/// Not the standard library's, which panics where the kernel refuses.
pub(crate) fn sleep(pause: Duration) {
    // SAFETY: the structure is live during the call; what is left is not asked for.
    unsafe { libc::nanosleep(timespec(pause).as_ref(), std::ptr::null_mut()) };
}

/// No pause is longer: what a 32-bit machine can express, 68 years.
const LONGEST: Duration = Duration::from_secs(i32::MAX as u64);

/// `pause` as poll(2) and nanosleep(2) take it.
pub(super) fn timespec(pause: Duration) -> TimeSpec {
    TimeSpec::from_duration(pause.min(LONGEST))
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut now = MaybeUninit::<c::Timespec>::uninit();
    // SAFETY: the pointer is valid for the whole call, which keeps nothing of it.
    if unsafe { c::clock_gettime(clock, now.as_mut_ptr()) } != 0 {
        // Both clocks exist on every Linux; a zero would only end a wait early.
        return Duration::ZERO;
    }
    // SAFETY: zero means that the fields have been written.
    let now = unsafe { now.assume_init() };
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// Breaks `seconds` since the epoch down into local wall-clock time.
///
/// Returns `None` when the year does not fit, the one failure localtime_r(3) knows. The zone
/// comes from `TZ` or the system; an unknown one counts as UTC.
pub(crate) fn local_time(seconds: u64) -> Option<libc::tm> {
    let seconds = i64::try_from(seconds).ok()?;
    let mut parts = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are valid for the whole call and localtime_r keeps neither.
    let filled = unsafe { c::localtime_r(&raw const seconds, parts.as_mut_ptr()) };
    // SAFETY: a non-null result means that every field has been written.
    (!filled.is_null()).then(|| unsafe { parts.assume_init() })
}

/// The functions by their usual names, where they have 64-bit times.
#[cfg(not(all(
    target_pointer_width = "32",
    not(any(target_arch = "riscv32", target_arch = "x86_64"))
)))]
mod c {
    pub(super) use libc::timespec as Timespec;

    unsafe extern "C" {
        pub(super) fn clock_gettime(clock: libc::clockid_t, now: *mut Timespec) -> libc::c_int;
        pub(super) fn localtime_r(seconds: *const i64, parts: *mut libc::tm) -> *mut libc::tm;
    }
}

/// The functions by the names for 64-bit times: in glibc since 2.34, in musl since 1.2.
#[cfg(all(target_pointer_width = "32", not(any(target_arch = "riscv32", target_arch = "x86_64"))))]
mod c {
    #[repr(C)]
    pub(super) struct Timespec {
        pub(super) tv_sec: i64,
        #[cfg(target_endian = "big")]
        padding: i32,
        pub(super) tv_nsec: i32,
        #[cfg(target_endian = "little")]
        padding: i32,
    }

    unsafe extern "C" {
        #[link_name = "__clock_gettime64"]
        pub(super) fn clock_gettime(clock: libc::clockid_t, now: *mut Timespec) -> libc::c_int;
        #[link_name = "__localtime64_r"]
        pub(super) fn localtime_r(seconds: *const i64, parts: *mut libc::tm) -> *mut libc::tm;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_the_standard_librarys() {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        assert!(realtime().abs_diff(since) < Duration::from_secs(60));
        let before = monotonic();
        assert!(before > Duration::ZERO && monotonic() >= before);
    }

    #[test]
    fn a_sleep_takes_its_time() {
        let before = monotonic();
        sleep(Duration::from_millis(20));
        assert!(monotonic() - before >= Duration::from_millis(20));
    }

    #[test]
    fn local_time_goes_on_after_2038() {
        // The first second of 2100 in Greenwich; no zone is a day off.
        let parts = local_time(4_102_444_800).unwrap();
        assert!(parts.tm_year == 199 || parts.tm_year == 200, "{}", parts.tm_year);
    }

    #[test]
    fn a_year_that_does_not_fit_has_no_local_time() {
        assert!(local_time(u64::MAX / 2).is_none());
        assert!(local_time(u64::MAX).is_none());
    }
}
