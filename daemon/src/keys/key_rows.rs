//! The keys of a shared database: rows that a root key wraps, and that every member opens.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use infra_shared::random;
use subtle::ConstantTimeEq;

use super::row_keys::RowKeys;
use super::sealed::{FieldSealer, TicketKey};
use super::{DataKey, KeyError, KeyStatus, RootKeySettings, check_wrapped_by, derivation, root};

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
}

/// The key rows of a store, as its database holds them.
#[derive(Debug, Clone)]
pub struct StoredKeys {
    /// The unique id of the store. Every wrapping is bound to it.
    pub store: String,
    /// The version of the data key that new rows are sealed with.
    pub current: u32,
    pub rows: Vec<KeyRow>,
}

/// The unlocked keys of a shared database.
pub struct SharedKeys {
    stored: StoredKeys,
    /// Names the database in errors.
    origin: String,
    row_keys: Arc<RowKeys>,
    ticket_key: TicketKey,
    field_sealer: FieldSealer,
    /// Where the root key is that wraps the current data key.
    root_key: RootKeySettings,
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
        let store = derivation::hex(&random::bytes::<16>());
        let mut rows = Vec::new();
        for kind in [KeyKind::Index, KeyKind::Data] {
            rows.push(KeyRow::wrap(&store, kind, 1, &DataKey::random(), root_keys, data_dir).await?);
        }
        Ok(Self { store, current: 1, rows })
    }
}

impl KeyRow {
    async fn wrap(
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
        Ok(Self { kind, version, root_key, wrapped, check })
    }

    fn is_of(&self, store: &str, key: &DataKey) -> bool {
        let context = context(store, self.kind, self.version);
        derivation::key_row_check(key, context.as_bytes()).ct_eq(&self.check).into()
    }
}

impl SharedKeys {
    /// Unwraps all keys of a store. `origin` names the database in errors.
    pub async fn open(
        stored: StoredKeys,
        origin: &str,
        root_keys: &[RootKeySettings],
        data_dir: &Path,
    ) -> Result<Self, KeyError> {
        let damaged = || KeyError::HeaderDamaged { path: origin.to_owned() };
        let (mut index, mut data, mut root_key) = (None, BTreeMap::new(), None);
        for row in &stored.rows {
            let is_of = |key: &DataKey| row.is_of(&stored.store, key);
            let wrapping = root::Wrapping {
                origin,
                root_key: &row.root_key,
                wrapped: &row.wrapped,
                context: context(&stored.store, row.kind, row.version),
                has_recovery: false,
                is_of: &is_of,
            };
            let (key, wrapped_by) = root::unwrap_key(&wrapping, root_keys, data_dir).await?;
            match row.kind {
                KeyKind::Index => index = Some(key),
                KeyKind::Data => {
                    if row.version == stored.current {
                        root_key = Some(wrapped_by);
                    }
                    data.insert(row.version, key);
                }
            }
        }
        let (Some(index), Some(root_key)) = (index, root_key) else { return Err(damaged()) };
        let row_keys = Arc::new(RowKeys::new(&stored.store, &index, stored.current, &data));
        let (ticket_key, field_sealer) = Self::derive(stored.current, &data).ok_or_else(damaged)?;
        let origin = origin.to_owned();
        Ok(Self { stored, origin, row_keys, ticket_key, field_sealer, root_key })
    }

    /// The keys of tickets and of sealed fields. Those sealed under the version before the current one still open.
    fn derive(current: u32, data: &BTreeMap<u32, DataKey>) -> Option<(TicketKey, FieldSealer)> {
        let present = data.get(&current)?;
        let previous = data.range(..current).next_back().map(|(_, key)| derivation::ticket_key(key));
        let tickets = TicketKey::new(&derivation::ticket_key(present), previous.as_deref());
        let others = data.iter().filter(|(version, _)| **version != current);
        let others: Vec<_> = others.map(|(_, key)| derivation::sealed_field_key(key)).collect();
        Some((tickets, FieldSealer::with_others(&derivation::sealed_field_key(present), &others)))
    }

    /// Seals rows, for the store.
    pub fn row_keys(&self) -> Arc<RowKeys> {
        Arc::clone(&self.row_keys)
    }

    pub fn ticket_key(&self) -> TicketKey {
        self.ticket_key.clone()
    }

    pub fn field_sealer(&self) -> FieldSealer {
        self.field_sealer.clone()
    }

    /// Where the root key is that wraps the current data key.
    pub fn root_key(&self) -> RootKeySettings {
        self.root_key.clone()
    }

    /// Whether a start with these root keys could open the keys, as far as that can be decided without a network.
    pub fn check(&self, data_dir: &Path, root_keys: &[RootKeySettings]) -> Result<(), KeyError> {
        check_wrapped_by(&self.status().root_key, &self.origin, data_dir, root_keys)
    }

