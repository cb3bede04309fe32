//! How each system call can fail on a machine that has had bad luck: too little memory or disk,
//! no descriptors or processes left, broken hardware, missing rights, interruptions.
//!
//! Mistakes of the caller (`EBADF`, `EFAULT`, most of `EINVAL`) are not among them, nor what would
//! be a lie about the world (`ENOENT` for a file that is there, `EPIPE` while the reader reads).
//! Source: the ERRORS sections of the manual pages.

use libc::{
    EACCES, EADDRINUSE, EAGAIN, EBUSY, ECHILD, ECONNABORTED, ECONNREFUSED, ECONNRESET, EEXIST,
    EINTR, EIO, EMFILE, ENFILE, ENOBUFS, ENOENT, ENOMEM, ENOSPC, ENOSYS, ENOTTY, EPERM, EPIPE,
    EROFS, ESRCH,
};

/// How long a failure may last in earnest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    Once,
    ForEver,
    Both,
}

use Lasts::{Both, ForEver, Once};

type Failures = &'static [(i32, Lasts)];

/// The failures of a call; none for one that cannot fail without a mistake.
pub fn of(name: &str, detail: &str) -> Failures {
    match (name, detail) {
        ("openat" | "open", "creat") => {
            &[(EMFILE, Both), (ENOSPC, Both), (EIO, Once), (EACCES, ForEver), (ENOMEM, Once)]
        }
        ("openat" | "open", _) => {
            &[(EMFILE, Both), (ENFILE, Once), (ENOENT, Once), (EIO, Once), (ENOMEM, Once)]
        }
        ("read" | "readv" | "pread64", _) => &[(EINTR, Once), (EIO, Both), (ENOMEM, Once)],
        ("write" | "writev" | "pwrite64", _) => {
            &[(EINTR, Once), (EAGAIN, Once), (ENOSPC, Both), (EIO, Once), (ENOMEM, Once)]
        }
        ("sendto" | "sendmsg" | "sendmmsg", _) => &[
            (EINTR, Once),
            (EAGAIN, Once),
            (ENOBUFS, Once),
            (ECONNREFUSED, Both),
            (EPIPE, Once),
            (ENOMEM, Once),
        ],
        ("recvfrom" | "recvmsg", _) => {
            &[(EINTR, Once), (EAGAIN, Once), (ENOMEM, Once), (ECONNRESET, Once)]
        }
        ("ppoll" | "poll" | "epoll_wait" | "epoll_pwait", _) => &[(EINTR, Once), (ENOMEM, Both)],
        ("wait4" | "waitid", _) => &[(EINTR, Once), (ECHILD, Once)],
        ("fsync" | "fdatasync", _) => &[(EIO, Both), (ENOSPC, Once), (EINTR, Once)],
        ("ftruncate", _) => &[(EIO, Once), (EINTR, Once)],
        ("rename" | "renameat" | "renameat2" | "link" | "linkat", _) => {
            &[(ENOSPC, Both), (EIO, Once), (EACCES, ForEver)]
        }
        ("unlink" | "unlinkat", _) => &[(EIO, Once), (EROFS, ForEver)],
        ("symlink" | "symlinkat" | "mknod" | "mknodat" | "mkdir", _) => {
            &[(EEXIST, Once), (ENOSPC, Both), (EACCES, ForEver)]
        }
        ("chmod" | "fchmod" | "fchmodat", _) => &[(EPERM, Once), (EROFS, ForEver)],
        ("fstat" | "statfs" | "fstatfs" | "getdents64", _) => &[(EIO, Once), (ENOMEM, Once)],
        (
            "newfstatat" | "stat" | "lstat" | "statx" | "access" | "readlink" | "readlinkat"
            | "chdir",
            _,
        ) => &[(EACCES, Once), (EIO, Once), (ENOMEM, Once)],
        ("dup" | "dup3", _) | ("fcntl", "dup") => &[(EMFILE, Both)],
        ("dup2", _) => &[(EBUSY, Once), (EINTR, Once)],
        (
            "pipe" | "pipe2" | "memfd_create" | "eventfd2" | "signalfd4" | "timerfd_create"
            | "epoll_create1" | "inotify_init1",
            _,
        ) => &[(EMFILE, Both), (ENFILE, Once), (ENOMEM, Once)],
        ("inotify_add_watch" | "epoll_ctl", _) => &[(ENOSPC, Both), (ENOMEM, Once)],
        ("socket" | "socketpair", _) => &[(EMFILE, Both), (ENOBUFS, Once), (ENOMEM, Once)],
        ("bind", _) => &[(EADDRINUSE, Once), (EACCES, Both), (ENOSPC, Once), (ENOMEM, Once)],
        ("listen", _) => &[(EADDRINUSE, Once)],
        ("connect", _) => &[(ECONNREFUSED, Once), (ENOENT, ForEver), (EAGAIN, Once), (EINTR, Once)],
        ("accept" | "accept4", _) => {
            &[(EMFILE, Both), (ENFILE, Once), (ECONNABORTED, Once), (EINTR, Once), (ENOBUFS, Once)]
        }
        ("setsockopt" | "getsockopt", _) => &[(ENOMEM, Once), (ENOBUFS, Once)],
        ("ioctl", "fionread") => &[],
        ("ioctl", _) => &[(EIO, Once), (ENOTTY, ForEver)],
        ("mmap" | "mremap", _) => &[(ENOMEM, Both)],
        ("mprotect", _) => &[(ENOMEM, Once)],
        ("clone" | "clone3" | "fork" | "vfork", _) => &[(EAGAIN, Both), (ENOMEM, Once)],
        ("execve" | "execveat", _) => &[(ENOENT, Once), (EACCES, Once), (ENOMEM, Once)],
        ("kill", _) => &[(ESRCH, Once), (EPERM, Once)],
        ("pidfd_open", _) => &[(ENOSYS, ForEver), (EMFILE, Once), (ENOMEM, Once)],
        ("pidfd_send_signal", _) => &[(ENOSYS, ForEver), (EPERM, Once)],
        ("setsid", _) => &[(EPERM, Once)],
        ("getrandom", _) => &[(ENOSYS, ForEver), (EINTR, Once), (EAGAIN, Once)],
        ("close", _) => &[(EINTR, Once), (EIO, Once)],
        ("close_range", _) => &[(ENOSYS, ForEver)],
        _ => &[],
    }
}

/// The errno's name, as `ENOSPC`.
pub fn name(errno: i32) -> String {
    format!("{:?}", nix::errno::Errno::from_raw(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_makes_a_file_may_find_the_disk_full() {
        assert!(of("openat", "creat").iter().any(|failure| failure.0 == ENOSPC));
        assert!(!of("openat", "").iter().any(|failure| failure.0 == ENOSPC));
        assert_eq!(name(ENOSPC), "ENOSPC");
    }

    /// A descriptor that is ready but never read would make any program spin.
    #[test]
    fn interruptions_do_not_last() {
        for name in ["read", "write", "ppoll", "sendmmsg", "recvfrom", "wait4"] {
            let lasting = of(name, "").iter().filter(|failure| failure.1 != Once);
            assert!(lasting.clone().all(|failure| ![EINTR, EAGAIN, ECHILD].contains(&failure.0)));
        }
    }
}
