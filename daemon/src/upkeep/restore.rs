//! Restores a backup: into a data directory or over an existing store there, or into a shared database.

use std::path::Path;

use jiff::Timestamp;

use super::backup::{BackupDescription, BackupError, OpenedBackup, open_backup};
use super::rollback_guard_file::RollbackGuardFile;
use crate::keys::{NextDataKey, Opener, RootKeySettings, SharedKeys, StoredKeys};
use crate::platform;
use crate::store::{
    self, DatabaseFile, EndReason, MemberID, PostgresDatabase, Replaceable, SessionSelector, Store,
};

#[derive(Debug, Clone)]
pub struct Restored {
    pub description: BackupDescription,
    /// The number of sessions in the backup. All of them were revoked.
    pub revoked: usize,
}

impl OpenedBackup {
    fn file(&self) -> DatabaseFile {
        DatabaseFile {
            path: self.database.path().to_owned(),
            key: self.keys.database_key(),
            sealer: self.keys.field_sealer(),
        }
    }
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
    let database = next.database_path();
    store::remove(&database)?;
    let to = DatabaseFile { path: database.clone(), key: next.database_key(), sealer: next.field_sealer() };
    store::copy_file(source.file(), to).await?;

    let restored = Store::open(database, next.database_key()).await?;
    let revoked = restored.revoke(SessionSelector::ALL, now, EndReason::Restored).await?.len();
    // Dropping it removes the extracted database. The strays include its companion files.
    let description = source.description.clone();
    drop(source);
    put_in_use(next, restored, rollback_guard_file, data_dir).await?;
    Ok(Restored { description, revoked })
}

/// Makes `store`, the file of `next`, the store of `data_dir`.
pub(super) async fn put_in_use(
    next: NextDataKey,
    store: Store,
    rollback_guard_file: &RollbackGuardFile,
    data_dir: &Path,
) -> Result<(), BackupError> {
    let name = next.store().to_owned();
    // Raise the counter above every value seen, so that putting the old files back is detected.
    let counter = store.raise_guard_counter(rollback_guard_file.read(&name)?.unwrap_or(0)).await?;
    drop(store);
    let current = next.commit()?.database_path();
    // After the commit: the data may be ahead of the file, but never behind it.
    rollback_guard_file.raise(&name, counter)?;
    let current = current.file_name().unwrap_or_default().to_string_lossy();
    Ok(store::remove_strays(data_dir, &current)?)
}

/// Restores the backup at `path` into `database`, whose schema exists. The caller must hold the lock of `data_dir`.
///
/// Verifies the whole backup first, then replaces the store in the database, with new keys under the first of `root_keys`, and
/// revokes all sessions. Daemons refuse the database until that is complete.
pub async fn restore_to_database(
    path: &Path,
    opener: Opener<'_>,
    data_dir: &Path,
    database: PostgresDatabase,
    root_keys: &[RootKeySettings],
    now: Timestamp,
) -> Result<Restored, BackupError> {
    let directory = tempfile::Builder::new().prefix(platform::BESIDE).tempdir_in(data_dir);
    let failed = |source| platform::PlatformError::Io { path: data_dir.display().to_string(), source };
    let directory = directory.map_err(failed)?;
    let source = open_backup(path, opener, data_dir, directory.path()).await?;
    let recovery = source.keys.recovery_public_key();
    let stored = StoredKeys::create_for(source.keys.store(), recovery.as_ref(), root_keys, data_dir).await?;
    let fill = database.begin_fill(&stored, Replaceable::SameStore, now).await?;
    let keys = SharedKeys::open(stored, database.describe(), root_keys, data_dir).await?;
    let restored = Store::connect(database, keys.row_keys(), MemberID::random()).await?;
    restored.fill(&fill, source.file(), keys.field_sealer(), now).await?;
    let revoked = restored.revoke(SessionSelector::ALL, now, EndReason::Restored).await?.len();
    restored.finish_fill(fill).await?;
    Ok(Restored { description: source.description.clone(), revoked })
}
