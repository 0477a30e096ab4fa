//! Finds problems of the files without changing, moving, locking or creating anything.

use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::directory::{check_metadata, check_owner, check_parent_owner};
use super::document::{MAX_BYTES, VERSION, VersionOnly};
use super::{Home, HomeError, State, io_error};
use crate::platform::{self, Openness};

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
        "{path} is accessible to other users ({openness}): the next command corrects it, if the file system supports {}",
        platform::ACCESS_CONTROL
    )]
    Open { path: String, openness: Openness },
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
        if let Err(reason) = platform::check_writable(home) {
            let path = home.display().to_string();
            self.problems.push(Problem::ReadOnly { path, reason });
        }
        let mut files = 0;
        for entry in fs::read_dir(home).map_err(io_error(home))?.flatten() {
            let path = entry.path();
            let Ok(metadata) = path.symlink_metadata() else { continue };
            files += 1;
            match check_owner(&path, &metadata) {
                Err(error) => self.problems.push(error.into()),
                Ok(()) if metadata.is_file() => self.check_access(&path, &metadata),
                Ok(()) => {}
            }
        }
        self.files = Some(files);
        self.state.config = self.read(&home.join("config.json"));
        self.state.sessions = self.read(&home.join("sessions.json"));
        Ok(())
    }

    fn check_access(&mut self, path: &Path, metadata: &Metadata) {
        match platform::open_to_others(path, metadata) {
            Ok(Some(openness)) => {
                self.problems.push(Problem::Open { path: path.display().to_string(), openness });
            }
            Ok(None) => {}
            Err(error) => self.problems.push(io_error(path)(error).into()),
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
    let file = match platform::open_without_waiting(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound || platform::is_link(&error) => {
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
