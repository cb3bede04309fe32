//! The system calls that may be made to fail, by number.

/// A system call that is counted.
pub struct Known {
    pub number: i64,
    pub name: &'static str,
    /// It is carried out all the same: a failed close has closed the descriptor.
    pub executes: bool,
}

macro_rules! known {
    ($($constant:ident $name:literal),* $(,)?) => {
        &[$(Known { number: libc::$constant, name: $name, executes: false }),*]
    };
}

const KNOWN: &[Known] = known![
    SYS_openat "openat", SYS_open "open", SYS_read "read", SYS_readv "readv", SYS_pread64 "pread64",
    SYS_write "write", SYS_writev "writev", SYS_pwrite64 "pwrite64", SYS_fsync "fsync",
    SYS_fdatasync "fdatasync", SYS_ftruncate "ftruncate", SYS_fallocate "fallocate",
    SYS_rename "rename", SYS_renameat "renameat", SYS_renameat2 "renameat2",
    SYS_unlink "unlink", SYS_unlinkat "unlinkat", SYS_symlink "symlink", SYS_symlinkat "symlinkat",
    SYS_link "link", SYS_linkat "linkat", SYS_mkdir "mkdir", SYS_mknod "mknod", SYS_mknodat "mknodat",
    SYS_chmod "chmod", SYS_fchmod "fchmod", SYS_fchmodat "fchmodat",
    SYS_fstat "fstat", SYS_newfstatat "newfstatat", SYS_stat "stat", SYS_lstat "lstat",
    SYS_statx "statx", SYS_statfs "statfs", SYS_fstatfs "fstatfs", SYS_access "access",
    SYS_readlink "readlink", SYS_readlinkat "readlinkat", SYS_getdents64 "getdents64",
    SYS_chdir "chdir", SYS_dup "dup", SYS_dup2 "dup2", SYS_dup3 "dup3", SYS_fcntl "fcntl",
    SYS_pipe "pipe", SYS_pipe2 "pipe2", SYS_poll "poll", SYS_ppoll "ppoll",
    SYS_epoll_create1 "epoll_create1", SYS_epoll_ctl "epoll_ctl", SYS_epoll_wait "epoll_wait",
    SYS_epoll_pwait "epoll_pwait", SYS_eventfd2 "eventfd2", SYS_signalfd4 "signalfd4",
    SYS_timerfd_create "timerfd_create", SYS_timerfd_settime "timerfd_settime",
    SYS_inotify_init1 "inotify_init1", SYS_inotify_add_watch "inotify_add_watch",
    SYS_memfd_create "memfd_create", SYS_socket "socket", SYS_socketpair "socketpair",
    SYS_bind "bind", SYS_listen "listen", SYS_connect "connect", SYS_accept "accept",
    SYS_accept4 "accept4", SYS_sendto "sendto", SYS_sendmsg "sendmsg", SYS_sendmmsg "sendmmsg",
    SYS_recvfrom "recvfrom", SYS_recvmsg "recvmsg", SYS_setsockopt "setsockopt",
    SYS_getsockopt "getsockopt", SYS_ioctl "ioctl", SYS_mmap "mmap", SYS_mprotect "mprotect",
    SYS_mremap "mremap", SYS_brk "brk", SYS_clone "clone", SYS_clone3 "clone3", SYS_fork "fork",
    SYS_vfork "vfork", SYS_execve "execve", SYS_execveat "execveat", SYS_wait4 "wait4",
    SYS_waitid "waitid", SYS_kill "kill", SYS_pidfd_open "pidfd_open",
    SYS_pidfd_send_signal "pidfd_send_signal", SYS_setsid "setsid", SYS_prctl "prctl",
    SYS_getrandom "getrandom", SYS_close_range "close_range", SYS_rt_sigtimedwait "rt_sigtimedwait",
];

const CLOSE: Known = Known { number: libc::SYS_close, name: "close", executes: true };

/// The call of this number, if it is counted.
pub fn known(number: i64) -> Option<&'static Known> {
    if number == CLOSE.number {
        return Some(&CLOSE);
    }
    KNOWN.iter().find(|known| known.number == number)
}

/// What kind of call it is, by its arguments.
pub fn detail(name: &str, arguments: [u64; 6]) -> &'static str {
    let flag = |value: u64, flag: i32| value & u64::try_from(flag).unwrap_or_default() != 0;
    match name {
        "openat" if flag(arguments[2], libc::O_CREAT) => "creat",
        "open" if flag(arguments[1], libc::O_CREAT) => "creat",
        "fcntl" => match i32::try_from(arguments[1]) {
            Ok(libc::F_DUPFD | libc::F_DUPFD_CLOEXEC) => "dup",
            _ => "",
        },
        // Cannot fail: asks how much there is to be read.
        "ioctl" if arguments[1] == libc::FIONREAD => "fionread",
        _ => "",
    }
}
