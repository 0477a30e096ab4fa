//! The unlocked keys of a shared database. Every member holds the same ones, and follows a rotation by another.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::error::Remedy;
use super::header::Header;
use super::key_rows::{KeyKind, KeyRow, StoredKeys, context};
use super::recovered_rows::RowRecovery;
use super::recovery;
use super::row_keys::RowKeys;
use super::sealed::{FieldSealer, TicketKey};
use super::{
    BackupKeys, DataKey, KeyError, KeyStatus, RecoveryKey, RecoveryPublicKey, RootKeySettings,
    check_wrapped_by, derivation, root,
};

/// Keys derived from these follow a rotation automatically.
pub struct SharedKeys {
    state: Mutex<State>,
    /// Held by the task that changes the key rows.
    changing: tokio::sync::Mutex<()>,
    /// Names the database in errors.
    origin: String,
    row_keys: Arc<RowKeys>,
    ticket_key: TicketKey,
    /// For fields inside of sealed rows. Its key comes from the index key, so a rotation leaves them alone.
    field_sealer: FieldSealer,
}

struct State {
    stored: StoredKeys,
    keys: Unwrapped,
}

struct Unwrapped {
    index: DataKey,
    data: BTreeMap<u32, DataKey>,
    root_key: UsedRootKey,
    /// The newest that this member has seen. All keys have to be wrapped for it.
    recovery: Option<RecoveryPublicKey>,
}

/// The root key that wraps the current data key, or the last one that did and was configured here.
#[derive(Clone)]
struct UsedRootKey {
    settings: RootKeySettings,
    id: String,
}

impl SharedKeys {
    /// Unwraps all keys of a store. `origin` names the database in errors.
    pub async fn open(
        stored: StoredKeys,
        origin: &str,
        root_keys: &[RootKeySettings],
        data_dir: &Path,
    ) -> Result<Self, KeyError> {
        let keys = unwrap(&stored, |_| None, Before::default(), origin, root_keys, data_dir).await?;
        let (present, previous) = ticket_keys(stored.current, &keys.data).ok_or_else(|| damaged(origin))?;
        Ok(Self {
            row_keys: Arc::new(RowKeys::new(&stored.store, &keys.index, stored.current, &keys.data)),
            ticket_key: TicketKey::new(&present, previous.as_deref()),
            field_sealer: FieldSealer::new(&derivation::sealed_field_key(&keys.index)),
            state: Mutex::new(State { stored, keys }),
            changing: tokio::sync::Mutex::default(),
            origin: origin.to_owned(),
        })
    }

    /// Switches to the key rows that are stored now. Unwraps only keys that this member does not hold yet. Returns `false`
    /// if nothing changed.
    pub async fn adopt(
        &self,
        stored: StoredKeys,
        root_keys: &[RootKeySettings],
        data_dir: &Path,
    ) -> Result<bool, KeyError> {
        let origin = self.origin.as_str();
        if self.state().stored == stored {
            return Ok(false);
        }
        // A data key that was replaced must not come back: it may be known to others.
        if self.state().stored.store != stored.store || stored.current < self.state().stored.current {
            return Err(damaged(origin));
        }
        // A rotation leaves the index key alone. A copy of another time brings its own.
        if stored.rows.iter().any(|row| row.kind == KeyKind::Index && self.held(row).is_none()) {
            return Err(KeyError::StoreReplaced { origin: origin.to_owned() });
        }
        let before = {
            let keys = &self.state().keys;
            Before { root_key: Some(keys.root_key.clone()), recovery: keys.recovery.clone() }
        };
        let held = |row: &KeyRow| self.held(row);
        let keys = unwrap(&stored, held, before, origin, root_keys, data_dir).await?;
        let (present, previous) = ticket_keys(stored.current, &keys.data).ok_or_else(|| damaged(origin))?;
        let mut state = self.state();
        self.row_keys.replace(stored.current, &keys.data);
        self.ticket_key.replace(&present, previous.as_deref());
        *state = State { stored, keys };
        Ok(true)
    }

    /// Makes the next data key, wrapped under the first of `root_keys`. It takes effect once it is stored and adopted.
    pub async fn next_data_key(
        &self,
        root_keys: &[RootKeySettings],
        data_dir: &Path,
    ) -> Result<KeyRow, KeyError> {
        let (store, version) = {
            let stored = &self.state().stored;
            (stored.store.clone(), stored.newest() + 1)
        };
        let key = DataKey::random();
        let mut row = KeyRow::wrap(&store, KeyKind::Data, version, &key, root_keys, data_dir).await?;
        row.recovery =
            self.recovery_public_key().map(|public| RowRecovery::wrap(&public, &store, &row, &key));
        Ok(row)
    }

