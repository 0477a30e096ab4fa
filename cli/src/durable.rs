//! Makes file renames durable.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::io::Errno;

/// Flushes a rename in `directory` to disk. On a file system that cannot flush directories, files stay complete, but a
/// power loss may bring back the old file.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    const CANNOT: [Errno; 4] = [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS];
    match File::open(directory)?.sync_all() {
        Err(error) if CANNOT.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) => Ok(()),
        synced => synced,
    }
}
