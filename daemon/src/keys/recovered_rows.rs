//! The recovery key of a shared store: each key row holds its key wrapped for it too.
//!
//! A MAC under the key of the row authenticates the public key. So an attacker who writes to the table cannot have a later
//! data key wrapped for another one.

use std::path::Path;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::header::{Bytes, RecoveryWrapping};
use super::key_rows::{KeyKind, KeyRow, StoredKeys, context};
use super::{
    DataKey, KeyError, KeyStatus, RecoveryKey, RecoveryPublicKey, Rewrapped, RootKeySettings, derivation,
    recovery,
};

/// A key wrapped for the recovery key, as the column of its row holds it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RowRecovery {
    wrapping: RecoveryWrapping,
    /// A MAC under the wrapped key.
    check: Bytes,
}

/// The keys of a shared store, unwrapped with the recovery key.
pub struct RecoveredRows {
    store: String,
    current: u32,
    keys: Vec<(KeyRow, DataKey)>,
}

/// Recovered keys under another root key, to be stored.
pub struct RewrappedRows {
    pub stored: StoredKeys,
    pub keys: Rewrapped,
}

impl RowRecovery {
    /// Wraps `key`, the key of `row`, for the recovery key.
    pub(super) fn wrap(recovery: &RecoveryPublicKey, store: &str, row: &KeyRow, key: &DataKey) -> Vec<u8> {
        let context = context(store, row.kind, row.version);
        let wrapping = recovery.wrap(key, &context);
        let check = Bytes(check(&wrapping, &context, key).to_vec());
        serde_json::to_vec(&Self { wrapping, check }).expect("a wrapping is plain JSON")
    }

    /// The recovery key that `row` is wrapped for; `None` if it has none that infrad wrote. `key` is the key of the row.
    pub(super) fn public_key(store: &str, row: &KeyRow, key: &DataKey) -> Option<RecoveryPublicKey> {
        let recovery = Self::parse(row)?;
        recovery
            .is_of(key, &context(store, row.kind, row.version))
            .then(|| RecoveryPublicKey::of(&recovery.wrapping))
    }

    fn parse(row: &KeyRow) -> Option<Self> {
        serde_json::from_slice(row.recovery.as_deref()?).ok()
    }

    fn is_of(&self, key: &DataKey, context: &str) -> bool {
        check(&self.wrapping, context, key).as_slice().ct_eq(&self.check.0).into()
    }
}

fn check(wrapping: &RecoveryWrapping, context: &str, key: &DataKey) -> [u8; 32] {
    let text = serde_json::to_vec(&(context, wrapping)).expect("a wrapping is plain JSON");
    derivation::row_recovery_check(key, &text)
}

impl RecoveredRows {
    /// Unwraps the keys of `stored` with the recovery key. Needs no root key. `origin` names the database in errors.
    pub fn open(stored: &StoredKeys, origin: &str, key: &RecoveryKey) -> Result<Self, KeyError> {
        let mut keys = Vec::with_capacity(stored.rows.len());
        for row in &stored.rows {
            match open(stored, row, origin, key) {
                Ok(opened) => keys.push((row.clone(), opened)),
                // As at a start: no row of infrad needs a foreign key.
                Err(error) if row.kind == KeyKind::Data && row.version != stored.current => {
                    tracing::error!(%error, data_key_version = row.version, "left out a data key that does not open");
                }
                Err(error) => return Err(error),
            }
        }
        let has = |kind, version: Option<u32>| {
            keys.iter().any(|(row, _)| row.kind == kind && version.is_none_or(|it| it == row.version))
        };
        if has(KeyKind::Index, None) && has(KeyKind::Data, Some(stored.current)) {
            Ok(Self { store: stored.store.clone(), current: stored.current, keys })
        } else {
            Err(KeyError::HeaderDamaged { path: origin.to_owned() })
        }
    }

    /// Wraps the keys under the first of `root_keys`. The lost root key is no longer needed once the rows are stored.
    pub async fn rewrap(
        &self,
        root_keys: &[RootKeySettings],
        data_dir: &Path,
    ) -> Result<RewrappedRows, KeyError> {
        let mut rows = Vec::with_capacity(self.keys.len());
        for (row, key) in &self.keys {
            let rewrapped =
                KeyRow::wrap(&self.store, row.kind, row.version, key, root_keys, data_dir).await?;
            rows.push(KeyRow { recovery: row.recovery.clone(), ..rewrapped });
        }
        let current = |row: &&KeyRow| row.kind == KeyKind::Data && row.version == self.current;
        let is_there = "a recovered store has its current data key";
        let (before, key) = self.keys.iter().find(|(row, _)| current(&row)).expect(is_there);
        let keys = KeyStatus {
            store: self.store.clone(),
            data_key_version: self.current.into(),
            root_key: rows.iter().find(current).expect(is_there).root_key.clone(),
            recovery_key_created_at: RowRecovery::public_key(&self.store, before, key)
                .map(|it| it.created_at),
        };
        let keys = Rewrapped { keys, replaced_root_key: before.root_key.clone() };
        Ok(RewrappedRows {
            stored: StoredKeys { store: self.store.clone(), current: self.current, rows },
            keys,
        })
    }
}

fn open(stored: &StoredKeys, row: &KeyRow, origin: &str, key: &RecoveryKey) -> Result<DataKey, KeyError> {
    let recovery = RowRecovery::parse(row).ok_or_else(|| KeyError::NoRecovery { path: origin.to_owned() })?;
    let context = context(&stored.store, row.kind, row.version);
    let is_of = |key: &DataKey| row.is_of(&stored.store, key) && recovery.is_of(key, &context);
    recovery::unwrap(&recovery.wrapping, &context, origin, key, is_of)
}

#[cfg(test)]
mod tests;
