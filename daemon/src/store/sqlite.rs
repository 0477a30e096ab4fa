//! The SQLCipher engine: one writer and a few bounded readers. Only this module knows the database library.

mod acme;
mod audience_tokens;
mod certificates;
mod connections;
mod copy;
mod encryption;
mod error;
mod guard;
mod guard_operations;
mod listing;
mod probe;
mod provider_endpoints;
mod providers;
mod purge;
mod refresh_tokens;
mod revocation;
mod schema;
mod sessions;
mod tickets;
mod token_lookup;

use std::path::PathBuf;
use std::sync::Arc;

use super::token_cache::{DEFAULT_CACHE_SIZE, TokenCache};
use super::{Store, StoreError, WriteCounts};
use crate::keys::DatabaseKey;
use crate::platform::blocking;

pub(super) use connections::Connections;
pub use copy::{DatabaseFile, copy_file, remove, remove_strays, verify_file};
pub(super) use error::FileError;
pub(super) use guard::RollbackGuard;

impl Store {
    /// Opens the database and migrates its schema. Creates the database if it is missing.
    pub async fn open(path: PathBuf, key: DatabaseKey) -> Result<Self, StoreError> {
        let opening = move || {
            encryption::check_library()?;
            encryption::prepare_file(&path)?;
            let mut writer = encryption::open(&path, &key)?;
            schema::migrate(&schema::MIGRATIONS, &mut writer, &path, &key)?;
            let guard = Arc::new(RollbackGuard::open(&writer, key.digest_key())?);
            let readers = copy::open_readers(&path, &key)?;
            Ok(Self {
                connections: Arc::new(Connections::new(writer, readers)),
                cache: Arc::new(TokenCache::new(DEFAULT_CACHE_SIZE)),
                guard,
            })
        };
        blocking(opening).await
    }

    /// Checks that the store can serve requests. Fails if a read fails, if the last write failed, or if the rollback
    /// guard found older data.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.guard.check()?;
        self.connections.writes.check()?;
        self.connections
            .look_up(|reader| Ok(reader.query_row("SELECT count(*) FROM providers", [], |_| Ok(()))?))
            .await
    }

    /// Fails if the last write failed and no probe has succeeded since.
    pub fn check_writes(&self) -> Result<(), StoreError> {
        self.connections.writes.check()
    }

    /// Returns the number of transactions since the start.
    pub fn writes(&self) -> WriteCounts {
        self.connections.writes.counts()
    }
}

#[cfg(test)]
mod tests;
