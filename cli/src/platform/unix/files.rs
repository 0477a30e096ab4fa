//! Opens files without following links, replaces them as a whole, and locks them.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;
use tempfile::NamedTempFile;

/// Opens for reading, without following a link or blocking on a pipe.
pub(crate) fn open_without_waiting(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Opens the file of a lock, or creates it.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

/// Creates a file, or fails if it exists.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Whether a file was not opened because it is a link.
pub(crate) fn is_link(error: &io::Error) -> bool {
    is_any(error, &[Errno::LOOP])
}

/// Locks a file until it is closed. Other processes can still read it.
pub(crate) fn try_lock(file: &File) -> Result<(), TryLockError> {
    file.try_lock()
}

/// Whether the file system does not support locks, as some network and FUSE file systems.
pub(crate) fn locks_are_unsupported(error: &io::Error) -> bool {
    is_any(error, &[Errno::NOLCK, Errno::NOSYS, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::INVAL])
}

/// Creates a temporary file that only this user can access, in the directory of the file that it replaces.
pub(crate) fn temporary_beside(directory: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(prefix).permissions(Permissions::from_mode(0o600)).tempfile_in(directory)
}

/// Flushes `temporary` and renames it to `path`, in the same directory. After a loss of power, the file is the old or the
/// new one.
pub(crate) fn replace(temporary: NamedTempFile, path: &Path) -> io::Result<()> {
    sync(temporary.as_file())?;
    temporary.persist(path)?;
    sync_directory(path.parent().expect("a file in a directory"))
}

/// What file systems answer that cannot flush.
const CANNOT: [Errno; 4] = [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS];

/// Flushes a file. On macOS, the standard library empties the disk's cache too (`F_FULLFSYNC`), which network file systems
/// refuse.
fn sync(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if is_any(&error, &CANNOT) => Ok(rustix::fs::fsync(file)?),
        synced => synced,
    }
}

/// Flushes a rename in `directory` to disk. On a file system that cannot flush directories, files stay complete, but a
/// power loss may bring back the old file.
fn sync_directory(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        Err(error) if is_any(&error, &CANNOT) => Ok(()),
        synced => synced,
    }
}

fn is_any(error: &io::Error, numbers: &[Errno]) -> bool {
    numbers.iter().any(|number| error.raw_os_error() == Some(number.raw_os_error()))
}
