//! A new data key for the store, and all that is derived from it.

use jiff::Timestamp;

use super::backup::BackupError;
use crate::keys::{Keys, RootKeySettings};
use crate::store::{self, Store};
use std::path::Path;
use std::sync::Arc;

/// Draws a new data key under the first of `root_keys`, and moves the store to it while it is used. Until the header is
/// replaced, which is one step, the old data key and its database count.
pub async fn rotate(
    keys: &Arc<Keys>,
    store: &Store,
    data_dir: &Path,
    root_keys: &[RootKeySettings],
    now: Timestamp,
) -> Result<(), BackupError> {
    let next = keys.begin_rotation(root_keys, now).await?;
    let (path, key) = (next.database_path(), next.database_key());
    let (old, new) = (keys.field_sealer(), next.field_sealer());
    let committing = Arc::clone(keys);
    store.move_to(path, key, old, new, move || Ok::<_, BackupError>(committing.succeed(next)?)).await?;
    Ok(store::remove_strays(data_dir, &keys.database_file())?)
}
