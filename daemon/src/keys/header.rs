//! `dataDir/keys.json`: the wrapped data key, how to recognise it, and which database file it is for.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::KeyError;
use crate::platform;

const VERSION: u32 = 1;
const DATABASE: &str = "infrad.db";
/// A header has a few hundred bytes.
const MAX_BYTES: usize = 64 * 1024;

/// What `keys.json` says. Nothing in it is secret; the wrapped data key opens with the root key only.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Header {
    version: u32,
    pub(super) root_key: String,
    wrapped_data_key: String,
    pub(super) check: String,
    /// A file name in the data directory.
    pub(super) database: String,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("keys.json")
}

/// The name of a database in `data_dir`, if there is one.
pub(super) fn find_database(data_dir: &Path) -> Result<Option<String>, KeyError> {
    let failed = |source| platform::PlatformError::Io { path: data_dir.display().to_string(), source };
    for entry in std::fs::read_dir(data_dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if Path::new(&name).extension().is_some_and(|extension| extension == "db") {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

impl Header {
    pub(super) fn new(root_key: String, check: String) -> Self {
        Self {
            version: VERSION,
            root_key,
            wrapped_data_key: String::new(),
            check,
            database: DATABASE.to_owned(),
        }
    }

    pub(super) fn read(data_dir: &Path) -> Result<Option<Self>, KeyError> {
        let path = path(data_dir);
        let contents = match platform::read_private_file(&path, MAX_BYTES) {
            Ok(contents) => contents,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let name = path.display().to_string();
        let VersionOnly { version } =
            serde_json::from_slice(&contents).map_err(|_| KeyError::HeaderDamaged { path: name.clone() })?;
        if version > VERSION {
            return Err(KeyError::HeaderNewer { path: name, version, known: VERSION });
        }
        let header: Self =
            serde_json::from_slice(&contents).map_err(|_| KeyError::HeaderDamaged { path: name.clone() })?;
        let is_file_name = Path::new(&header.database).file_name() == Some(header.database.as_ref());
        if !is_file_name {
            return Err(KeyError::HeaderDamaged { path: name });
        }
        Ok(Some(header))
    }

    pub(super) fn create(&self, data_dir: &Path) -> Result<(), KeyError> {
        let text = serde_json::to_vec_pretty(self).expect("a header is plain JSON");
        // Written beside and renamed: a header is whole, or it is not there.
        Ok(platform::replace_file(&path(data_dir), &text, 0o600)?)
    }

    pub(super) fn wrapped_data_key(&self) -> Option<Vec<u8>> {
        BASE64_STANDARD.decode(&self.wrapped_data_key).ok()
    }

    pub(super) fn set_wrapped_data_key(&mut self, wrapped: &[u8]) {
        self.wrapped_data_key = BASE64_STANDARD.encode(wrapped);
    }

    /// What the wrapping is bound to: taken to another header, it does not open.
    pub(super) fn context(&self) -> String {
        format!("infra data key v{} of {}", self.version, self.database)
    }
}
