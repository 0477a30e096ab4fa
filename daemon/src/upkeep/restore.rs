//! Restores a backup into an empty data directory or over an existing store.

use std::path::Path;

use jiff::Timestamp;

use super::backup::{BackupDescription, BackupError, open_backup};
use super::rollback_guard_file::RollbackGuardFile;
use crate::keys::{Opener, RootKeySettings};
use crate::store::{self, DatabaseFile, EndReason, SessionSelector, Store};

#[derive(Debug, Clone)]
pub struct Restored {
    pub description: BackupDescription,
    /// The number of sessions in the backup. All of them were revoked.
    pub revoked: usize,
}

/// Restores the backup at `path` into `data_dir`. The caller must hold the lock of `data_dir`.
///
/// Verifies the whole backup first, moves the data to a new data key under the first of `root_keys`, and revokes
/// all sessions. The existing data stays in use until the header is replaced atomically.
pub async fn restore(
    path: &Path,
    opener: Opener<'_>,
    data_dir: &Path,
    root_keys: &[RootKeySettings],
    rollback_guard_file: &RollbackGuardFile,
    now: Timestamp,
) -> Result<Restored, BackupError> {
    let source = open_backup(path, opener, data_dir, data_dir).await?;
    let next = source.keys.begin_restore(data_dir, root_keys).await?;
    let (database, name) = (next.database_path(), next.store().to_owned());
    store::remove(&database)?;
    let from = DatabaseFile {
        path: source.database.path().to_owned(),
        key: source.keys.database_key(),
        sealer: source.keys.field_sealer(),
    };
    let to = DatabaseFile { path: database.clone(), key: next.database_key(), sealer: next.field_sealer() };
    store::copy_file(from, to).await?;

    let restored = Store::open(database, next.database_key()).await?;
    let revoked = restored.revoke(SessionSelector::ALL, now, EndReason::Restored).await?.len();
    // Raise the counter above every value seen, so that putting the old files back is detected.
    let counter = restored.raise_guard_counter(rollback_guard_file.read(&name)?.unwrap_or(0)).await?;
    drop(restored);
    let next = next.commit()?;
    // After the commit: the data may be ahead of the file, but never behind it.
    rollback_guard_file.raise(&name, counter)?;
    let current = next.database_path();
    let current = current.file_name().unwrap_or_default().to_string_lossy();
    // Dropping it removes the extracted database. The strays include its companion files.
    let description = source.description.clone();
    drop(source);
    store::remove_strays(data_dir, &current)?;
    Ok(Restored { description, revoked })
}