    /// Wraps all keys under the first of `root_keys`. The rows take effect once they are stored. Refuses to undo what another
    /// member did with a root key that is not configured here.
    pub async fn rewrapped(
        &self,
        root_keys: &[RootKeySettings],
        data_dir: &Path,
    ) -> Result<Vec<KeyRow>, KeyError> {
        self.expect_no_other_root_key(root_keys, data_dir)?;
        let StoredKeys { store, rows, .. } = self.stored();
        let mut rewrapped = Vec::with_capacity(rows.len());
        for row in rows {
            // A row that someone else planted.
            let Some(key) = self.held(&row) else { continue };
            let wrapped = KeyRow::wrap(&store, row.kind, row.version, &key, root_keys, data_dir).await?;
            rewrapped.push(KeyRow { recovery: row.recovery, ..wrapped });
        }
        Ok(rewrapped)
    }

    /// Makes a recovery key, and wraps all keys for it. The rows take effect once they are stored. The key is available only in
    /// the return value.
    pub fn next_recovery(&self, now: Timestamp) -> (RecoveryKey, Vec<KeyRow>) {
        // The newest counts, also if a clock was ahead when it was made.
        let before = self.recovery_public_key().map(|before| before.created_at);
        let after = before.and_then(|before| before.checked_add(SignedDuration::from_millis(1)).ok());
        let (key, public_key) = recovery::create(after.map_or(now, |after| after.max(now)));
        (key, self.wrapped_for(&public_key))
    }

    /// The rows that lack the recovery key, or have an earlier one, wrapped for it: a member of an earlier version has added
    /// them, or someone has put them back.
    pub fn rows_without_recovery(&self) -> Vec<KeyRow> {
        self.recovery_public_key().map_or_else(Vec::new, |public_key| self.wrapped_for(&public_key))
    }

    /// The rows that are not wrapped for this recovery key yet, wrapped for it.
    fn wrapped_for(&self, public_key: &RecoveryPublicKey) -> Vec<KeyRow> {
        let StoredKeys { store, rows, .. } = self.stored();
        let wrapped = rows.into_iter().filter_map(|row| {
            let key = self.held(&row)?;
            let is_wrapped = RowRecovery::public_key(&store, &row, &key).as_ref() == Some(public_key);
            let recovery = (!is_wrapped).then(|| RowRecovery::wrap(public_key, &store, &row, &key))?;
            Some(KeyRow { recovery: Some(recovery), ..row })
        });
        wrapped.collect()
    }

    /// The recovery key's public part, for a copy of the store.
    pub fn recovery_public_key(&self) -> Option<RecoveryPublicKey> {
        self.state().keys.recovery.clone()
    }

    /// Fails if another member wrapped the keys, and none of `root_keys` can be the one that it used. A root key that this
    /// member used itself may be lost.
    fn expect_no_other_root_key(
        &self,
        root_keys: &[RootKeySettings],
        data_dir: &Path,
    ) -> Result<(), KeyError> {
        let (needed, used) = (self.status().root_key, self.state().keys.root_key.id.clone());
        let may_be = |settings: &RootKeySettings| {
            matches!(settings.has_wrapped(&needed, data_dir), Ok(Some(true) | None))
        };
        if needed == used || root_keys.iter().any(may_be) {
            return Ok(());
        }
        Err(KeyError::WrappedElsewhere { origin: self.origin.clone(), needed })
    }

    /// Hold it together with the lease, which does not tell the tasks of this member apart.
    pub fn changing(&self) -> &tokio::sync::Mutex<()> {
        &self.changing
    }

    /// The key rows as this member knows them.
    pub fn stored(&self) -> StoredKeys {
        self.state().stored.clone()
    }

    /// The key of `row`, if this member holds it.
    fn held(&self, row: &KeyRow) -> Option<DataKey> {
        let State { stored, keys } = &*self.state();
        let key = match row.kind {
            KeyKind::Index => Some(&keys.index),
            KeyKind::Data => keys.data.get(&row.version),
        };
        key.filter(|key| row.is_of(&stored.store, key)).map(|key| DataKey(key.0.clone()))
    }

    /// Makes the keys of a backup. They open with the root key that wraps the current data key.
    pub async fn backup_keys(&self, data_dir: &Path) -> Result<BackupKeys, KeyError> {
        let KeyStatus { store, data_key_version, .. } = self.status();
        let (data_key, mut header) = (DataKey::random(), Header::of_store(store, data_key_version));
        root::wrap(&mut header, &data_key, &[self.root_key()], data_dir).await?;
        header.recovery = self.recovery_public_key().map(|public| public.wrap(&data_key, &header.context()));
        header.sign(&data_key);
        Ok(BackupKeys { data_key, header })
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
        self.state().keys.root_key.settings.clone()
    }

    /// Whether a start with these root keys could open the keys, as far as that can be decided without a network.
    pub fn check(&self, data_dir: &Path, root_keys: &[RootKeySettings]) -> Result<(), KeyError> {
        check_wrapped_by(&self.status().root_key, &self.origin, data_dir, root_keys)
    }

