//! Audience tokens: insert, read, delete.

use infra_shared::token_text::SessionID;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{Sqlite, sessions};
use crate::store::audience_tokens::wait_for_next;
use crate::store::{AudienceRestriction, AudienceTokenRow, IssueOutcome, StoreError, time};

impl Sqlite {
    pub(in crate::store) async fn issue_audience_token(
        &self,
        token: AudienceTokenRow,
        max_per_session: u32,
    ) -> Result<IssueOutcome, StoreError> {
        self.connections.write(move |transaction| insert(transaction, &token, max_per_session)).await
    }

    pub(in crate::store) async fn session_of_audience_token(
        &self,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<SessionID>, StoreError> {
        let found = self.connections.look_up(|reader| find(reader, id)).await?;
        Ok(found.filter(|(_, restriction)| restriction.expires_at > now).map(|(session, _)| session))
    }
}

fn insert(
    transaction: &Transaction<'_>,
    token: &AudienceTokenRow,
    max_per_session: u32,
) -> Result<IssueOutcome, StoreError> {
    let (session, now) = (token.session.as_str(), time::to_database(token.created_at));
    let is_live = transaction
        .prepare_cached("SELECT 1 FROM sessions WHERE id = ?1 AND ended_at IS NULL")?
        .exists([session])?;
    if !is_live {
        return Ok(IssueOutcome::SessionEnded);
    }
    transaction
        .prepare_cached("DELETE FROM audience_tokens WHERE session_id = ?1 AND expires_at <= ?2")?
        .execute(params![session, now])?;
    let (live, first): (u32, Option<i64>) = transaction
        .prepare_cached("SELECT count(*), min(expires_at) FROM audience_tokens WHERE session_id = ?1")?
        .query_row([session], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let first = first.map(time::from_database).transpose()?;
    if let Some(wait) = wait_for_next(live, first, max_per_session, time::from_database(now)?) {
        return Ok(IssueOutcome::LimitReached(wait));
    }
    transaction
        .prepare_cached(
            "INSERT INTO audience_tokens (id, token_hash, session_id, audience, created_at, expires_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            token.id.as_str(),
            token.token_hash.0,
            session,
            token.audience,
            now,
            time::to_database(token.expires_at),
        ])?;
    Ok(IssueOutcome::Issued)
}

/// Deletes expired tokens. Validation rejects an expired and a deleted token alike.
pub(super) fn purge(transaction: &Transaction<'_>, now: Timestamp) -> Result<(), StoreError> {
    transaction.execute("DELETE FROM audience_tokens WHERE expires_at <= ?1", [time::to_database(now)])?;
    Ok(())
}

pub(super) fn find(
    reader: &Connection,
    id: &str,
) -> Result<Option<(SessionID, AudienceRestriction)>, StoreError> {
    let row = reader
        .prepare_cached(
            "SELECT session_id, audience, created_at, expires_at FROM audience_tokens WHERE id = ?1",
        )?
        .query_row([id], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((session, audience, created_at, expires_at)) = row else { return Ok(None) };
    let restriction = AudienceRestriction {
        audience,
        created_at: time::from_database(created_at)?,
        expires_at: time::from_database(expires_at)?,
    };
    Ok(Some((sessions::session_id(&session)?, restriction)))
}
