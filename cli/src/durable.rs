//! Makes a renamed file durable.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::io::Errno;

/// Makes a rename in `directory` durable. A file system that cannot do that for a directory keeps its files whole all the
/// same; after a loss of power the old file may be there.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    const CANNOT: [Errno; 4] = [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS];
    match File::open(directory)?.sync_all() {
        Err(error) if CANNOT.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) => Ok(()),
        synced => synced,
    }
}
