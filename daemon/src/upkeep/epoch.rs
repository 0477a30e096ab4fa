//! The epoch file: how new the data was when it was last seen. It lies beside the root key, outside the data directory,
//! so that a data directory that was rolled back is noticed at the next start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::platform::{self, PlatformError};

const MAX_BYTES: usize = 64 * 1024;

/// The file, which holds a number for each store; or none, where the configuration gives up on it.
#[derive(Debug, Clone)]
pub struct EpochFile {
    path: Option<PathBuf>,
}

impl EpochFile {
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    /// The file, where there is to be one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Whether any store was ever seen.
    pub fn knows_any(&self) -> Result<bool, PlatformError> {
        Ok(!self.read_all()?.is_empty())
    }

    /// The epoch at which this store was last seen; `None` where it never was.
    pub fn read(&self, store: &str) -> Result<Option<u64>, PlatformError> {
        Ok(self.read_all()?.get(store).copied())
    }

    /// Writes down that this store was seen at `epoch`; never a smaller one than before.
    pub fn raise(&self, store: &str, epoch: u64) -> Result<(), PlatformError> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut epochs = self.read_all()?;
        if epochs.get(store).is_some_and(|seen| *seen >= epoch) {
            return Ok(());
        }
        epochs.insert(store.to_owned(), epoch);
        if let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) {
            platform::ensure_private_directory(parent)?;
        }
        platform::replace_file(path, &serde_json::to_vec(&epochs).expect("plain JSON"), 0o600)
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
