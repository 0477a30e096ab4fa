//! `dataDir/keys.json`: the wrapped data key, its check value, and the name of the database file.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use infra_shared::random;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::{DataKey, KeyError, derivation};
use crate::platform;

const VERSION: u32 = 1;
/// A real header has a few hundred bytes.
pub(super) const MAX_BYTES: usize = 64 * 1024;

/// The contents of `keys.json`. Nothing is secret: unwrapping the data key needs the root key or the recovery key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Header {
    version: u32,
    /// The unique id of the store. Every wrapping is bound to it.
    pub(super) store: String,
    /// The version of the data key, starting at 1.
    pub(super) data_key_version: u64,
    /// The database's file name in the data directory.
    pub(super) database: String,
    /// The id of the root key that wraps the data key.
    pub(super) root_key: String,
    pub(super) wrapped_data_key: Bytes,
    pub(super) recovery: Option<RecoveryWrapping>,
    pub(super) previous_ticket_key: Option<PreviousTicketKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) moved: Option<Box<MovedStore>>,
    /// The MAC of all other fields. It identifies the data key and detects a changed header.
    check: String,
}

/// The data key wrapped for the recovery key. This needs only the public key, so a rotation can rewrap without the
/// printed private key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RecoveryWrapping {
    pub(super) public_key: Bytes,
    pub(super) encapsulated_secret: Bytes,
    pub(super) wrapped_data_key: Bytes,
    pub(super) created_at: Timestamp,
}

/// The ticket key from before the last rotation, sealed under the current data key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PreviousTicketKey {
    pub(super) sealed: Bytes,
    pub(super) until: Timestamp,
}

/// Which shared database replaces the store, and since when. The database is named for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MovedStore {
    pub to: String,
    pub at: Timestamp,
}

/// Bytes, stored as Base64.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bytes(pub(super) Vec<u8>);

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("keys.json")
}

/// Lists the names of all databases in `data_dir`.
pub(super) fn find_databases(data_dir: &Path) -> Result<Vec<String>, KeyError> {
    let failed = |source| platform::PlatformError::Io { path: data_dir.display().to_string(), source };
    let mut found = Vec::new();
    let entries = match std::fs::read_dir(data_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        entries => entries.map_err(failed)?,
    };
    for entry in entries {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if Path::new(&name).extension().is_some_and(|extension| extension == "db") {
            found.push(name);
        }
    }
    Ok(found)
}

/// The database's file name for a data key version.
pub(super) fn database_of(data_key_version: u64) -> String {
    match data_key_version {
        1 => "infrad.db".to_owned(),
        later => format!("infrad-{later}.db"),
    }
}

impl Header {
    /// Creates the header of a new store, without a wrapping.
    pub(super) fn new() -> Self {
        Self::of_store(derivation::hex(&random::bytes::<16>()), 1)
    }

    /// Creates the header of a copy of a store, without a wrapping.
    pub(super) fn of_store(store: String, data_key_version: u64) -> Self {
        Self {
            version: VERSION,
            store,
            data_key_version,
            database: database_of(data_key_version),
            root_key: String::new(),
            wrapped_data_key: Bytes::default(),
            recovery: None,
            previous_ticket_key: None,
            moved: None,
            check: String::new(),
        }
    }

    /// Creates the header for another data key of the same store, without a wrapping.
    pub(super) fn with_data_key_version(&self, data_key_version: u64) -> Self {
        Self {
            data_key_version,
            database: database_of(data_key_version),
            wrapped_data_key: Bytes::default(),
            recovery: None,
            previous_ticket_key: None,
            moved: None,
            ..self.clone()
        }
    }

    pub(super) fn read(data_dir: &Path) -> Result<Option<Self>, KeyError> {
        let path = path(data_dir);
        let contents = match platform::read_private_file(&path, MAX_BYTES) {
            Ok(contents) => contents,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Self::parse(&contents, &path.display().to_string()).map(Some)
    }

    /// Parses a header. `header_path` names its source in errors.
    pub(super) fn parse(contents: &[u8], header_path: &str) -> Result<Self, KeyError> {
        let damaged = || KeyError::HeaderDamaged { path: header_path.to_owned() };
        let VersionOnly { version } = serde_json::from_slice(contents).map_err(|_| damaged())?;
        if version > VERSION {
            return Err(KeyError::HeaderNewer { path: header_path.to_owned(), version, known: VERSION });
        }
        let header: Self = serde_json::from_slice(contents).map_err(|_| damaged())?;
        // Accept only the expected name, so that the file cannot point outside the data directory.
        let is_named = header.database == database_of(header.data_key_version);
        if is_named { Ok(header) } else { Err(damaged()) }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a header is plain JSON")
    }

    /// Replaces the header on disk. This is the commit point of every key change.
    pub(super) fn replace(&self, data_dir: &Path) -> Result<(), KeyError> {
        // Atomic: a temporary file is renamed, so the header is never partial.
        Ok(platform::replace_file(&path(data_dir), &self.to_json(), 0o600)?)
    }

    /// The context that wrappings are bound to. They do not unwrap for another store or data key version.
    pub(super) fn context(&self) -> String {
        format!("infra data key v{} of store {}", self.data_key_version, self.store)
    }

    /// Sets the check value for this data key and header.
    pub(super) fn sign(&mut self, data_key: &DataKey) {
        self.check = derivation::hex(&derivation::header_check(data_key, &self.signed()));
    }

    /// The check value, which identifies the data key and everything in the header.
    pub(super) fn check(&self) -> &str {
        &self.check
    }

    /// Whether `data_key` belongs to this header and the header is unchanged.
    pub(super) fn is_signed_by(&self, data_key: &DataKey) -> bool {
        let check = derivation::hex(&derivation::header_check(data_key, &self.signed()));
        bool::from(check.as_bytes().ct_eq(self.check.as_bytes()))
    }

    fn signed(&self) -> Vec<u8> {
        Self { check: String::new(), ..self.clone() }.to_json()
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map(Self).map_err(|_| serde::de::Error::custom("not Base64"))
    }
}
