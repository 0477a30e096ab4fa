//! Moves the store between a data directory and a shared database. No daemon runs meanwhile. Sessions stay valid.
//!
//! An interrupted move starts its copy again. Before the target can be used, the source is marked, so that no daemon uses both.

use std::path::Path;

use jiff::Timestamp;

use super::restore::put_in_use;
use super::{BackupError, RollbackGuardFile};
use crate::keys::{KeyError, Keys, MovedStore, NextDataKey, RootKeySettings, SharedKeys, StoredKeys};
use crate::store::{
    self, Copied, DatabaseFile, MemberID, PostgresDatabase, Replaceable, Store, StoreError, StoreState,
};

/// Why a store cannot be moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("there is no store in {place}")]
    NoStore { place: String },
    #[error("the store in {data_dir} was moved to {} on {}", moved.to, moved.at.strftime("%Y-%m-%d %H:%M UTC"))]
    MovedBefore { data_dir: String, moved: MovedStore },
    #[error(
        "the data in {data_dir} is older than the data this host used last, and would bring back revoked sessions: restore \
         the newer data"
    )]
    RolledBack { data_dir: String },
    #[error(transparent)]
    Copy(#[from] BackupError),
}

/// What a move did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveOutcome {
    Moved(Copied),
    /// An earlier move was complete.
    MovedBefore,
}

/// What a move needs, besides the database.
pub struct Move<'a> {
    pub data_dir: &'a Path,
    pub root_keys: &'a [RootKeySettings],
    /// Of the file. Without a path, nothing outside the data directory knows how old the file is.
    pub rollback_guard_file: RollbackGuardFile,
    pub now: Timestamp,
}

