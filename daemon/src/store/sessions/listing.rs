//! Live sessions: all of them, those of a user, and how many there are.

use jiff::Timestamp;
use rusqlite::params;

use super::{COLUMNS, Store, StoreError, StoredSession, stored, time};

impl Store {
    /// Those sessions, neither ended nor at the end of their lifetime at `now`, that `is_wanted` picks.
    pub fn live_sessions(
        &self,
        now: Timestamp,
        mut is_wanted: impl FnMut(&StoredSession) -> bool,
    ) -> Result<Vec<StoredSession>, StoreError> {
        self.connections.read(|reader| {
            let mut select = reader.prepare(&format!(
                "SELECT {COLUMNS} FROM sessions WHERE ended_at IS NULL AND expires_at > ?1"
            ))?;
            let mut wanted = Vec::new();
            for row in select.query_map([time::to_database(now)], |row| Ok(stored(row)))? {
                let session = row??;
                if is_wanted(&session) {
                    wanted.push(session);
                }
            }
            Ok(wanted)
        })
    }

    /// The sessions of a user that neither ended nor reached the end of their lifetime at `now`, the newest first.
    pub fn sessions_of(
        &self,
        issuer: &str,
        subject: &str,
        now: Timestamp,
    ) -> Result<Vec<StoredSession>, StoreError> {
        self.of_user(issuer, subject, i64::MIN, -1, now)
    }

    /// The newest `at_most` of those that were opened later than `after`.
    pub fn sessions_after(
        &self,
        issuer: &str,
        subject: &str,
        after: Timestamp,
        at_most: u32,
        now: Timestamp,
    ) -> Result<Vec<StoredSession>, StoreError> {
        self.of_user(issuer, subject, time::to_database(after), at_most.into(), now)
    }

    /// A limit below zero is none. In the order of the index `sessions_by_user`, so that no more rows are read than wanted.
    fn of_user(
        &self,
        issuer: &str,
        subject: &str,
        after: i64,
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<StoredSession>, StoreError> {
        self.connections.read(|reader| {
            reader
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM sessions WHERE issuer = ?1 AND subject = ?2 AND ended_at IS NULL \
                     AND expires_at > ?3 AND created_at > ?4 ORDER BY created_at DESC, id DESC LIMIT ?5"
                ))?
                .query_map(params![issuer, subject, time::to_database(now), after, limit], |row| {
                    Ok(stored(row))
                })?
                .map(|row| row?)
                .collect()
        })
    }

    /// How many sessions are neither ended nor at the end of their lifetime.
    pub fn count_live_sessions(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.connections.read(|reader| {
            let count: i64 = reader.query_row(
                "SELECT count(*) FROM sessions WHERE ended_at IS NULL AND expires_at > ?1",
                [time::to_database(now)],
                |row| row.get(0),
            )?;
            u64::try_from(count).map_err(|_| StoreError::UnexpectedRow("a count"))
        })
    }
}
