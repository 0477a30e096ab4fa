//! Rotates the data key and all keys derived from it.

use jiff::Timestamp;

use super::backup::BackupError;
use crate::keys::{RootKeySettings, StoreKeys};
use crate::store::{self, Store};
use std::path::Path;
use std::sync::Arc;

/// Creates a data key under the first of `root_keys` and moves the running store to it. The old key and database stay
/// in use until the header is replaced atomically.
pub async fn rotate(
    keys: &Arc<StoreKeys>,
    store: &Store,
    data_dir: &Path,
    root_keys: &[RootKeySettings],
    now: Timestamp,
) -> Result<(), BackupError> {
    let committing = Arc::clone(keys);
    let keys = keys.in_file()?;
    let next = keys.begin_rotation(root_keys, now).await?;
    let (path, key) = (next.database_path(), next.database_key());
    let (old, new) = (keys.field_sealer(), next.field_sealer());
    let commit = move || Ok::<_, BackupError>(committing.in_file()?.activate(next)?);
    store.move_to(path, key, old, new, commit).await?;
    Ok(store::remove_strays(data_dir, &keys.database_file())?)
}
