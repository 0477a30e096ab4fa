//! Copies the whole store, for backup and rotation.

use std::path::PathBuf;

use super::engine::await_engine;
use super::{Store, StoreError};
use crate::keys::{DatabaseKey, FieldSealer};

impl Store {
    /// Writes a snapshot to the new file `path` under another key. Reads and writes continue meanwhile.
    pub async fn copy_to(&self, path: PathBuf, key: DatabaseKey) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.copy_to(path, key))
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
