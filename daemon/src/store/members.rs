//! The daemons that share a store.

use std::fmt;
use std::sync::Arc;

use infra_shared::clock::Clock;
use infra_shared::random;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::engine::Engine;
use super::{Store, StoreError};

/// The id of one run of a daemon, chosen at random at its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberID(String);

/// What a daemon says of itself to the others.
#[derive(Debug, Clone)]
pub struct MemberDescription {
    /// The name of its host.
    pub name: String,
    /// Where it listens. Tells daemons on one host apart.
    pub address: String,
    pub version: String,
}

/// A daemon that shares the store, as of its last heartbeat. Times are of the database's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    pub id: MemberID,
    pub name: String,
    pub address: String,
    pub version: String,
    /// The newest version of the data key that it holds.
    pub data_key_version: u32,
    pub started_at: Timestamp,
    pub seen_at: Timestamp,
    /// How long ago that was when the list was read.
    pub unseen_milliseconds: u64,
    /// How many changes of sessions it did not know at its last heartbeat.
    pub lag: u64,
    /// Whether it is the daemon that was asked.
    pub is_this: bool,
}

impl Store {
    /// Whether other daemons may use the same store.
    pub fn is_shared(&self) -> bool {
        matches!(self.engine, Engine::Postgres(_))
    }

    /// The database server in use. `None` for a store of its own.
    pub fn server(&self) -> Option<String> {
        match &self.engine {
            Engine::Sqlite(_) => None,
            Engine::Postgres(postgres) => postgres.server(),
        }
    }

    /// The clock that all daemons with this store agree on: that of the host, or of a shared database.
    pub fn clock(&self, host: Arc<dyn Clock>) -> Arc<dyn Clock> {
        match &self.engine {
            Engine::Sqlite(_) => host,
            Engine::Postgres(postgres) => postgres.clock(host),
        }
    }

    /// Records for the other daemons that this one runs.
    pub async fn heartbeat(&self, description: &MemberDescription) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(postgres) => postgres.heartbeat(description).await,
        }
    }

    /// Removes this daemon from the list, when it stops.
    pub async fn leave_members(&self) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(postgres) => postgres.leave().await,
        }
    }

    /// Lists the daemons that share the store, oldest first. Empty for a store of its own.
    pub async fn members(&self) -> Result<Vec<Member>, StoreError> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(Vec::new()),
            Engine::Postgres(postgres) => postgres.members().await,
        }
    }
}

impl MemberID {
    pub fn random() -> Self {
        Self(random::alphanumeric(16))
    }

    pub(super) fn from_database(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MemberID {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
