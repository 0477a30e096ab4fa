//! The PostgreSQL engine. Only this module knows its client library.
//!
//! Every statement is unnamed and typed (`query_typed`), so that it needs one round trip and no state of the session: it works
//! behind a pooler in transaction mode.

mod acme;
mod audience_tokens;
mod authorities;
mod certificates;
mod challenges;
mod changes;
mod clock;
mod connections;
mod connector;
mod copy;
mod database;
mod delegation;
mod diagnosis;
mod dummy;
mod error;
mod key_rotation;
mod leases;
mod limited_stream;
mod listing;
mod lost_commits;
mod members;
mod moving;
mod named_rows;
mod polls;
mod probe;
mod provider_endpoints;
mod providers;
mod purge;
mod refresh_tokens;
mod revocation;
mod rollback;
mod schema;
mod session_rows;
mod sessions;
mod settings;
mod statements;
mod tickets;
mod token_lookup;
mod touch;
mod transactions;
mod transfer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64};

use infra_shared::clock::Clock;

use super::writes::Writes;
use super::{MemberID, StoreError};
use crate::fair_queue::FairQueue;
use crate::keys::RowKeys;
use authorities::Seen;
use clock::Offset;
use connections::Connections;
use lost_commits::RecentRevocations;
use probe::OneCheck;
use touch::Uses;
use transactions::in_transaction;

pub use database::PostgresDatabase;
pub use diagnosis::{HostReport, ServerFacts, Written};
pub use error::AccessProblem;
pub use settings::{ClientCertificate, DatabaseHost, DatabasePassword, PostgresSettings};

/// One member's view of the store in a shared database.
pub(in crate::store) struct Postgres {
    connections: Connections,
    /// In front of look-ups of tokens.
    look_ups: FairQueue,
    check: OneCheck,
    rows: Arc<RowKeys>,
    writes: Writes,
    member: MemberID,
    /// The last uses of sessions that are not written yet.
    uses: Uses,
    /// What this member revoked in the last minutes.
    recent: RecentRevocations,
    /// The last number of a change that this member has seen.
    counter: AtomicI64,
    /// The CA and the next one, as this member has seen them.
    authorities: Seen,
    /// The latest time that a member recorded, in milliseconds.
    latest: AtomicI64,
    /// Whether the recorded time was in the future when it was last read.
    is_latest_wrong: AtomicBool,
    clock: Offset,
}

impl Postgres {
    /// Opens the store in a database whose keys are open, and reads what the members know.
    pub(in crate::store) async fn open(
        database: PostgresDatabase,
        rows: Arc<RowKeys>,
        member: MemberID,
    ) -> Result<Self, StoreError> {
        let postgres = Self {
            connections: database.into_connections(),
            look_ups: token_lookup::queue(),
            check: OneCheck::default(),
            rows,
            writes: Writes::default(),
            member,
            uses: Uses::default(),
            recent: RecentRevocations::default(),
            counter: AtomicI64::new(0),
            authorities: Seen::default(),
            latest: AtomicI64::new(0),
            is_latest_wrong: AtomicBool::new(false),
            clock: Offset::default(),
        };
        let keys = &*postgres.rows;
        in_transaction!(&postgres, transaction => dummy::insert(&transaction, keys).await)?;
        postgres.read_latest().await?;
        Ok(postgres)
    }

    /// The server in use.
    pub(in crate::store) fn server(&self) -> Option<String> {
        self.connections.connector().last_host()
    }

    pub(in crate::store) fn clock(&self, host: Arc<dyn Clock>) -> Arc<dyn Clock> {
        self.clock.clock(host)
    }
}

#[cfg(test)]
mod tests;
