//! The key hierarchy: a root key wraps the data key, and every other key is derived from the data key.

mod aead;
#[cfg(feature = "aws")]
mod aws_kms;
mod derivation;
mod dry_run;
mod error;
mod header;
mod key_rows;
mod native;
mod next_data_key;
mod recovered_rows;
mod recovery;
mod root;
mod row_keys;
mod sealed;
mod shared_keys;
mod store_keys;
mod vault_transit;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use zeroize::Zeroizing;

#[cfg(feature = "aws")]
use crate::secrets::AWSSettings;
use crate::secrets::VaultSettings;
use header::Header;

pub use dry_run::{check, check_wrapped_by, id_in_source, is_unused, native_id, wrapping};
pub use error::{KeyError, creating_root_key};
pub use header::MovedStore;
pub use key_rows::{KeyKind, KeyRow, StoredKeys};
pub use next_data_key::{BackupKeys, NextDataKey, Opener, TICKET_LIFETIME};
pub use recovered_rows::{RecoveredRows, RewrappedRows};
pub use recovery::{RecoveryKey, RecoveryKeyError, RecoveryPublicKey};
pub use row_keys::{RowKeys, RowPlace, SealedRow};
pub use sealed::{DecryptError, FieldSealer, Place, Sealed, TicketKey};
pub use shared_keys::SharedKeys;
pub use store_keys::StoreKeys;

/// A root key. It wraps and unwraps data keys and never leaves its backend.
///
/// An implementation must authenticate what it wraps: unwrapping changed or foreign data fails. It must bind the
/// wrapping to `context` and bound every wait.
#[async_trait]
pub trait RootKey: Send + Sync {
    /// The public id of the key: its kind, a colon, and a name that is unique within the kind.
    fn id(&self) -> String;
    /// Whether a wrapping by the key with this id may be from this key.
    fn may_have_wrapped(&self, id: &str) -> bool;
    async fn wrap(&self, data_key: &DataKey, context: &str) -> Result<Vec<u8>, KeyError>;
    async fn unwrap(&self, wrapped: &[u8], context: &str) -> Result<DataKey, KeyError>;
}

/// Where a root key is, from the configuration.
#[derive(Debug, Clone)]
pub enum RootKeySettings {
    /// 32 random bytes in a file of mode 0400, outside the data directory, created once.
    Native { path: PathBuf },
    /// A symmetric key of AWS KMS, by its id, its alias or the ARN of either.
    #[cfg(feature = "aws")]
    AWSKMS { aws: AWSSettings, key_id: String },
    /// A key of a transit engine of Vault or OpenBao.
    Vault { server: VaultSettings, transit_mount: String, key: String },
}

/// The data key: 32 random bytes from which all other keys of a store are derived.
pub struct DataKey(Zeroizing<[u8; 32]>);

/// The keys of a database: the raw key of its file and the key of its digests.
pub struct DatabaseKey {
    file: Zeroizing<[u8; 32]>,
    digest: DigestKey,
}

/// The HMAC key of the session digests, which detect a rollback.
#[derive(Clone)]
pub struct DigestKey(aws_lc_rs::hmac::Key);

/// The unlocked keys of a store. Keys derived from them follow a rotation automatically.
pub struct Keys {
    data_dir: PathBuf,
    state: Mutex<State>,
    ticket_key: TicketKey,
    field_sealer: FieldSealer,
}

struct State {
    data_key: DataKey,
    header: Header,
    /// Wraps the data key.
    root_key: RootKeySettings,
}

/// Non-secret facts about the keys, for `status`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyStatus {
    pub store: String,
    pub data_key_version: u64,
    /// The id of the root key that wraps the data key.
    pub root_key: String,
    pub recovery_key_created_at: Option<Timestamp>,
}

/// The keys after a rewrap.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rewrapped {
    #[serde(flatten)]
    pub keys: KeyStatus,
    /// The id of the root key that wrapped the data key before.
    pub replaced_root_key: String,
}

