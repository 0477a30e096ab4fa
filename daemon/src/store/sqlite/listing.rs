//! Lists and counts live sessions.

use infra_shared::token_text::SessionID;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::Sqlite;
use super::sessions::{COLUMNS, stored};
use crate::store::{SessionPage, StoreError, StoredSession, time};

impl Sqlite {
    pub(in crate::store) async fn live_sessions(
        &self,
        now: Timestamp,
        after: Option<SessionID>,
        at_most: u32,
    ) -> Result<SessionPage, StoreError> {
        let scan = move |reader: &Connection| {
            let after = after.as_ref().map_or("", SessionID::as_str);
            let found: Vec<StoredSession> = reader
                .prepare_cached(&page())?
                .query_map(params![after, time::to_database(now), at_most], |row| Ok(stored(row)))?
                .map(|row| row?)
                .collect::<Result<_, _>>()?;
            let is_last = found.len() < at_most as usize;
            let next = found.last().filter(|_| !is_last).map(|session| session.id.clone());
            Ok((found, next))
        };
        let (found, next) = self.connections.scan(scan).await?;
        Ok(SessionPage { sessions: self.verify_current(found).await?, next })
    }

    pub(in crate::store) async fn sessions_named(
        &self,
        name: &str,
        at_most: u32,
        now: Timestamp,
    ) -> Result<Vec<StoredSession>, StoreError> {
        let name = name.to_owned();
        let found = self
            .connections
            .read_aside(move |reader| {
                reader
                    .prepare_cached(&named())?
                    .query_map(params![name, time::to_database(now), at_most], |row| Ok(stored(row)))?
                    .map(|row| row?)
                    .collect::<Result<Vec<_>, _>>()
            })
            .await?;
        self.verify_current(found).await
    }

    /// Drops sessions that ended since they were read. Fails if the rollback guard finds an older row.
    async fn verify_current(&self, sessions: Vec<StoredSession>) -> Result<Vec<StoredSession>, StoreError> {
        self.guard.check()?;
        let mut current = Vec::with_capacity(sessions.len());
        for session in sessions {
            let is_current = self
                .guard
                .minimum_state(session.id.as_str())
                .allows(session.revision, session.ended.is_some());
            // Changed while it was read, or rolled back: a second read decides.
            let session = if is_current { Some(session) } else { self.find_session(&session.id).await? };
            current.extend(session.filter(|session| session.ended.is_none()));
        }
        Ok(current)
    }

    pub(in crate::store) async fn sessions_of(
        &self,
        issuer: &str,
        subject: &str,
        now: Timestamp,
    ) -> Result<Vec<StoredSession>, StoreError> {
        self.user_sessions(issuer, subject, (i64::MIN, true), -1, now).await
    }

    pub(in crate::store) async fn sessions_after(
        &self,
        issuer: &str,
        subject: &str,
        after: Timestamp,
        at_most: u32,
        now: Timestamp,
    ) -> Result<Vec<StoredSession>, StoreError> {
        self.user_sessions(issuer, subject, (time::to_database(after), false), at_most.into(), now).await
    }

    /// Sessions opened after `after`, and delegated ones if wanted. A negative limit means no limit. The order matches the index `sessions_by_user`, so only returned rows are
    /// read.
    async fn user_sessions(
        &self,
        issuer: &str,
        subject: &str,
        (after, with_delegated): (i64, bool),
        limit: i64,
        now: Timestamp,
    ) -> Result<Vec<StoredSession>, StoreError> {
        let found = self
            .connections
            .look_up(|reader| {
                reader
                .prepare_cached(&format!(
                    "SELECT {COLUMNS} FROM sessions WHERE issuer = ?1 AND subject = ?2 AND ended_at IS NULL \
                     AND expires_at > ?3 AND created_at > ?4 AND (?6 OR parent_id IS NULL) \
                     ORDER BY created_at DESC, id DESC LIMIT ?5"
                ))?
                .query_map(
                    params![issuer, subject, time::to_database(now), after, limit, with_delegated],
                    |row| Ok(stored(row)),
                )?
                .map(|row| row?)
                .collect()
            })
            .await?;
        self.verify_current(found).await
    }

    pub(in crate::store) async fn count_live_sessions(
        &self,
        now: Timestamp,
        used_since: Timestamp,
    ) -> Result<u64, StoreError> {
        let count = move |reader: &Connection| {
            let count: i64 = reader.query_row(
                "SELECT count(*) FROM sessions WHERE ended_at IS NULL AND expires_at > ?1 AND last_used_at >= ?2",
                [time::to_database(now), time::to_database(used_since)],
                |row| row.get(0),
            )?;
            u64::try_from(count).map_err(|_| StoreError::UnexpectedRow("a count"))
        };
        self.connections.scan(count).await
    }
}

/// ?1: the ID before, ?2: now, ?3: the limit. The `+` stops SQLite from using the index of `expires_at` and sorting.
fn page() -> String {
    format!(
        "SELECT {COLUMNS} FROM sessions WHERE id > ?1 AND ended_at IS NULL AND +expires_at > ?2 ORDER BY id LIMIT ?3"
    )
}

/// ?1: the name, ?2: now, ?3: the limit.
fn named() -> String {
    format!(
        "SELECT {COLUMNS} FROM sessions WHERE {} AND ended_at IS NULL \
         AND +expires_at > ?2 ORDER BY created_at DESC, id DESC LIMIT ?3",
        user_condition("?1")
    )
}

/// The SQL condition for sessions of a user with this email or subject. A UNION, because SQLite would scan for an OR.
pub(super) fn user_condition(parameter: &str) -> String {
    format!(
        "id IN (SELECT id FROM sessions WHERE subject = {parameter} \
         UNION SELECT id FROM sessions WHERE email = {parameter} COLLATE NOCASE)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How SQLite runs a query of three parameters.
    fn plan(query: &str) -> Vec<String> {
        let database = rusqlite::Connection::open_in_memory().expect("a database");
        database.execute_batch(include_str!("migrations/0001_first.sql")).expect("the schema");
        database
            .prepare(&format!("EXPLAIN QUERY PLAN {query}"))
            .and_then(|mut explain| {
                explain.query_map(params!["alice", 1, 2], |row| row.get("detail"))?.collect()
            })
            .expect("a plan")
    }

    #[test]
    fn page_of_sessions_is_read_in_order_of_ids() {
        assert_eq!(plan(&page()), ["SEARCH sessions USING PRIMARY KEY (id>?)"]);
    }

    #[test]
    fn sessions_named_uses_indexes_only() {
        let plan = plan(&named());
        for index in ["sessions_by_subject", "sessions_by_email"] {
            assert!(plan.iter().any(|step| step.contains(index)), "{plan:?}");
        }
        assert!(plan.iter().all(|step| !step.starts_with("SCAN")), "{plan:?}");
    }
}
