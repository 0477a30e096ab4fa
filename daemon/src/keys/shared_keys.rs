//! The unlocked keys of a shared database. Every member holds the same ones, and follows a rotation by another.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::Remedy;
use super::header::Header;
use super::key_rows::{KeyKind, KeyRow, StoredKeys, context};
use super::row_keys::RowKeys;
use super::sealed::{FieldSealer, TicketKey};
use super::{BackupKeys, DataKey, KeyError, KeyStatus, RootKeySettings, check_wrapped_by, derivation, root};

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
        let keys = unwrap(&stored, |_| None, None, origin, root_keys, data_dir).await?;
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
        let root_key = self.state().keys.root_key.clone();
        let held = |row: &KeyRow| self.held(row);
        let keys = unwrap(&stored, held, Some(root_key), origin, root_keys, data_dir).await?;
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
        KeyRow::wrap(&store, KeyKind::Data, version, &DataKey::random(), root_keys, data_dir).await
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
            let key = self.held(&row).expect("this member holds the keys of all rows that it adopted");
            rewrapped.push(KeyRow::wrap(&store, row.kind, row.version, &key, root_keys, data_dir).await?);
        }
        Ok(rewrapped)
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
        let stored = &self.state().stored;
        let is_current = |row: &&KeyRow| row.kind == KeyKind::Data && row.version == stored.current;
        let root_key = stored.rows.iter().find(is_current).map(|row| row.root_key.clone());
        KeyStatus {
            store: stored.store.clone(),
            data_key_version: stored.current.into(),
            root_key: root_key.unwrap_or_default(),
            recovery_key_created_at: None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Unwraps the keys of all rows, except those that are `held`. `before` wrapped the current data key until now.
async fn unwrap(
    stored: &StoredKeys,
    held: impl Fn(&KeyRow) -> Option<DataKey>,
    before: Option<UsedRootKey>,
    origin: &str,
    root_keys: &[RootKeySettings],
    data_dir: &Path,
) -> Result<Unwrapped, KeyError> {
    let (mut index, mut data, mut root_key) = (None, BTreeMap::new(), before);
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
                remedy: Remedy::OtherHost,
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
            Ok(Unwrapped { index, data, root_key })
        }
        _ => Err(damaged(origin)),
    }
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
