//! The encrypted store. Every operation is one transaction.
//!
//! Types and rules are here, and what an operation does on every engine. The transactions are in the engine.

mod acme;
mod audience_tokens;
mod certificates;
mod challenges;
mod copy;
mod delegation;
mod engine;
mod freshness;
mod key_rotation;
mod leases;
mod listing;
mod members;
mod moving;
mod postgres;
mod probe;
mod provider_endpoints;
mod providers;
mod purge;
mod refresh_tokens;
mod revocation;
mod rollback;
mod sessions;
mod sqlite;
mod tickets;
mod time;
mod token_cache;
mod token_hash;
mod token_keys;
mod token_lookup;
mod transfer;
mod writes;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use infra_shared::printable::counted;
use jiff::Timestamp;

use crate::fair_queue::QueueError;
use crate::keys::{DatabaseKey, RowKeys};
use crate::platform::{PlatformError, since_boot, start_once};
use engine::Engine;
use freshness::Freshness;
use postgres::Postgres;
use sqlite::{FileError, Sqlite};
use token_cache::TokenCache;

pub use acme::{BegunOrder, OrderID};
pub use audience_tokens::{AudienceRestriction, AudienceTokenRow, IssueOutcome};
pub use certificates::{AUTHORITY, AuthorityRows, CertificateRow, CertificatesVersion, NEXT_AUTHORITY};
pub use delegation::DelegatedSession;
pub use key_rotation::MembersBehind;
pub use leases::{Job, Lease};
pub use members::{Member, MemberDescription, MemberID};
pub use moving::{Fill, Replaceable, StoreState};
pub use postgres::{
    AccessProblem, ClientCertificate, DatabaseHost, DatabasePassword, HostReport, PostgresDatabase,
    PostgresSettings, ServerFacts, Written,
};
pub use provider_endpoints::{EndpointHosts, RememberedEndpoints};
pub use providers::{ProviderChange, ProviderComparison, ProviderRow};
pub use refresh_tokens::{LeaseRequest, NewRefreshToken, NextAttempt, RefreshTokenRow};
pub use rollback::{LossCause, RevokedAgain};
pub use sessions::{
    CachedJson, ClientInfo, EndReason, Ended, NewSession, RevokedSession, SessionPage, SessionSelector,
    StoredSession, UserFilter,
};
pub use sqlite::{DatabaseFile, copy_file, remove, remove_strays, verify_file};
pub use tickets::TicketState;
pub use token_cache::{CacheCounts, DEFAULT_CACHE_SIZE};
pub use token_hash::TokenHash;
pub use token_lookup::{FoundToken, Presented};
pub use transfer::Copied;
pub use writes::WriteCounts;

/// Why the store cannot be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    File(#[from] FileError),
    /// `database` names it to the operator.
    #[error(
        "{database} has schema {found}, but this infrad supports up to schema {known}: run the infrad that wrote it"
    )]
    NewerSchema { database: String, found: u32, known: u32 },
    /// A command has to migrate it first.
    #[error("{database} has schema {found}, but this infrad needs schema {known}")]
    OlderSchema { database: String, found: u32, known: u32 },
    #[error("{database} is damaged: a part of it fails authentication or contradicts the rest")]
    Damaged { database: String },
    #[error("a row contains a value that infrad never writes: {0}")]
    UnexpectedRow(&'static str),
    #[error(transparent)]
    Platform(#[from] PlatformError),
    #[error("the database failed: {0}")]
    Database(#[from] DatabaseError),
    #[error("cannot write to the database: {0}")]
    NotWritten(String),
    /// Part of the database is an earlier version of itself.
    #[error(
        "part of the database was replaced with an older version ({found}): find out who can write to `dataDir`, then \
         accept the data, which revokes all sessions: {accept}",
        found = .0, accept = start_once("--accept-rollback")
    )]
    RolledBack(String),
    #[error(
        "the clock of this host shows {now}, but it showed {latest} before, so expiry times cannot be checked: \
         correct the clock; if it was ahead before, accept the present time, which revokes all sessions: {accept}",
        accept = start_once("--accept-rollback")
    )]
    ClockBehind { now: Timestamp, latest: Timestamp },
    #[error("the database is busy: no connection became free in time")]
    Busy,
    /// Other look-ups of tokens wait for the database.
    #[error("the database is busy: {0}")]
    Queued(#[from] QueueError),
    /// A statement had no answer. It may have taken effect.
    #[error("the database did not answer in {seconds} s")]
    NoAnswer { seconds: u64 },
    /// The database stopped a statement at its limit.
    #[error("the database did not finish in time: {cause}")]
    TimedOut { cause: String },
    /// No server that accepts writes can be reached, or the connection to it broke.
    #[error("the database is not available: {cause}")]
    Unavailable { cause: String, problem: AccessProblem },
    /// The role lacks a right.
    #[error("the database denies it: {0}")]
    Forbidden(String),
    /// Another transaction changed the same rows. The same operation may succeed if it runs again.
    #[error("the database stopped the transaction because of another one: {0}")]
    Conflict(String),
    #[error("{database} has no schema of infrad yet")]
    NoSchema { database: String },
    /// A job that one member does at a time.
    #[error("another member is doing the job {0:?} or took it over: try again in 20 s")]
    Leased(&'static str),
    #[error("the store is in a file, and its keys are next to it")]
    NotShared,
    /// Its copy is unfinished, or another store replaces it.
    #[error("{database} {state}")]
    NotReady { database: String, state: StoreState },
    #[error("{database} is in use by {}", counted(*members, "daemon"))]
    InUse { database: String, members: u64 },
    #[error("{database} has {}", counted(*live, "live session"))]
    HasSessions { database: String, live: u64 },
    /// The row of the CA is missing or was changed.
    #[error("{database} has lost the CA of its store: its row was deleted or changed")]
    NoAuthority { database: String },
    #[error(
        "{database} has an earlier CA than this daemon has seen: its row was replaced, or the database has lost commits"
    )]
    EarlierAuthority { database: String },
    #[error("the keys that sign audience tokens are not open")]
    NoTokenKeys,
    #[error("{database} contains another store")]
    OtherStore { database: String },
    #[error("another command has begun to copy a store into or out of {database}")]
    TakenOver { database: String },
    #[error("the copy in {database} differs from the store")]
    CopyDiffers { database: String },
    /// Only a store in a file can do this.
    #[error("{0} is not possible with a PostgreSQL database")]
    NotOnPostgres(&'static str),
}

