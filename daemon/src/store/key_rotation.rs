//! The keys of a shared store as rows, and their rotation while members run.
//!
//! A rotation publishes the next data key, waits until every running member holds it, lets new rows be sealed with it, seals
//! the older rows again and then drops the replaced key. It can stop after every step: the next one continues there.

use jiff::Timestamp;

use super::engine::Engine;
use super::postgres::Postgres;
use super::{Lease, Store, StoreError};
use crate::keys::{KeyRow, StoredKeys};

/// Running members that are not ready for the next step of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MembersBehind {
    None,
    /// This many have not read the data key.
    Reading(u64),
    /// This many may still seal rows with an older data key.
    Sealing(u64),
}

impl Store {
    /// Reads the key rows. `None` for a store in a file, whose keys are next to it.
    pub async fn stored_keys(&self) -> Result<Option<StoredKeys>, StoreError> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(None),
            Engine::Postgres(engine) => Box::pin(engine.stored_keys()).await.map(Some),
        }
    }

    /// Publishes the next data key. Nothing is sealed with it yet.
    pub async fn add_data_key(&self, row: &KeyRow, now: Timestamp, lease: &Lease) -> Result<(), StoreError> {
        Box::pin(self.shared()?.add_data_key(row, now, lease)).await
    }

    /// Stores keys that another root key wraps, or another recovery key. They are the same keys.
    pub async fn rewrap_keys(&self, rows: &[KeyRow], lease: &Lease) -> Result<(), StoreError> {
        Box::pin(self.shared()?.rewrap_keys(rows, lease)).await
    }

    pub async fn members_behind(&self, version: u32) -> Result<MembersBehind, StoreError> {
        Box::pin(self.shared()?.members_behind(version)).await
    }

    /// Lets new rows be sealed with a data key. Fails while a running member does not hold it.
    pub async fn use_data_key(&self, version: u32, lease: &Lease) -> Result<(), StoreError> {
        Box::pin(self.shared()?.use_data_key(version, lease)).await
    }

    /// Seals some of the rows that an older data key sealed with the current one. Returns their number; 0 if none is left
    /// that can be changed now.
    pub async fn reseal_some(&self, lease: &Lease) -> Result<usize, StoreError> {
        Box::pin(self.shared()?.reseal_some(lease)).await
    }

    /// Drops the replaced data keys, unless a row or a member may still need one. Returns whether it did.
    pub async fn drop_replaced_data_keys(&self, lease: &Lease) -> Result<bool, StoreError> {
        Box::pin(self.shared()?.drop_replaced_data_keys(lease)).await
    }

    fn shared(&self) -> Result<&Postgres, StoreError> {
        match &self.engine {
            Engine::Sqlite(_) => Err(StoreError::NotShared),
            Engine::Postgres(engine) => Ok(engine),
        }
    }
}
