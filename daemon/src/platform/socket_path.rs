//! Paths of Unix sockets, which systems limit.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The longest path of a Unix socket: `sun_path` in unix(7), without the final NUL.
pub const MAX_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// A short path of a directory, through a descriptor that must stay open while the path is used.
#[cfg(target_os = "linux")]
pub fn short_path(directory: &Path) -> io::Result<(PathBuf, OwnedFd)> {
    use std::os::fd::AsRawFd;

    use rustix::fs::{Mode, OFlags};

    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let descriptor = rustix::fs::open(directory, flags, Mode::empty())?;
    Ok((format!("/proc/self/fd/{}", descriptor.as_raw_fd()).into(), descriptor))
}

/// Other systems reach no files through a descriptor of their directory.
#[cfg(not(target_os = "linux"))]
pub fn short_path(directory: &Path) -> io::Result<(PathBuf, OwnedFd)> {
    let reason = format!("the path of {} is too long for a socket in it", directory.display());
    Err(io::Error::new(io::ErrorKind::InvalidFilename, reason))
}