impl Move<'_> {
    /// Moves the store in the data directory to `database`, whose schema exists. The caller must hold the lock of the data
    /// directory.
    pub async fn to_database(&self, database: PostgresDatabase) -> Result<MoveOutcome, MoveError> {
        let Some(source) = self.open_file_keys().await? else {
            return Err(MoveError::NoStore { place: self.place() });
        };
        let name = source.status().store;
        if let Some(moved) = source.moved() {
            match database.state().await? {
                Some((store, StoreState::Ready)) if store == name => return Ok(MoveOutcome::MovedBefore),
                // Interrupted after the file was marked.
                Some((store, StoreState::Filling)) if store == name => {}
                _ => return Err(MoveError::MovedBefore { data_dir: self.place(), moved }),
            }
        }
        let from = DatabaseFile {
            path: self.data_dir.join(source.database_file()),
            key: source.database_key(),
            sealer: source.field_sealer(),
        };
        let counter = self.verify_file(&source, &from).await?;
        let recovery = source.recovery_public_key();
        let stored = StoredKeys::create_for(&name, recovery.as_ref(), self.root_keys, self.data_dir).await?;
        let fill = database.begin_fill(&stored, Replaceable::WithoutLiveSessions, self.now).await?;
        let to = database.describe().to_owned();
        let keys = SharedKeys::open(stored, &to, self.root_keys, self.data_dir).await?;
        let target = Store::connect(database, keys.row_keys(), MemberID::random()).await?;
        let copied = target.fill(&fill, from, keys.field_sealer(), self.now).await?;
        source.set_moved(Some(MovedStore { to, at: self.now }))?;
        target.finish_fill(fill).await?;
        // Last, because a move that is repeated verifies the file again: from now on, an older header without the mark is
        // detected too.
        self.rollback_guard_file.raise(&name, counter.saturating_add(1)).map_err(BackupError::from)?;
        Ok(MoveOutcome::Moved(copied))
    }

    /// Fails if the file is older than it was, or damaged: a move would hide that. Returns its counter.
    async fn verify_file(&self, keys: &Keys, file: &DatabaseFile) -> Result<u64, MoveError> {
        store::remove_strays(self.data_dir, &keys.database_file())?;
        let store = Store::open(file.path.clone(), keys.database_key()).await?;
        store.check_clock(self.now)?;
        let seen = self.rollback_guard_file.read(&keys.status().store).map_err(BackupError::from)?;
        let counter = store.guard_counter();
        if counter < seen.unwrap_or(0) {
            return Err(MoveError::RolledBack { data_dir: self.place() });
        }
        drop(store);
        store::verify_file(file.path.clone(), keys.database_key()).await?;
        Ok(counter)
    }

    /// Moves the store in `database` to the data directory. The caller must hold the lock of the data directory.
    pub async fn to_file(&self, database: PostgresDatabase) -> Result<MoveOutcome, MoveError> {
        let origin = database.describe().to_owned();
        let Some(stored) = database.keys().await? else {
            return Err(MoveError::NoStore { place: origin });
        };
        let keys = SharedKeys::open(stored, &origin, self.root_keys, self.data_dir).await?;
        let source = Store::connect(database, keys.row_keys(), MemberID::random()).await?;
        let present = self.open_file_keys().await?;
        if present.as_ref().is_some_and(|present| present.status().store != keys.status().store) {
            return Err(StoreError::OtherStore { database: self.place() }.into());
        }
        let in_use = present.as_ref().filter(|present| present.moved().is_none());
        if in_use.is_some() && source.state().await? == StoreState::Moved {
            return Ok(MoveOutcome::MovedBefore);
        }
        let completed = source.begin_move().await?;
        if completed.is_some() && completed == in_use.map(Keys::check_value) {
            source.finish_move().await?;
            return Ok(MoveOutcome::MovedBefore);
        }
        let copied = match self.copy_to_file(&source, &keys, present.as_ref()).await {
            Ok(copied) => copied,
            Err(error) => {
                // As long as there is no other file, daemons may use the database again. If this fails too, another run of the
                // command begins with it.
                let _ = source.cancel_move().await;
                return Err(error);
            }
        };
        let (next, target, copied) = copied;
        put_in_use(next, target, &self.rollback_guard_file, self.data_dir).await?;
        source.finish_move().await?;
        Ok(MoveOutcome::Moved(copied))
    }

    async fn copy_to_file(
        &self,
        source: &Store,
        keys: &SharedKeys,
        present: Option<&Keys>,
    ) -> Result<(NextDataKey, Store, Copied), MoveError> {
        if let Some(present) = present.filter(|present| present.moved().is_none()) {
            let path = self.data_dir.join(present.database_file());
            let store = Store::open(path, present.database_key()).await?;
            let live = store.count_live_sessions(self.now, Timestamp::MIN).await?;
            if live > 0 {
                return Err(StoreError::HasSessions { database: self.place(), live }.into());
            }
        }
        let mut next = NextDataKey::begin_file(keys, present, self.root_keys, self.data_dir).await?;
        let path = next.database_path();
        store::remove(&path)?;
        let to = DatabaseFile { path: path.clone(), key: next.database_key(), sealer: next.field_sealer() };
        let copied = source.copy_to(to, keys.field_sealer(), self.now).await;
        if copied.is_err() {
            // A database without keys would keep a daemon from starting.
            store::remove(&path)?;
        }
        let copied = copied?.ok_or(StoreError::NotShared)?;
        let target = Store::open(path, next.database_key()).await?;
        source.expect_file(&next.check_value()).await?;
        Ok((next, target, copied))
    }

    async fn open_file_keys(&self) -> Result<Option<Keys>, MoveError> {
        Ok(Keys::open(self.data_dir, self.root_keys).await?)
    }

    fn place(&self) -> String {
        self.data_dir.display().to_string()
    }
}

impl From<StoreError> for MoveError {
    fn from(error: StoreError) -> Self {
        Self::Copy(error.into())
    }
}

impl From<KeyError> for MoveError {
    fn from(error: KeyError) -> Self {
        Self::Copy(error.into())
    }
}
