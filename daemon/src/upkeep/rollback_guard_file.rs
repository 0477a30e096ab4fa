//! The rollback guard's file: the last seen counter of each store.
//!
//! It is next to the root key, outside the data directory, so that the next start detects a rolled back data
//! directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::platform::{self, PlatformError};

const MAX_BYTES: usize = 64 * 1024;

/// The file with a counter per store; no path if the configuration disables it.
#[derive(Debug, Clone)]
pub struct RollbackGuardFile {
    path: Option<PathBuf>,
}

impl RollbackGuardFile {
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether the file contains any store.
    pub fn knows_any(&self) -> Result<bool, PlatformError> {
        Ok(!self.read_all()?.is_empty())
    }

    /// Returns the last recorded counter of `store`; `None` if there is none.
    pub fn read(&self, store: &str) -> Result<Option<u64>, PlatformError> {
        Ok(self.read_all()?.get(store).copied())
    }

    /// Whether the file can be read and replaced. Makes nothing.
    pub fn check_access(&self) -> Result<(), PlatformError> {
        self.read_all()?;
        self.path.as_deref().map_or(Ok(()), platform::check_file_place_or_created)
    }

    /// Records the counter of `store`. Never lowers it.
    pub fn raise(&self, store: &str, counter: u64) -> Result<(), PlatformError> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut counters = self.read_all()?;
        if counters.get(store).is_some_and(|seen| *seen >= counter) {
            return Ok(());
        }
        counters.insert(store.to_owned(), counter);
        if let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) {
            platform::ensure_private_directory(parent)?;
        }
        platform::replace_file(path, &serde_json::to_vec(&counters).expect("plain JSON"), 0o600)
    }

    fn read_all(&self) -> Result<BTreeMap<String, u64>, PlatformError> {
        let Some(path) = &self.path else { return Ok(BTreeMap::new()) };
        let contents = match platform::read_private_file(path, MAX_BYTES) {
            Err(error) if error.is_not_found() => return Ok(BTreeMap::new()),
            contents => contents?,
        };
        serde_json::from_slice(&contents).map_err(|error| PlatformError::Io {
            path: path.display().to_string(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
        })
    }
}
