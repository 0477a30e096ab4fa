//! The rows of a shared database that hold its keys, each wrapped by a root key.

use std::path::Path;

use infra_shared::random;
use subtle::ConstantTimeEq;

use super::recovered_rows::RowRecovery;
use super::{DataKey, KeyError, RecoveryPublicKey, RootKeySettings, derivation, root};

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Seals rows and tickets. A rotation adds a version.
    Data,
    /// Makes the keyed columns. A rotation leaves it alone.
    Index,
}

/// A wrapped key. Nothing in it is secret: unwrapping needs the root key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    pub kind: KeyKind,
    pub version: u32,
    /// The id of the root key that wraps it.
    pub root_key: String,
    pub wrapped: Vec<u8>,
    /// A MAC under the key itself, over its store, kind and version. It detects a changed row.
    pub check: [u8; 32],
    /// The same key, wrapped for the recovery key if there is one.
    pub recovery: Option<Vec<u8>>,
}

/// The key rows of a store, as its database holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKeys {
    /// The unique id of the store. Every wrapping is bound to it.
    pub store: String,
    /// The version of the data key that new rows are sealed with.
    pub current: u32,
    pub rows: Vec<KeyRow>,
}

impl KeyKind {
    /// The stable name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Index => "index",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Data, Self::Index].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl StoredKeys {
    /// Makes the first keys of a new store, wrapped under the first of `root_keys`. Creates that root key if it is a native
    /// one and missing: a store that does not exist yet has no other.
    pub async fn create(root_keys: &[RootKeySettings], data_dir: &Path) -> Result<Self, KeyError> {
        root::first(root_keys).create_if_missing(data_dir)?;
        Self::create_for(&derivation::hex(&random::bytes::<16>()), None, root_keys, data_dir).await
    }

    /// Makes new keys for the store with this id, of which there is a copy. The recovery key of the copy opens them too. The first
    /// of `root_keys` has to exist.
    pub async fn create_for(
        store: &str,
        recovery: Option<&RecoveryPublicKey>,
        root_keys: &[RootKeySettings],
        data_dir: &Path,
    ) -> Result<Self, KeyError> {
        let mut rows = Vec::new();
        for kind in [KeyKind::Index, KeyKind::Data] {
            let key = DataKey::random();
            let mut row = KeyRow::wrap(store, kind, 1, &key, root_keys, data_dir).await?;
            row.recovery = recovery.map(|recovery| RowRecovery::wrap(recovery, store, &row, &key));
            rows.push(row);
        }
        Ok(Self { store: store.to_owned(), current: 1, rows })
    }

    /// The row of the index key of [`RowKeys::fixed`](super::RowKeys::fixed), for tests.
    #[cfg(test)]
    pub fn fixed() -> Self {
        let (root_key, wrapped) = ("native:none".to_owned(), vec![0]);
        let check = *super::RowKeys::fixed().index_check();
        let index = KeyRow { kind: KeyKind::Index, version: 1, root_key, wrapped, check, recovery: None };
        Self { store: "store of the tests".to_owned(), current: 1, rows: vec![index] }
    }

    /// The newest version of the data key. It is higher than the current one while a rotation is in progress.
    pub fn newest(&self) -> u32 {
        let data = self.rows.iter().filter(|row| row.kind == KeyKind::Data);
        data.map(|row| row.version).max().unwrap_or(self.current)
    }

    /// Whether there is a data key that a rotation has replaced.
    pub fn has_replaced(&self) -> bool {
        self.rows.iter().any(|row| row.kind == KeyKind::Data && row.version < self.current)
    }
}

impl KeyRow {
    pub(super) async fn wrap(
        store: &str,
        kind: KeyKind,
        version: u32,
        key: &DataKey,
        root_keys: &[RootKeySettings],
        data_dir: &Path,
    ) -> Result<Self, KeyError> {
        let (root_key, wrapped) =
            root::wrap_key(key, &context(store, kind, version), root_keys, data_dir).await?;
        let check = derivation::key_row_check(key, context(store, kind, version).as_bytes());
        Ok(Self { kind, version, root_key, wrapped, check, recovery: None })
    }

    pub(super) fn is_of(&self, store: &str, key: &DataKey) -> bool {
        let context = context(store, self.kind, self.version);
        derivation::key_row_check(key, context.as_bytes()).ct_eq(&self.check).into()
    }
}

/// The MAC in the row of the index key, of which there is one version.
pub(super) fn index_check(store: &str, key: &DataKey) -> [u8; 32] {
    derivation::key_row_check(key, context(store, KeyKind::Index, 1).as_bytes())
}

/// The context that wrappings are bound to. They do not unwrap for another store, kind or version.
pub(super) fn context(store: &str, kind: KeyKind, version: u32) -> String {
    format!("infra {} key v{version} of shared store {store}", kind.as_str())
}