impl StoreError {
    /// Whether a shared store has lost its CA, or has an earlier one.
    pub fn is_lost_authority(&self) -> bool {
        matches!(self, Self::NoAuthority { .. } | Self::EarlierAuthority { .. })
    }

    /// Whether the database was unavailable, so that a retry may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Busy
                | Self::Queued(_)
                | Self::NoAnswer { .. }
                | Self::TimedOut { .. }
                | Self::Unavailable { .. }
                | Self::Conflict(_)
                | Self::Leased(_)
        )
    }
}

/// A failure that the database engine reported.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct DatabaseError {
    source: Box<dyn std::error::Error + Send + Sync>,
    is_disk_full: bool,
}

impl DatabaseError {
    pub fn new(source: impl Into<Box<dyn std::error::Error + Send + Sync>>, is_disk_full: bool) -> Self {
        Self { source: source.into(), is_disk_full }
    }
}

/// Whether a write failed because its disk is full.
pub fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.any(|cause| {
        let of_database = cause.downcast_ref::<DatabaseError>().is_some_and(|cause| cause.is_disk_full);
        let of_file = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        of_database || matches!(of_file, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
    })
}

/// The store. Clones share it.
#[derive(Clone)]
pub struct Store {
    engine: Engine,
    cache: Arc<TokenCache>,
}

impl Store {
    /// Opens the database file and migrates its schema. Creates the file if it is missing.
    pub async fn open(path: PathBuf, key: DatabaseKey) -> Result<Self, StoreError> {
        Ok(Self::on(Engine::Sqlite(Sqlite::open(path, key).await?)))
    }

    /// Opens the store in a shared database whose keys are open, as one member of several.
    pub async fn connect(
        database: PostgresDatabase,
        keys: Arc<RowKeys>,
        member: MemberID,
    ) -> Result<Self, StoreError> {
        Ok(Self::on(Engine::Postgres(Arc::new(Postgres::open(database, keys, member).await?))))
    }

    fn on(engine: Engine) -> Self {
        let freshness = match &engine {
            // Its process holds the lock of the data directory.
            Engine::Sqlite(_) => Freshness::exclusive(),
            Engine::Postgres(_) => Freshness::polled(Box::new(since_boot)),
        };
        Self { engine, cache: Arc::new(TokenCache::new(DEFAULT_CACHE_SIZE, freshness)) }
    }

    /// Lets session tokens count for longer while the shared database is away.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        self.cache.freshness().set_grace(grace);
        self
    }

    /// Replaces the token cache by an empty one that takes at most `bytes` of memory.
    #[must_use]
    pub fn with_cache_size(self, bytes: usize) -> Self {
        Self { cache: Arc::new(self.cache.resized(bytes)), ..self }
    }
}

#[cfg(test)]
mod contract;
