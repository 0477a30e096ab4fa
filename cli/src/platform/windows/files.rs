//! Opens files without following links, replaces them as a whole, and locks them.
#![expect(unsafe_code, reason = "the locks of the standard library make a file unreadable")]

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::Path;
use std::thread;
use std::time::Duration;

use tempfile::NamedTempFile;
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_INVALID_FUNCTION, ERROR_IO_PENDING, ERROR_LOCK_VIOLATION, ERROR_NOT_SUPPORTED,
    ERROR_SHARING_VIOLATION, ERROR_STOPPED_ON_SYMLINK,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_REPARSE_POINT, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT,
    LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx,
};
use windows_sys::Win32::System::IO::{OVERLAPPED, OVERLAPPED_0, OVERLAPPED_0_0};

/// A virus scanner or an indexer closes a new file within half a second.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(25);
/// Far behind the end of every file: other processes cannot read a locked range.
const LOCKED_BYTE: u32 = 0x4000_0000;

/// Opens for reading, without following a link. Named pipes have names of their own here.
pub(crate) fn open_without_waiting(path: &Path) -> io::Result<File> {
    // With the second flag, a directory opens too, and the caller refuses it by name.
    let flags = FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_BACKUP_SEMANTICS;
    refuse_link(OpenOptions::new().read(true).custom_flags(flags).open(path)?)
}

/// Opens the file of a lock, or creates it.
pub(crate) fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    refuse_link(options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path)?)
}

/// Refuses a symbolic link or a junction, which was opened itself.
fn refuse_link(file: File) -> io::Result<File> {
    use std::os::windows::fs::MetadataExt;

    if file.metadata()?.file_attributes() & FILE_ATTRIBUTE_REPARSE_POINT != 0 {
        return Err(io::Error::from_raw_os_error(ERROR_STOPPED_ON_SYMLINK.cast_signed()));
    }
    Ok(file)
}

/// Creates a file, or fails if it exists.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// Whether a file was not opened because it is a link.
pub(crate) fn is_link(error: &io::Error) -> bool {
    is_any(error, &[ERROR_STOPPED_ON_SYMLINK])
}

/// Locks a file until it is closed. Other processes can still read it.
pub(crate) fn try_lock(file: &File) -> Result<(), TryLockError> {
    let offset = OVERLAPPED_0 { Anonymous: OVERLAPPED_0_0 { Offset: 0, OffsetHigh: LOCKED_BYTE } };
    let mut range =
        OVERLAPPED { Internal: 0, InternalHigh: 0, Anonymous: offset, hEvent: std::ptr::null_mut() };
    // SAFETY: the handle is that of the open file, and the range lives until the call returns.
    let locked = unsafe {
        LockFileEx(
            file.as_raw_handle(),
            LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY,
            0,
            1,
            0,
            &raw mut range,
        )
    };
    if locked != 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if is_any(&error, &[ERROR_IO_PENDING, ERROR_LOCK_VIOLATION]) {
        return Err(TryLockError::WouldBlock);
    }
    Err(TryLockError::Error(error))
}

/// Whether the file system does not support locks, as some network file systems.
pub(crate) fn locks_are_unsupported(error: &io::Error) -> bool {
    is_any(error, &[ERROR_INVALID_FUNCTION, ERROR_NOT_SUPPORTED])
}

/// Creates a temporary file in the directory of the file that it replaces. It inherits the directory's access list. Windows
/// does not consider it temporary, because its contents stay.
pub(crate) fn temporary_beside(directory: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(prefix).make_in(directory, create_new)
}

/// Flushes `temporary` and renames it to `path`, in the same directory. Another program may have either file open for a
/// moment.
pub(crate) fn replace(temporary: NamedTempFile, path: &Path) -> io::Result<()> {
    temporary.as_file().sync_all()?;
    // Closed here, and removed if the rename fails.
    let temporary = temporary.into_temp_path();
    let mut tries = 0;
    loop {
        tries += 1;
        match fs::rename(&temporary, path) {
            Err(error) if tries < TRIES && is_in_use(&error) => thread::sleep(PAUSE),
            Err(error) => return Err(error),
            Ok(()) => {
                // Nothing has that name any longer.
                let _ = temporary.keep();
                return Ok(());
            }
        }
    }
}

fn is_in_use(error: &io::Error) -> bool {
    is_any(error, &[ERROR_SHARING_VIOLATION, ERROR_ACCESS_DENIED, ERROR_LOCK_VIOLATION])
}

fn is_any(error: &io::Error, codes: &[u32]) -> bool {
    codes.iter().any(|code| error.raw_os_error() == Some(code.cast_signed()))
}
