//! Audience tokens of sessions. They end with their session.

use infra_shared::token_text::{AudienceTokenID, SessionID};
use jiff::{SignedDuration, Timestamp};

use super::engine::await_engine;
use super::{Store, StoreError, TokenHash};

#[derive(Debug, Clone)]
pub struct AudienceTokenRow {
    pub id: AudienceTokenID,
    pub token_hash: TokenHash,
    pub session: SessionID,
    pub audience: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudienceRestriction {
    pub audience: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// What became of a token that a session asked for: an audience token, or that of a delegated session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssueOutcome {
    Issued,
    SessionEnded,
    /// The session has too many. The first of them expires after this duration.
    LimitReached(SignedDuration),
}

/// How long a session with `live` tokens of a kind waits for its next one. The first of them expires at `first`.
pub(super) fn wait_for_next(
    live: u32,
    first: Option<Timestamp>,
    max_per_session: u32,
    now: Timestamp,
) -> Option<SignedDuration> {
    first.filter(|_| live >= max_per_session).map(|first| first.duration_since(now))
}

impl Store {
    /// Stores a token if its session is live and has fewer than `max_per_session` live tokens.
    pub async fn issue_audience_token(
        &self,
        token: AudienceTokenRow,
        max_per_session: u32,
    ) -> Result<IssueOutcome, StoreError> {
        await_engine!(self, engine => engine.issue_audience_token(token, max_per_session))
    }

    /// Returns the session of the audience token with this ID; `None` if there is none or it has expired.
    pub async fn session_of_audience_token(
        &self,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<SessionID>, StoreError> {
        await_engine!(self, engine => engine.session_of_audience_token(id, now))
    }
}