impl Keys {
    /// Opens the keys of `data_dir` with the root key that wrapped them.
    ///
    /// If the directory has neither header nor database, creates the keys under the first root key. Nothing else creates a
    /// missing root key: with a mistyped path, it would replace the right one unnoticed.
    pub async fn open_or_create(data_dir: &Path, root_keys: &[RootKeySettings]) -> Result<Self, KeyError> {
        match Self::open(data_dir, root_keys).await? {
            Some(keys) => Ok(keys),
            None => Self::create(data_dir, root_keys).await,
        }
    }

    /// Opens the keys of `data_dir`; `None` if it has no key header.
    pub async fn open(data_dir: &Path, root_keys: &[RootKeySettings]) -> Result<Option<Self>, KeyError> {
        let Some(header) = Header::read(data_dir)? else { return Ok(None) };
        let header_path = header::path(data_dir).display().to_string();
        let (data_key, root_key) = root::unwrap(&header, &header_path, root_keys, data_dir).await?;
        Ok(Some(Self::of(data_dir, data_key, header, root_key)))
    }

    async fn create(data_dir: &Path, root_keys: &[RootKeySettings]) -> Result<Self, KeyError> {
        dry_run::expect_no_database(data_dir)?;
        let (data_key, mut header) = (DataKey::random(), Header::new());
        let root_key = root::first(root_keys);
        root_key.create_if_missing(data_dir)?;
        root::wrap(&mut header, &data_key, root_keys, data_dir).await?;
        header.sign(&data_key);
        header.replace(data_dir)?;
        Ok(Self::of(data_dir, data_key, header, root_key.clone()))
    }

    fn of(data_dir: &Path, data_key: DataKey, header: Header, root_key: RootKeySettings) -> Self {
        let field_sealer = FieldSealer::new(&derivation::sealed_field_key(&data_key));
        let previous = next_data_key::previous_ticket_key(&header, &field_sealer);
        let ticket_key = TicketKey::new(&derivation::ticket_key(&data_key), previous.as_deref());
        Self {
            data_dir: data_dir.to_owned(),
            state: Mutex::new(State { data_key, header, root_key }),
            ticket_key,
            field_sealer,
        }
    }

    /// The database's file name in the data directory.
    pub fn database_file(&self) -> String {
        self.state().header.database.clone()
    }

    pub fn database_key(&self) -> DatabaseKey {
        DatabaseKey::of(&self.state().data_key)
    }

    pub fn ticket_key(&self) -> TicketKey {
        self.ticket_key.clone()
    }

    pub fn field_sealer(&self) -> FieldSealer {
        self.field_sealer.clone()
    }

    pub fn status(&self) -> KeyStatus {
        let header = &self.state().header;
        KeyStatus {
            store: header.store.clone(),
            data_key_version: header.data_key_version,
            root_key: header.root_key.clone(),
            recovery_key_created_at: header.recovery.as_ref().map(|recovery| recovery.created_at),
        }
    }

    /// Where the root key is that wraps the data key.
    pub fn root_key(&self) -> RootKeySettings {
        self.state().root_key.clone()
    }

    /// Which shared database replaces the store; `None` if it is in use.
    pub fn moved(&self) -> Option<MovedStore> {
        self.state().header.moved.as_deref().cloned()
    }

    /// Records that a shared database replaces the store, or, with `None`, that it is in use again.
    pub fn set_moved(&self, moved: Option<MovedStore>) -> Result<(), KeyError> {
        self.change_header_of(&mut self.state(), |present| present.moved = moved.map(Box::new))
    }

    /// Identifies the header on disk.
    pub fn check_value(&self) -> String {
        self.state().header.check().to_owned()
    }

