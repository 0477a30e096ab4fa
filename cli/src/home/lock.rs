//! Locks between processes. The kernel releases them when the holder exits. On a file system without locks, exclusive
//! creation of a file replaces them.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::{HomeError, io_error};
use crate::platform::{self, locks_are_unsupported};
use crate::terminal::Terminal;

/// A change takes milliseconds, even with a hundred processes waiting.
const TIMEOUT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);
/// More than any URL.
const MAX_NOTE: u64 = 16 * 1024;

/// The lock for changes of the files.
#[derive(Debug)]
pub(super) enum Lock {
    Kernel {
        _file: File,
    },
    /// Removed on drop. A killed process leaves it behind.
    File {
        path: PathBuf,
    },
}

/// Result of trying to acquire the login lock.
#[derive(Debug)]
pub enum LoginLockAttempt {
    Acquired(LoginLock),
    /// Another process holds it. Contains the URL that it waits for, once it has one.
    Held {
        url: Option<String>,
    },
}

/// The login lock, held until drop.
#[derive(Debug)]
pub struct LoginLock {
    file: File,
}

impl Lock {
    /// Acquires the lock, or fails after `TIMEOUT`.
    pub(super) fn acquire(path: &Path) -> Result<Self, HomeError> {
        let file = open(path)?;
        let begin = Instant::now();
        loop {
            match platform::try_lock(&file) {
                Ok(()) => return Ok(Self::Kernel { _file: file }),
                Err(TryLockError::WouldBlock) if begin.elapsed() < TIMEOUT => thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    let path = path.display().to_string();
                    return Err(HomeError::Locked { path, seconds: TIMEOUT.as_secs() });
                }
                Err(TryLockError::Error(error)) if locks_are_unsupported(&error) => {
                    return Self::create_file(path);
                }
                Err(TryLockError::Error(error)) => return Err(io_error(path)(error)),
            }
        }
    }

    /// Creates the lock file beside `path`, or fails after `TIMEOUT`.
    fn create_file(path: &Path) -> Result<Self, HomeError> {
        let path = path.with_extension("held");
        let begin = Instant::now();
        loop {
            match platform::create_new(&path) {
                Ok(_) => return Ok(Self::File { path }),
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(io_error(&path)(error)),
                Err(_) if begin.elapsed() < TIMEOUT => thread::sleep(PAUSE),
                Err(_) => {
                    let path = path.display().to_string();
                    return Err(HomeError::Held { path, seconds: TIMEOUT.as_secs() });
                }
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Self::File { path } = self {
            // If removal fails, the next process reports the file.
            let _ = fs::remove_file(path);
        }
    }
}

/// Tries to acquire the login lock without waiting.
///
/// On a file system without locks, sign-ins are not serialized. They take minutes, and a lock file left by a killed
/// process would block all later ones.
pub(super) fn try_login_lock(path: &Path, terminal: Terminal) -> Result<LoginLockAttempt, HomeError> {
    let mut file = open(path)?;
    match platform::try_lock(&file) {
        Err(TryLockError::Error(error)) if locks_are_unsupported(&error) => {
            terminal.info(&format!(
                "{} cannot be locked ({error}): run one `infra login` at a time",
                path.display()
            ));
            Ok(LoginLockAttempt::Acquired(LoginLock { file }))
        }
        Ok(()) => {
            file.set_len(0).map_err(io_error(path))?;
            Ok(LoginLockAttempt::Acquired(LoginLock { file }))
        }
        Err(TryLockError::WouldBlock) => {
            let mut note = String::new();
            // An unreadable note counts as not yet written.
            let _ = (&mut file).take(MAX_NOTE).read_to_string(&mut note);
            let url = note.strip_suffix('\n').filter(|url| url.starts_with("http")).map(ToOwned::to_owned);
            Ok(LoginLockAttempt::Held { url })
        }
        Err(TryLockError::Error(error)) => Err(io_error(path)(error)),
    }
}

impl LoginLock {
    /// Writes the URL for waiting processes. They wait even if this fails.
    pub fn share_url(&mut self, url: &str) {
        let _ = self.file.set_len(0);
        let _ = self.file.rewind();
        let _ = writeln!(self.file, "{url}");
    }
}

impl Drop for LoginLock {
    fn drop(&mut self) {
        // The URL is no longer useful.
        let _ = self.file.set_len(0);
    }
}

fn open(path: &Path) -> Result<File, HomeError> {
    platform::open_lock(path).map_err(|error| {
        if platform::is_link(&error) {
            HomeError::Link { path: path.display().to_string() }
        } else {
            io_error(path)(error)
        }
    })
}
