//! The lock that gives one process exclusive use of a data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;

use super::PlatformError;

/// How often a busy lock is tried again: [`lock_holder`] holds it for microseconds, a daemon for its lifetime.
const RETRIES: u32 = 5;
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// Exclusive use of a data directory until dropped. The kernel releases the lock when the process exits.
#[derive(Debug)]
pub struct DataDirectoryLock {
    _file: File,
}

/// Locks `dataDir/lock`, or returns the ID of the process that holds it.
pub fn lock_data_directory(data_dir: &Path) -> Result<DataDirectoryLock, PlatformError> {
    lock_within(RETRIES, data_dir)
}

fn lock_within(retries: u32, data_dir: &Path) -> Result<DataDirectoryLock, PlatformError> {
    let path = path_in(data_dir);
    let mut file = options().create(true).open(&path).map_err(PlatformError::io(&path))?;
    let mut locked = file.try_lock();
    for _ in 0..retries {
        if !matches!(locked, Err(TryLockError::WouldBlock)) {
            break;
        }
        std::thread::sleep(RETRY_DELAY);
        locked = file.try_lock();
    }
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(PlatformError::Locked {
                path: path.display().to_string(),
                process: holder(&mut file),
            });
        }
        Err(TryLockError::Error(source)) => {
            return Err(PlatformError::NoLocks { path: path.display().to_string(), source });
        }
    }
    write_holder(&mut file).map_err(PlatformError::io(&path))?;
    Ok(DataDirectoryLock { _file: file })
}

/// The process that holds the lock, as far as it is known; `None` if the lock is free. Creates nothing.
///
/// Takes a shared lock, so that two commands that look at the same time do not take each other for a daemon.
pub fn lock_holder(data_dir: &Path) -> Result<Option<String>, PlatformError> {
    let path = path_in(data_dir);
    let mut file = match options().open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PlatformError::io(&path)(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(holder(&mut file))),
        Err(TryLockError::Error(source)) => {
            Err(PlatformError::NoLocks { path: path.display().to_string(), source })
        }
    }
}

/// Fails if another process holds the lock. Creates nothing.
pub fn expect_unlocked(data_dir: &Path) -> Result<(), PlatformError> {
    match lock_holder(data_dir)? {
        Some(process) => {
            Err(PlatformError::Locked { path: path_in(data_dir).display().to_string(), process })
        }
        None => Ok(()),
    }
}

fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("lock")
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).truncate(false).mode(0o600);
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}

/// Writes this process's ID for the error message of other processes.
fn write_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // The process that just took the lock may not have written its ID yet.
    let _ = file.take(20).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(process) => process.to_string(),
        Err(_) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_directory_error_names_the_holder() {
        let directory = tempfile::tempdir().expect("a directory");
        let held = lock_data_directory(directory.path()).expect("the lock");

        match lock_data_directory(directory.path()) {
            Err(PlatformError::Locked { process, .. }) => assert_eq!(process, std::process::id().to_string()),
            other => panic!("expected the lock to be held: {other:?}"),
        }
        drop(held);
        lock_data_directory(directory.path()).expect("the lock is free again");
    }

    #[test]
    fn looking_for_the_holder_does_not_disturb_others() {
        let directory = tempfile::tempdir().expect("a directory");
        drop(lock_data_directory(directory.path()).expect("the lock"));
        let looking = options().open(path_in(directory.path())).expect("the file");
        looking.try_lock_shared().expect("a shared lock");
        assert_eq!(lock_holder(directory.path()).expect("an answer"), None);

        // It is taken as soon as the other has looked.
        let (taken, looked) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                looked.recv().expect("the main thread has begun");
                drop(looking);
            });
            taken.send(()).expect("the thread waits");
            // A busy machine may start the thread late.
            lock_within(100 * RETRIES, directory.path()).expect("the lock");
        });
    }

    #[test]
    fn link_as_lock_file_is_rejected() {
        let directory = tempfile::tempdir().expect("a directory");
        let target = directory.path().join("target");
        std::fs::write(&target, "keep").expect("a file");
        std::os::unix::fs::symlink(&target, directory.path().join("lock")).expect("a link");
        assert!(matches!(lock_data_directory(directory.path()), Err(PlatformError::Io { .. })));
        assert_eq!(std::fs::read_to_string(&target).expect("a file"), "keep");
    }
}
