//! The SQLCipher engine: one writer and a few bounded readers. Only this module knows the database library.

mod acme;
mod audience_tokens;
mod certificates;
mod challenges;
mod connections;
mod copy;
mod delegation;
mod encryption;
mod error;
mod guard;
mod guard_operations;
mod leases;
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
mod transfer;

use std::path::PathBuf;
use std::sync::Arc;

use super::{StoreError, WriteCounts};
use crate::keys::DatabaseKey;
use crate::platform::blocking;

use connections::Connections;
pub use copy::{DatabaseFile, copy_file, remove, remove_strays, verify_file};
pub(super) use error::FileError;
use guard::RollbackGuard;
pub(super) use transfer::{FileReader, FileWriter};

/// The store in an encrypted file. Clones share it.
#[derive(Clone)]
pub(in crate::store) struct Sqlite {
    connections: Arc<Connections>,
    guard: Arc<RollbackGuard>,
}

impl Sqlite {
    /// Opens the database and migrates its schema. Creates the database if it is missing.
    pub(in crate::store) async fn open(path: PathBuf, key: DatabaseKey) -> Result<Self, StoreError> {
        let opening = move || {
            encryption::check_library()?;
            encryption::prepare_file(&path)?;
            let mut writer = encryption::open(&path, &key)?;
            schema::migrate(&schema::MIGRATIONS, &mut writer, &path, &key)?;
            let guard = Arc::new(RollbackGuard::open(&writer, key.digest_key())?);
            let readers = copy::open_readers(&path, &key)?;
            Ok(Self { connections: Arc::new(Connections::new(writer, readers)), guard })
        };
        blocking(opening).await
    }

    pub(in crate::store) async fn check(&self) -> Result<(), StoreError> {
        self.guard.check()?;
        self.connections.writes.check()?;
        self.connections
            .look_up(|reader| Ok(reader.query_row("SELECT count(*) FROM providers", [], |_| Ok(()))?))
            .await
    }

    pub(in crate::store) fn check_writes(&self) -> Result<(), StoreError> {
        self.connections.writes.check()
    }

    pub(in crate::store) fn writes(&self) -> WriteCounts {
        self.connections.writes.counts()
    }
}

#[cfg(test)]
mod tests;
