//! `file:PATH`: a file that only its owner can read.

use std::path::{Component, Path, PathBuf};

use async_trait::async_trait;

use super::encoding::{Encoding, decode};
use super::{ReadError, SecretBackend, Stored};
use crate::platform::{self, PlatformError, blocking};

/// Larger than any client secret.
const MAX_BYTES: usize = 64 * 1024;

pub(super) struct File {
    /// If set, names are file names in this directory.
    pub(super) directory: Option<PathBuf>,
    pub(super) encoding: Option<Encoding>,
}

#[async_trait]
impl SecretBackend for File {
    fn check_name(&self, name: &str) -> Result<(), String> {
        let path = Path::new(name);
        match &self.directory {
            None if path.is_absolute() => Ok(()),
            None => Err("write an absolute path after `file:`, such as `file:/run/secrets/okta`".to_owned()),
            Some(directory) => {
                let stays_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
                if stays_inside && !name.is_empty() {
                    Ok(())
                } else {
                    Err(format!("for this backend, write the name of a file in {}", directory.display()))
                }
            }
        }
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.directory.as_ref().map_or_else(|| name.into(), |directory| directory.join(name)))
    }

    async fn read(&self, name: &str) -> Result<Stored, ReadError> {
        let path = self.directory.as_ref().map_or_else(|| name.into(), |directory| directory.join(name));
        let encoding = self.encoding;
        // A file system may be slow, especially a network one.
        blocking(move || read(&path, encoding)).await
    }

    fn is_local(&self) -> bool {
        true
    }
}

fn read(path: &Path, encoding: Option<Encoding>) -> Result<Stored, ReadError> {
    let contents = platform::read_private_file(path, MAX_BYTES).map_err(|error| match &error {
        _ if error.is_not_found() => ReadError::NotFound(error.to_string()),
        PlatformError::Io { source, .. } if source.kind() != std::io::ErrorKind::PermissionDenied => {
            ReadError::Unreachable(error.to_string())
        }
        PlatformError::TooLarge { .. } => ReadError::Malformed(error.to_string()),
        _ => ReadError::NotAllowed(error.to_string()),
    })?;
    decode(&contents, encoding, &path.display().to_string())
}