    pub fn status(&self) -> KeyStatus {
        let stored = self.stored();
        let is_current = |row: &KeyRow| row.kind == KeyKind::Data && row.version == stored.current;
        let root_key = stored.rows.into_iter().find(is_current).map(|row| row.root_key);
        KeyStatus {
            store: stored.store,
            data_key_version: stored.current.into(),
            root_key: root_key.unwrap_or_default(),
            recovery_key_created_at: self.recovery_public_key().map(|recovery| recovery.created_at),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What this member knew until now.
#[derive(Default)]
struct Before {
    /// Wrapped the current data key.
    root_key: Option<UsedRootKey>,
    recovery: Option<RecoveryPublicKey>,
}

/// Unwraps the keys of all rows, except those that are `held`.
async fn unwrap(
    stored: &StoredKeys,
    held: impl Fn(&KeyRow) -> Option<DataKey>,
    before: Before,
    origin: &str,
    root_keys: &[RootKeySettings],
    data_dir: &Path,
) -> Result<Unwrapped, KeyError> {
    let Before { mut root_key, recovery } = before;
    let (mut index, mut data) = (None, BTreeMap::new());
    let has_recovery = stored.rows.iter().any(|row| row.recovery.is_some());
    for row in &stored.rows {
        let key = if let Some(key) = held(row) {
            let wraps = |settings: &&RootKeySettings| {
                matches!(settings.has_wrapped(&row.root_key, data_dir), Ok(Some(true)))
            };
            let wrapped_by = root_keys.iter().find(wraps).filter(|_| row.version == stored.current);
            if let Some(wrapped_by) = wrapped_by.filter(|_| row.kind == KeyKind::Data) {
                root_key = Some(UsedRootKey { settings: wrapped_by.clone(), id: row.root_key.clone() });
            }
            key
        } else {
            let is_of = |key: &DataKey| row.is_of(&stored.store, key);
            let wrapping = root::Wrapping {
                origin,
                root_key: &row.root_key,
                wrapped: &row.wrapped,
                context: context(&stored.store, row.kind, row.version),
                remedy: Remedy::of_database(has_recovery),
                is_of: &is_of,
            };
            let (key, wrapped_by) = match root::unwrap_key(&wrapping, root_keys, data_dir).await {
                Ok(unwrapped) => unwrapped,
                // No row of infrad needs a foreign key.
                Err(error)
                    if row.kind == KeyKind::Data
                        && row.version != stored.current
                        && !error.is_transient() =>
                {
                    tracing::error!(%error, data_key_version = row.version, "left out a data key that does not open");
                    continue;
                }
                Err(error) => return Err(error),
            };
            if row.kind == KeyKind::Data && row.version == stored.current {
                root_key = Some(UsedRootKey { settings: wrapped_by, id: row.root_key.clone() });
            }
            key
        };
        match row.kind {
            KeyKind::Index => index = Some(key),
            KeyKind::Data => drop(data.insert(row.version, key)),
        }
    }
    match (index, root_key) {
        (Some(index), Some(root_key)) if data.contains_key(&stored.current) => {
            let recovery = newest_recovery(stored, &data, recovery);
            Ok(Unwrapped { index, data, root_key, recovery })
        }
        _ => Err(damaged(origin)),
    }
}

/// The recovery key that the current data key is wrapped for, unless this member has seen a later one: someone may have put an
/// earlier one back, or deleted it.
fn newest_recovery(
    stored: &StoredKeys,
    data: &BTreeMap<u32, DataKey>,
    known: Option<RecoveryPublicKey>,
) -> Option<RecoveryPublicKey> {
    let is_current = |row: &&KeyRow| row.kind == KeyKind::Data && row.version == stored.current;
    let current = stored.rows.iter().find(is_current).zip(data.get(&stored.current));
    let found = current.and_then(|(row, key)| RowRecovery::public_key(&stored.store, row, key));
    let time = |key: &RecoveryPublicKey| key.created_at;
    if found.as_ref().map(time) > known.as_ref().map(time) { found } else { known }
}

type TicketKeyBytes = zeroize::Zeroizing<[u8; 32]>;

/// The key of tickets, and the one before. Tickets that other members seal under the next data key open too, because it
/// becomes the current one on all members within seconds.
fn ticket_keys(
    current: u32,
    data: &BTreeMap<u32, DataKey>,
) -> Option<(TicketKeyBytes, Option<TicketKeyBytes>)> {
    let present = data.get(&current)?;
    let next = data.range(current..).nth(1).map(|(_, key)| derivation::ticket_key(key));
    let previous = data.range(..current).next_back().map(|(_, key)| derivation::ticket_key(key));
    Some((derivation::ticket_key(present), next.or(previous)))
}

fn damaged(origin: &str) -> KeyError {
    KeyError::HeaderDamaged { path: origin.to_owned() }
}

#[cfg(test)]
mod tests;
