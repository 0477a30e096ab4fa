//! The encrypted store. Each operation is one transaction that several daemons could run at once.

mod acme;
mod audience_tokens;
mod certificates;
mod connections;
mod copy;
mod encryption;
mod epoch;
mod providers;
mod recent;
mod refresh_tokens;
mod schema;
mod sessions;
mod tickets;
mod time;
mod token_hash;
mod writes;

use std::path::Path;
use std::sync::Arc;

use crate::keys::DatabaseKey;
use crate::platform::PlatformError;
use connections::Connections;
use recent::Recent;

pub use acme::BegunOrder;
pub use audience_tokens::{AudienceGrant, NewAudienceToken, OpenedToken};
pub use certificates::CertificateRow;
pub use copy::{copy_file, remove, remove_strays, verify_file};
pub use providers::ProviderRow;
pub use refresh_tokens::{NewRefreshToken, RefreshTokenRow, Released, Taking};
pub use sessions::{
    EndReason, Ended, EndedSession, FoundToken, NewSession, Opening, StoredSession, Told, Which,
};
pub use tickets::Consumed;
pub use token_hash::TokenHash;
pub use writes::WriteCounts;

/// Why the store cannot be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "this infrad was built with an SQLite that cannot encrypt: build it with SQLCipher (`bundled-sqlcipher`)"
    )]
    CannotEncrypt,
    #[error("{path} is not encrypted: it was not written by infrad, or was replaced; restore the right file")]
    NotEncrypted { path: String },
    #[error(
        "{path} does not open with the key of this data directory: keys.json and the database do not belong together, \
         or the database is damaged; restore both from the same backup"
    )]
    WrongKey { path: String },
    #[error("{path} has schema {found} and this infrad knows schema {known}: run the infrad that wrote it")]
    NewerSchema { path: String, found: u32, known: u32 },
    #[error("{path} is damaged: some of it does not authenticate, or does not fit the rest")]
    Damaged { path: String },
    #[error("a row holds what this infrad never wrote: {0}")]
    UnexpectedRow(&'static str),
    #[error(transparent)]
    Platform(#[from] PlatformError),
    #[error("the database failed: {0}")]
    Database(#[from] rusqlite::Error),
    #[error("nothing can be written: {0}")]
    NotWritten(String),
    #[error("the database is busy: no reader became free in time")]
    Busy,
}

/// The SQLCipher store: one writer, a few bounded readers. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    connections: Arc<Connections>,
    recent: Arc<Recent>,
}

impl Store {
    /// Opens the database, creating it when it is not there, and brings its schema up to date.
    pub fn open(path: &Path, key: &DatabaseKey) -> Result<Self, StoreError> {
        encryption::check_library()?;
        encryption::prepare_file(path)?;
        let mut writer = encryption::open(path, key)?;
        schema::migrate(&schema::MIGRATIONS, &mut writer, path, key)?;
        let readers = copy::open_readers(path, key)?;
        Ok(Self { connections: Arc::new(Connections::new(writer, readers)), recent: Arc::default() })
    }

    /// Whether the store answers: reads from it. What was to be written last must have been, too: something is written
    /// every minute, so that a disk with room again is noticed.
    pub fn check(&self) -> Result<(), StoreError> {
        self.connections.writes.check()?;
        self.connections
            .read(|reader| Ok(reader.query_row("SELECT count(*) FROM providers", [], |_| Ok(()))?))
    }

    /// What was written since the start.
    pub fn writes(&self) -> WriteCounts {
        self.connections.writes.counts()
    }
}

#[cfg(test)]
mod tests;
