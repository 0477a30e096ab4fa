//! Copies the whole store, for backup and rotation.

use std::path::PathBuf;

use jiff::Timestamp;

use super::engine::{Engine, await_engine};
use super::{Copied, DatabaseFile, Store, StoreError, transfer};
use crate::keys::{DatabaseKey, FieldSealer};

impl Store {
    /// Writes a snapshot to the new file `to` under another key. Reads and writes continue meanwhile.
    ///
    /// `sealer` is the one of this store. A copy of a file keeps its sealed fields, so `to` must have the same sealer. Returns
    /// what was copied from a shared database, after a comparison.
    pub async fn copy_to(
        &self,
        to: DatabaseFile,
        sealer: FieldSealer,
        now: Timestamp,
    ) -> Result<Option<Copied>, StoreError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.copy_to(to.path, to.key).await.map(|()| None),
            Engine::Postgres(engine) => {
                Box::pin(transfer::copy_to_file(engine, sealer, to, now)).await.map(Some)
            }
        }
    }

    /// Moves the store to a copy at `path` under another key, and reseals its sealed fields.
    ///
    /// Writes are blocked from the start of the copy. `commit` makes the copy current; if it fails, the store keeps
    /// the old database.
    pub async fn move_to<E: From<StoreError> + Send + 'static>(
        &self,
        path: PathBuf,
        key: DatabaseKey,
        old: FieldSealer,
        new: FieldSealer,
        commit: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> Result<(), E> {
        await_engine!(self, engine => engine.move_to(path, key, old, new, commit))
    }
}
