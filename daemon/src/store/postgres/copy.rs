//! What only a file has: another key for the whole.

use std::path::PathBuf;

use super::Postgres;
use crate::keys::{DatabaseKey, FieldSealer};
use crate::store::StoreError;

impl Postgres {
    #[expect(clippy::unused_async, reason = "as the other engine's")]
    pub(in crate::store) async fn move_to<E: From<StoreError> + Send + 'static>(
        &self,
        _: PathBuf,
        _: DatabaseKey,
        _: FieldSealer,
        _: FieldSealer,
        _: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> Result<(), E> {
        Err(StoreError::NotOnPostgres("moving the database to another key").into())
    }
}
