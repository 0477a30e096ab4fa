//! The PostgreSQL engine. Only this module knows its client library.
//!
//! Every statement is unnamed and typed (`query_typed`), so that it needs one round trip and no state of the session: it works
//! behind a pooler in transaction mode.

mod connections;
mod connector;
mod database;
mod diagnosis;
mod error;
mod members;
mod schema;
mod settings;

use std::sync::Arc;

use super::MemberID;
use super::writes::Writes;
use crate::keys::RowKeys;
use connections::Connections;

pub use database::PostgresDatabase;
pub use diagnosis::{HostReport, ServerFacts};
pub use settings::{ClientCertificate, DatabaseHost, DatabasePassword, PostgresSettings};

pub(in crate::store) struct Postgres {
    connections: Connections,
    rows: Arc<RowKeys>,
    writes: Writes,
    member: MemberID,
}

impl Postgres {
    /// The store in a database whose keys are open.
    pub(in crate::store) fn new(database: PostgresDatabase, rows: Arc<RowKeys>, member: MemberID) -> Self {
        Self { connections: database.into_connections(), rows, writes: Writes::default(), member }
    }
}

#[cfg(test)]
mod tests;
