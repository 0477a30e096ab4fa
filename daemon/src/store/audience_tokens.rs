//! Audience tokens of sessions: insert, look up, delete. They end with their session.

use std::sync::Arc;

use infra_shared::token_text::{AudienceToken, AudienceTokenID, SessionID};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::sessions::NOBODY;
use super::{FoundToken, Store, StoreError, TokenHash, sessions, time};

/// An audience token to store.
#[derive(Debug, Clone)]
pub struct NewAudienceToken {
    pub id: AudienceTokenID,
    pub token_hash: TokenHash,
    pub session: SessionID,
    pub audience: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// The audience and lifetime of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudienceGrant {
    pub audience: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// The result of storing an audience token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssueOutcome {
    Issued,
    /// Its session has ended.
    SessionEnded,
    /// The session has too many. The first of them expires after this duration.
    LimitReached(SignedDuration),
}

impl Store {
    /// Stores a token if its session is live and has fewer than `max_per_session` live tokens.
    pub async fn issue_audience_token(
        &self,
        token: NewAudienceToken,
        max_per_session: u32,
    ) -> Result<IssueOutcome, StoreError> {
        self.connections.write(move |transaction| insert(transaction, &token, max_per_session)).await
    }

    /// Looks up a token; the result may be one second old. As in [`Self::find_session_of`], an unknown id and a wrong
    /// secret cost the same work and give the same result.
    pub fn find_audience_token(&self, token: &AudienceToken) -> Result<Option<FoundToken>, StoreError> {
        let hash = TokenHash::of_audience_token(token);
        self.guard.check()?;
        if let Some(found) = self.recent.find(&hash) {
            return Ok(Some(found));
        }
        let reading = self.recent.begin();
        let found = self.connections.read(|reader| {
            let is_it = stored_hash(reader, token.id())?.equals(&hash);
            let row = if is_it { token.id().as_str() } else { NOBODY };
            // Purged since its hash was read, because it expired.
            let Some((session, grant)) = find(reader, row)? else { return Ok(None) };
            let expected = self.guard.expected(session.as_str());
            let session = sessions::find(reader, session.as_str())?
                .ok_or(StoreError::UnexpectedRow("audience token"))?;
            self.guard.check_session(&session, expected)?;
            Ok(is_it.then(|| FoundToken {
                token_hash: hash,
                session: Arc::new(session),
                grant: Some(Arc::new(grant)),
            }))
        })?;
        if let Some(found) = found.as_ref().filter(|found| found.session.ended.is_none()) {
            self.recent.remember(found, reading);
        }
        Ok(found)
    }
}

fn insert(
    transaction: &Transaction<'_>,
    token: &NewAudienceToken,
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
    if let Some(first) = first.filter(|_| live >= max_per_session) {
        return Ok(IssueOutcome::LimitReached(SignedDuration::from_millis(first.saturating_sub(now))));
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

fn stored_hash(reader: &Connection, id: &AudienceTokenID) -> Result<TokenHash, StoreError> {
    let hash = reader
        .prepare_cached(
            "SELECT coalesce((SELECT token_hash FROM audience_tokens WHERE id = ?1), zeroblob(32))",
        )?
        .query_row([id.as_str()], |row| row.get(0))?;
    Ok(TokenHash(hash))
}

/// Reads the session and the grant of a token.
pub(super) fn find(reader: &Connection, id: &str) -> Result<Option<(SessionID, AudienceGrant)>, StoreError> {
    let row = reader
        .prepare_cached(
            "SELECT session_id, audience, created_at, expires_at FROM audience_tokens WHERE id = ?1",
        )?
        .query_row([id], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
        .optional()?;
    let Some((session, audience, created_at, expires_at)) = row else { return Ok(None) };
    let grant = AudienceGrant {
        audience,
        created_at: time::from_database(created_at)?,
        expires_at: time::from_database(expires_at)?,
    };
    Ok(Some((sessions::session_id(&session)?, grant)))
}
