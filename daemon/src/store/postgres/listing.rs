//! Lists and counts live sessions.

use infra_shared::token_text::SessionID;
use jiff::Timestamp;
use tokio_postgres::Row;

use super::Postgres;
use super::session_rows::{
    COLUMNS_OF_MANY, HAS_SESSION_ID, LARGE_ROWS, replace, select_again, session_id, stored_rows, unread,
};
use super::statements::{Parameter, count, parameters};
use crate::store::{SessionPage, StoreError, StoredSession, time};

impl Postgres {
    pub(in crate::store) async fn live_sessions(
        &self,
        now: Timestamp,
        after: Option<SessionID>,
        at_most: u32,
    ) -> Result<SessionPage, StoreError> {
        let after = after.as_ref().map_or("", SessionID::as_str);
        let select = format!(
            "SELECT {COLUMNS_OF_MANY} FROM sessions s WHERE s.id > $1 AND s.ended_at IS NULL AND s.expires_at > $2 \
             AND {HAS_SESSION_ID} ORDER BY s.id LIMIT $3"
        );
        let rows =
            self.read_many(&select, parameters![after, time::to_database(now), i64::from(at_most)]).await?;
        let is_last = rows.len() < at_most as usize;
        // Of the last row, even if that one does not open.
        let last = rows.last().filter(|_| !is_last);
        let next = last.map(|row| session_id(row.try_get("id")?)).transpose()?;
        Ok(SessionPage { sessions: stored_rows(&self.rows, &rows)?, next })
    }

    pub(in crate::store) async fn sessions_named(
        &self,
        name: &str,
        at_most: u32,
        now: Timestamp,
    ) -> Result<Vec<StoredSession>, StoreError> {
        let select = format!(
            "SELECT {COLUMNS_OF_MANY} FROM sessions s WHERE (s.subject_key = $1 OR s.email_key = $2) AND s.ended_at IS NULL \
             AND s.expires_at > $3 ORDER BY s.created_at DESC, s.id DESC LIMIT $4"
        );
        let (subject, email) = (self.rows.subject_key(name), self.rows.email_key(name));
        let rows = self
            .read_many(
                &select,
                parameters![subject.as_slice(), email.as_slice(), time::to_database(now), i64::from(at_most)],
            )
            .await?;
        stored_rows(&self.rows, &rows)
    }

    pub(in crate::store) async fn sessions_of(
        &self,
        issuer: &str,
        subject: &str,
        now: Timestamp,
    ) -> Result<Vec<StoredSession>, StoreError> {
        self.user_sessions(issuer, subject, (i64::MIN, true), None, now).await
    }

    pub(in crate::store) async fn sessions_after(
        &self,
        issuer: &str,
        subject: &str,
        after: Timestamp,
        at_most: u32,
        now: Timestamp,
    ) -> Result<Vec<StoredSession>, StoreError> {
        self.user_sessions(issuer, subject, (time::to_database(after), false), Some(at_most.into()), now)
            .await
    }

    /// Sessions opened after `after`, and delegated ones if wanted. The order matches the index `sessions_by_user`. No limit means all.
    async fn user_sessions(
        &self,
        issuer: &str,
        subject: &str,
        (after, with_delegated): (i64, bool),
        limit: Option<i64>,
        now: Timestamp,
    ) -> Result<Vec<StoredSession>, StoreError> {
        let select = format!(
            "SELECT {COLUMNS_OF_MANY} FROM sessions s WHERE s.user_key = $1 AND s.ended_at IS NULL AND s.expires_at > $2 \
             AND s.created_at > $3 AND ($5 OR s.parent_id IS NULL) ORDER BY s.created_at DESC, s.id DESC LIMIT $4"
        );
        let user_key = self.rows.user_key(issuer, subject);
        let rows = self
            .read_many(
                &select,
                parameters![user_key.as_slice(), time::to_database(now), after, limit, with_delegated],
            )
            .await?;
        stored_rows(&self.rows, &rows)
    }

    /// Reads sessions, and again the few that are too large to be read with many others.
    async fn read_many(&self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, StoreError> {
        let mut rows = self.read(statement, parameters).await?;
        for ids in unread(&rows, &["sealed"])?.chunks(LARGE_ROWS) {
            let again = self.read(&select_again(), parameters![ids.to_vec()]).await?;
            replace(&mut rows, again)?;
        }
        Ok(rows)
    }

    pub(in crate::store) async fn count_live_sessions(
        &self,
        now: Timestamp,
        used_since: Timestamp,
    ) -> Result<u64, StoreError> {
        let select =
            "SELECT count(*) FROM sessions WHERE ended_at IS NULL AND expires_at > $1 AND last_used_at >= $2";
        let row = self
            .read_one(select, parameters![time::to_database(now), time::to_database(used_since)])
            .await?
            .ok_or(StoreError::UnexpectedRow("no count"))?;
        count(row.try_get(0)?)
    }
}
