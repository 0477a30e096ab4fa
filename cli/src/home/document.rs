//! One JSON file: read as a whole, replaced as a whole, and moved away if damaged.

use std::fs;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::directory::{check_owner, warn_tightened};
use super::{HomeError, io_error};
use crate::platform;
use crate::terminal::Terminal;

/// Room for thousands of servers.
pub(super) const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// A file that contains a `T`.
pub(super) struct Document<T> {
    path: PathBuf,
    terminal: Terminal,
    contents: PhantomData<T>,
}

/// The file exists but does not contain a valid `T`.
#[derive(Debug)]
pub(super) struct Damaged;

/// Name prefix of files that are being written.
const UNFINISHED: &str = ".new-";

/// Removes unfinished files of killed processes, because they may contain tokens. Requires the lock.
pub(super) fn remove_unfinished(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            // A failed removal is retried at the next change.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Format version of every file.
pub(super) const VERSION: u32 = 1;

#[derive(serde::Deserialize)]
pub(super) struct VersionOnly {
    pub(super) version: u32,
}

/// The contents, if the file exists, is valid and belongs to this user.
pub(super) fn read_lossy<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let file = platform::open_without_waiting(path).ok()?;
    let metadata = file.metadata().ok()?;
    check_owner(path, &metadata).ok()?;
    let mut text = Vec::new();
    let is_whole = metadata.is_file() && file.take(MAX_BYTES).read_to_end(&mut text).is_ok();
    is_whole.then(|| serde_json::from_slice(&text).ok())?
}

impl<T: Serialize + DeserializeOwned + Default> Document<T> {
    pub(super) fn new(path: PathBuf, terminal: Terminal) -> Self {
        Self { path, terminal, contents: PhantomData }
    }

    /// The contents, or the default if the file does not exist.
    pub(super) fn read(&self) -> Result<Result<T, Damaged>, HomeError> {
        let Some(text) = self.read_text()? else { return Ok(Ok(T::default())) };
        if let Ok(VersionOnly { version }) = serde_json::from_slice(&text)
            && version > VERSION
        {
            return Err(HomeError::Newer { path: self.name(), version });
        }
        Ok(serde_json::from_slice(&text).map_err(|_| Damaged))
    }

    /// As [`read`](Self::read), but renames a damaged file, warns, and returns the default. Requires the lock, so that
    /// a file that was repaired meanwhile is not moved.
    pub(super) fn read_or_set_aside(&self) -> Result<T, HomeError> {
        if let Ok(contents) = self.read()? {
            Ok(contents)
        } else {
            let aside = self.unused_name()?;
            fs::rename(&self.path, &aside).map_err(io_error(&self.path))?;
            self.terminal.warn(&format!(
                "{} was damaged: it is kept as {}, and a new file was started",
                self.name(),
                aside.display()
            ));
            Ok(T::default())
        }
    }

    pub(super) fn write_if_changed(&self, before: &T, after: &T) -> Result<(), HomeError> {
        let text = |contents: &T| serde_json::to_vec_pretty(contents).expect("records are plain JSON");
        let new = text(after);
        if new == text(before) {
            return Ok(());
        }
        self.write(&new).map_err(io_error(&self.path))
    }

    /// Writes a temporary file with the final mode, flushes it and renames it into place.
    fn write(&self, text: &[u8]) -> io::Result<()> {
        let directory = self.path.parent().expect("a file in the directory");
        let mut temporary = platform::temporary_beside(directory, UNFINISHED)?;
        temporary.write_all(text)?;
        temporary.write_all(b"\n")?;
        platform::replace(temporary, &self.path)
    }

    fn read_text(&self) -> Result<Option<Vec<u8>>, HomeError> {
        let file = match platform::open_without_waiting(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if platform::is_link(&error) => return Err(HomeError::Link { path: self.name() }),
            Err(error) => return Err(io_error(&self.path)(error)),
        };
        // Of the open file, so that the checked file is the one that is read.
        let metadata = file.metadata().map_err(io_error(&self.path))?;
        check_owner(&self.path, &metadata)?;
        if !metadata.is_file() {
            return Err(HomeError::OtherKind { path: self.name(), expected: "a file" });
        }
        if platform::open_to_others(&self.path, &metadata).map_err(io_error(&self.path))?.is_some() {
            let is_private = platform::tighten(&self.path, &file);
            let what =
                format!("was readable by other users: now only you have access{}", platform::FILE_ALONE);
            warn_tightened(&self.path, &what, is_private, self.terminal);
        }
        let mut text = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(io_error(&self.path))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(HomeError::TooLarge { path: self.name() });
        }
        Ok(Some(text))
    }

    /// An unused name in the same directory.
    fn unused_name(&self) -> Result<PathBuf, HomeError> {
        (1..1000)
            .map(|number| self.path.with_extension(format!("json.damaged-{number}")))
            .find(|path| !exists(path))
            .ok_or_else(|| {
                io_error(&self.path)(io::Error::other("there are a thousand damaged copies of it already"))
            })
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
