//! Finds problems of the files without changing, moving, locking or creating anything.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Access, OFlags};
use serde::de::DeserializeOwned;

use super::directory::{check_metadata, check_owner, check_parent_owner};
use super::document::{MAX_BYTES, VERSION, VersionOnly};
use super::{Home, HomeError, State, io_error};

/// Result of an inspection.
#[derive(Debug, Default)]
pub struct Inspection {
    /// The readable part of the stored data.
    pub state: State,
    /// Number of files, or `None` if the directory does not exist.
    pub files: Option<usize>,
    pub problems: Vec<Problem>,
}

/// A problem of the files.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error(transparent)]
    Unusable(#[from] HomeError),
    #[error(
        "{path} is accessible to other users (mode {mode:04o} instead of 0600): the next command corrects it, if the file system supports modes"
    )]
    Open { path: String, mode: u32 },
    #[error("{path} is damaged: the next command renames it and starts a new file")]
    Damaged { path: String },
    #[error("{path} cannot be written: {reason}")]
    ReadOnly { path: String, reason: io::Error },
}

impl Home {
    /// Checks everything and changes nothing.
    pub fn inspect(&self) -> Inspection {
        let mut inspection = Inspection::default();
        if let Err(problem) = inspection.check_files(&self.path) {
            inspection.problems.push(problem);
        }
        inspection
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Inspection {
    fn check_files(&mut self, home: &Path) -> Result<(), Problem> {
        let metadata = match home.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(check_parent_owner(home)?),
            Err(error) => return Err(io_error(home)(error).into()),
        };
        check_metadata(home, &metadata)?;
        if let Err(error) = rustix::fs::access(home, Access::WRITE_OK | Access::EXEC_OK) {
            let path = home.display().to_string();
            self.problems.push(Problem::ReadOnly { path, reason: error.into() });
        }
        let mut files = 0;
        for entry in fs::read_dir(home).map_err(io_error(home))?.flatten() {
            let path = entry.path();
            let Ok(metadata) = path.symlink_metadata() else { continue };
            files += 1;
            match check_owner(&path, &metadata) {
                Err(error) => self.problems.push(error.into()),
                Ok(()) if metadata.is_file() => self.check_mode(&path, &metadata),
                Ok(()) => {}
            }
        }
        self.files = Some(files);
        self.state.config = self.read(&home.join("config.json"));
        self.state.sessions = self.read(&home.join("sessions.json"));
        Ok(())
    }

    fn check_mode(&mut self, path: &Path, metadata: &Metadata) {
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            self.problems.push(Problem::Open { path: path.display().to_string(), mode });
        }
    }

    fn read<T: DeserializeOwned + Default>(&mut self, path: &Path) -> T {
        read(path).unwrap_or_else(|problem| {
            self.problems.extend(problem);
            T::default()
        })
    }
}

/// Reads a file. `Err(None)` if it does not exist or was already reported.
fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T, Option<Problem>> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file: File = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(None);
        }
        Err(error) => return Err(Some(io_error(path)(error).into())),
    };
    let name = || path.display().to_string();
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(Some(HomeError::OtherKind { path: name(), expected: "a file" }.into()));
    }
    let mut text = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(|error| Some(io_error(path)(error).into()))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Some(HomeError::TooLarge { path: name() }.into()));
    }
    match serde_json::from_slice(&text) {
        Ok(VersionOnly { version }) if version > VERSION => {
            Err(Some(HomeError::Newer { path: name(), version }.into()))
        }
        _ => serde_json::from_slice(&text).map_err(|_| Some(Problem::Damaged { path: name() })),
    }
}
