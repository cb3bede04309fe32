//! The names under which attach clients find the monitor.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{Backlog, SockType, listen};
use nix::sys::stat::Mode;
use nix::unistd::{symlinkat, unlink};

use crate::config::AttachPlace;
use crate::diagnostics::Diagnostics;
use crate::failure::{Failure, concat};
use crate::unix_socket::bind_below;

const BACKLOG: i32 = 10;

/// The listening socket and what was made in the file system for it.
pub(super) struct Listener {
    pub(super) socket: OwnedFd,
    pub(super) name: Name,
    pub(super) symlink: Option<Name>,
}

impl Listener {
    /// Makes the symlink where one is asked for, binds and listens.
    ///
    /// # Errors
    ///
    /// Refuses, in the reference's words; what was made on the way is removed again.
    pub(super) fn create(
        place: &AttachPlace,
        cuuid: Option<&OsStr>,
        bundle: &Path,
        diagnostics: &Diagnostics,
    ) -> Result<Self, Failure> {
        let symlink = match place {
            AttachPlace::Bundle => None,
            AttachPlace::SocketDir(dir) => Some(link(dir, cuuid, bundle)?),
        };
        let dir = symlink.as_ref().map_or(bundle, |symlink| &symlink.path);
        match listen_below(dir, diagnostics) {
            Ok((socket, name)) => Ok(Self { socket, name, symlink }),
            Err(failure) => {
                if let Some(symlink) = symlink {
                    let _ = symlink.remove();
                }
                Err(failure)
            }
        }
    }
}

fn listen_below(dir: &Path, diagnostics: &Diagnostics) -> Result<(OwnedFd, Name), Failure> {
    let socket = bind_below(dir, "attach", SockType::SeqPacket, Mode::S_IRWXU, diagnostics)?;
    let name = Name::of(dir.join("attach"));
    Backlog::new(BACKLOG).and_then(|backlog| listen(&socket, backlog)).map_err(|errno| {
        let _ = name.remove();
        let dir = dir.as_os_str().as_bytes();
        let text = concat(&[b"Failed to listen on attach socket: ", dir, b"/attach"]);
        Failure::with_errno(text, errno)
    })?;
    Ok((socket, name))
}

/// Makes `<dir>/<cuuid>` point to the bundle. The name is used at its full length, however
/// long: the reference cuts one of 107 bytes and later misses it.
fn link(dir: &Path, cuuid: Option<&OsStr>, bundle: &Path) -> Result<Name, Failure> {
    let Some(cuuid) = cuuid.filter(|cuuid| !cuuid.is_empty()) else {
        let text = "An attach socket without --full-attach needs a container UUID (--cuuid)";
        return Err(Failure::new(text));
    };
    // Not `join`, for which an absolute cuuid would replace the directory.
    let path = concat(&[dir.as_os_str().as_bytes(), b"/", cuuid.as_bytes()]);
    let path = PathBuf::from(OsStr::from_bytes(&path));
    match unlink(&path) {
        Ok(()) | Err(Errno::ENOENT) => {}
        Err(errno) => {
            let shown = path.as_os_str().as_bytes();
            let text = concat(&[b"Failed to remove existing symlink for socket directory ", shown]);
            return Err(Failure::with_errno(text, errno));
        }
    }
    symlinkat(bundle, nix::fcntl::AT_FDCWD, &path).map_err(|errno| {
        Failure::with_errno("Failed to create symlink for notify socket", errno).on(&path)
    })?;
    Ok(Name::of(path))
}

/// A name we made, remembered well enough to tell it from a successor's.
///
/// A caller that has seen the container end may start the next monitor for it at once, which
/// puts names of its own into the same places.
pub(super) struct Name {
    path: PathBuf,
    mark: Option<Mark>,
}

/// Device, inode and time of making; an inode number alone may be used again.
type Mark = (u64, u64, i64, i64);

impl Name {
    fn of(path: PathBuf) -> Self {
        let mark = mark(&path).ok();
        Self { path, mark }
    }

    /// Removes the name if it is still ours; one that is gone already is no failure.
    pub(super) fn remove(&self) -> nix::Result<()> {
        match mark(&self.path) {
            Ok(found) if self.mark.is_some_and(|mark| mark != found) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            _ => unlink(&self.path),
        }
    }
}

fn mark(path: &Path) -> std::io::Result<Mark> {
    // Not nix's lstat, whose numbers may be too narrow on 32-bit machines. Neither chmod nor
    // chown nor a connection changes the time of modification.
    let found = path.symlink_metadata()?;
    Ok((found.dev(), found.ino(), found.mtime(), found.mtime_nsec()))
}