    /// Wraps the data key under the first of `root_keys`. The old wrapping stays valid until the header is replaced
    /// atomically.
    pub async fn rewrap(&self, root_keys: &[RootKeySettings]) -> Result<Rewrapped, KeyError> {
        let (mut header, data_key) = self.copy();
        root::wrap(&mut header, &data_key, root_keys, &self.data_dir).await?;
        let replaced_root_key = {
            let mut state = self.state();
            let replaced = state.header.root_key.clone();
            self.change_header_of(&mut state, |present| {
                present.root_key = header.root_key;
                present.wrapped_data_key = header.wrapped_data_key;
            })?;
            state.root_key = root::first(root_keys).clone();
            replaced
        };
        Ok(Rewrapped { keys: self.status(), replaced_root_key })
    }

    /// Creates a recovery key and replaces the old one. The key is available only in the return value.
    pub fn create_recovery(&self, now: Timestamp) -> Result<RecoveryKey, KeyError> {
        let (header, data_key) = self.copy();
        let (key, public_key) = recovery::create(now);
        let wrapping = public_key.wrap(&data_key, &header.context());
        self.change_header_of(&mut self.state(), |present| present.recovery = Some(wrapping))?;
        Ok(key)
    }

    /// The recovery key's public part, for a copy of the store.
    pub fn recovery_public_key(&self) -> Option<RecoveryPublicKey> {
        self.state().header.recovery.as_ref().map(RecoveryPublicKey::of)
    }

    fn copy(&self) -> (Header, DataKey) {
        let state = self.state();
        (state.header.clone(), DataKey(state.data_key.0.clone()))
    }

    /// Changes the header, first on disk, then in memory.
    fn change_header_of(&self, state: &mut State, change: impl FnOnce(&mut Header)) -> Result<(), KeyError> {
        let mut header = state.header.clone();
        change(&mut header);
        header.sign(&state.data_key);
        header.replace(&self.data_dir)?;
        state.header = header;
        Ok(())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that the recovery key unwraps the data key of `data_dir`. Changes nothing and needs no root key.
pub fn test_recovery(data_dir: &Path, key: &RecoveryKey) -> Result<(), KeyError> {
    recover(data_dir, key).map(drop)
}

/// Unwraps the data key of `data_dir` with the recovery key and wraps it under the first of `root_keys`. The old root
/// key is then no longer needed. The caller must hold the lock of the data directory.
pub async fn rewrap_recovered(
    data_dir: &Path,
    key: &RecoveryKey,
    root_keys: &[RootKeySettings],
) -> Result<Rewrapped, KeyError> {
    let (header, data_key) = recover(data_dir, key)?;
    let keys = Keys::of(data_dir, data_key, header, root::first(root_keys).clone());
    keys.rewrap(root_keys).await
}

fn recover(data_dir: &Path, key: &RecoveryKey) -> Result<(Header, DataKey), KeyError> {
    let header_path = header::path(data_dir).display().to_string();
    let header = Header::read(data_dir)?.ok_or_else(|| KeyError::NoRecovery { path: header_path.clone() })?;
    let data_key = recovery::open(&header, &header_path, key)?;
    Ok((header, data_key))
}

/// Checks that one of `root_keys` unwraps the data key of `data_dir`. Returns `None` if there is no data yet.
pub async fn test_unwrapping(data_dir: &Path, root_keys: &[RootKeySettings]) -> Result<Option<()>, KeyError> {
    Ok(Keys::open(data_dir, root_keys).await?.map(drop))
}

impl DatabaseKey {
    fn of(data_key: &DataKey) -> Self {
        Self { file: derivation::database_key(data_key), digest: derivation::digest_key(data_key) }
    }

    /// The database key in a backup. The file key differs, the digest key is the same.
    fn of_backup(data_key: &DataKey) -> Self {
        Self { file: derivation::backup_key(data_key), digest: derivation::digest_key(data_key) }
    }

    /// The raw bytes, only for opening the database.
    pub fn expose(&self) -> &[u8; 32] {
        &self.file
    }

    pub fn digest_key(&self) -> &DigestKey {
        &self.digest
    }
}

impl DigestKey {
    pub fn mac(&self, text: &[u8]) -> [u8; 32] {
        derivation::tag(&self.0, text)
    }
}

#[cfg(test)]
mod tests;
