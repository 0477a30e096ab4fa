//! The row of the rollback guard.

use rusqlite::{Connection, Transaction, params};

use super::digest::Digest;
use crate::store::StoreError;

/// The counter and digests of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store::sqlite) struct GuardRow {
    /// Grows with every change.
    pub(super) counter: u64,
    /// Over the state of all sessions.
    pub(super) sessions: Digest,
    /// Over data that must not be undone: changed and ended sessions, used tickets, providers.
    pub(super) changes: Digest,
    /// The latest time seen, in milliseconds.
    pub(super) latest: i64,
}

impl GuardRow {
    pub(super) fn read(connection: &Connection) -> Result<Self, StoreError> {
        connection
            .prepare_cached("SELECT counter, sessions, changes, latest_time FROM rollback_guard")?
            .query_row([], |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, [u8; 32]>(1)?,
                    row.get::<_, [u8; 32]>(2)?,
                    row.get(3)?,
                ))
            })
            .map_err(StoreError::from)
            .and_then(|(counter, sessions, changes, latest)| {
                Ok(Self {
                    counter: u64::try_from(counter)
                        .map_err(|_| StoreError::UnexpectedRow("rollback guard"))?,
                    sessions: Digest::from_bytes(&sessions),
                    changes: Digest::from_bytes(&changes),
                    latest,
                })
            })
    }

    pub(super) fn write(&self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let counter = i64::try_from(self.counter).map_err(|_| StoreError::UnexpectedRow("rollback guard"))?;
        transaction
            .prepare_cached(
                "UPDATE rollback_guard SET counter = ?1, sessions = ?2, changes = ?3, latest_time = ?4",
            )?
            .execute(params![counter, self.sessions.to_bytes(), self.changes.to_bytes(), self.latest])?;
        Ok(())
    }
}