    pub fn status(&self) -> KeyStatus {
        let is_current = |row: &&KeyRow| row.kind == KeyKind::Data && row.version == self.stored.current;
        KeyStatus {
            store: self.stored.store.clone(),
            data_key_version: self.stored.current.into(),
            root_key: self
                .stored
                .rows
                .iter()
                .find(is_current)
                .map_or_else(String::new, |it| it.root_key.clone()),
            recovery_key_created_at: None,
        }
    }
}

/// The context that wrappings are bound to. They do not unwrap for another store, kind or version.
fn context(store: &str, kind: KeyKind, version: u32) -> String {
    format!("infra {} key v{version} of shared store {store}", kind.as_str())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::keys::RowPlace;

    const ORIGIN: &str = "database infra on db1";

    struct Place {
        directory: tempfile::TempDir,
        root_keys: Vec<RootKeySettings>,
    }

    impl Place {
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let path = directory.path().join("root.key");
            Self { root_keys: vec![RootKeySettings::Native { path }], directory }
        }

        fn data_dir(&self) -> PathBuf {
            self.directory.path().join("data")
        }

        async fn open(&self, stored: StoredKeys) -> Result<SharedKeys, KeyError> {
            SharedKeys::open(stored, ORIGIN, &self.root_keys, &self.data_dir()).await
        }
    }

    #[tokio::test]
    async fn members_with_the_root_key_open_the_same_keys() {
        let place = Place::new();
        let stored = StoredKeys::create(&place.root_keys, &place.data_dir()).await.expect("keys");
        let one = place.open(stored.clone()).await.expect("the keys");
        let other = place.open(stored).await.expect("the keys");
        let at = RowPlace { table: "sessions", ..RowPlace::default() };
        let row = one.row_keys().seal(&at, b"alice");
        assert_eq!(other.row_keys().open(&at, &row).expect("the same key").as_slice(), b"alice");
        assert_eq!(one.row_keys().subject_key("a"), other.row_keys().subject_key("a"));
        let ticket = one.ticket_key().seal(b"ticket");
        assert_eq!(other.ticket_key().open(&ticket).expect("the same key").as_slice(), b"ticket");
        let field = super::super::Place { table: "t", row: "r", column: "c", version: 1 };
        let sealed = one.field_sealer().seal(field, b"field");
        assert_eq!(other.field_sealer().open(field, &sealed).expect("the same key").as_slice(), b"field");
    }

    #[tokio::test]
    async fn changed_key_rows_do_not_open() {
        let place = Place::new();
        let stored = StoredKeys::create(&place.root_keys, &place.data_dir()).await.expect("keys");
        let changes: [fn(&mut StoredKeys); 6] = [
            |keys| keys.store = "another".to_owned(),
            |keys| keys.current = 2,
            |keys| keys.rows.truncate(1),
            |keys| keys.rows.iter_mut().for_each(|row| row.version = 2),
            |keys| keys.rows.iter_mut().for_each(|row| row.check = [0; 32]),
            |keys| {
                keys.rows.iter_mut().for_each(|row| {
                    row.kind = if row.kind == KeyKind::Data { KeyKind::Index } else { KeyKind::Data };
                });
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = stored.clone();
            change(&mut changed);
            let error = place.open(changed).await.err().expect("it does not open");
            assert!(
                matches!(&error, KeyError::HeaderDamaged { path } if path == ORIGIN),
                "{number}: {error}"
            );
        }
        let other = Place::new();
        StoredKeys::create(&other.root_keys, &other.data_dir()).await.expect("another root key");
        let error = other.open(stored).await.err().expect("another root key");
        assert!(matches!(error, KeyError::OtherRootKey { .. }), "{error}");
    }

    #[tokio::test]
    async fn older_fields_and_tickets_open_after_a_rotation() {
        let place = Place::new();
        let mut stored = StoredKeys::create(&place.root_keys, &place.data_dir()).await.expect("keys");
        let before = place.open(stored.clone()).await.expect("the keys");
        let field = super::super::Place { table: "t", row: "r", column: "c", version: 1 };
        let (sealed, ticket) = (before.field_sealer().seal(field, b"old"), before.ticket_key().seal(b"old"));
        let key = DataKey::random();
        let (store, data_dir) = (stored.store.clone(), place.data_dir());
        let row = KeyRow::wrap(&store, KeyKind::Data, 2, &key, &place.root_keys, &data_dir).await;
        stored.rows.push(row.expect("a row"));
        stored.current = 2;
        let after = place.open(stored).await.expect("the keys");
        assert_eq!((after.status().data_key_version, after.row_keys().current_version()), (2, 2));
        assert_eq!(after.field_sealer().open(field, &sealed).expect("the older key").as_slice(), b"old");
        assert_eq!(after.ticket_key().open(&ticket).expect("the older key").as_slice(), b"old");
        let new = after.field_sealer().seal(field, b"new");
        assert!(before.field_sealer().open(field, &new).is_err());
    }
}
