//! Lists and counts live sessions.

use infra_shared::token_text::SessionID;
use jiff::Timestamp;

use super::engine::await_engine;
use super::{SessionPage, Store, StoreError, StoredSession};

impl Store {
    /// Returns up to `at_most` live sessions at `now` whose IDs follow `after`.
    pub async fn live_sessions(
        &self,
        now: Timestamp,
        after: Option<SessionID>,
        at_most: u32,
    ) -> Result<SessionPage, StoreError> {
        await_engine!(self, engine => engine.live_sessions(now, after, at_most))
    }

    /// Returns the newest `at_most` live sessions of users with this email, verified or not, or this subject.
    pub async fn sessions_named(
        &self,
        name: &str,
        at_most: u32,
        now: Timestamp,
    ) -> Result<Vec<StoredSession>, StoreError> {
        await_engine!(self, engine => engine.sessions_named(name, at_most, now))
    }

    /// Returns a user's live sessions at `now`, newest first.
    pub async fn sessions_of(
        &self,
        issuer: &str,
        subject: &str,
        now: Timestamp,
    ) -> Result<Vec<StoredSession>, StoreError> {
        await_engine!(self, engine => engine.sessions_of(issuer, subject, now))
    }

    /// Returns a user's newest `at_most` live sessions that logins opened after `after`.
    pub async fn sessions_after(
        &self,
        issuer: &str,
        subject: &str,
        after: Timestamp,
        at_most: u32,
        now: Timestamp,
    ) -> Result<Vec<StoredSession>, StoreError> {
        await_engine!(self, engine => engine.sessions_after(issuer, subject, after, at_most, now))
    }

    /// Counts the live sessions at `now` that were used at `used_since` or later.
    pub async fn count_live_sessions(
        &self,
        now: Timestamp,
        used_since: Timestamp,
    ) -> Result<u64, StoreError> {
        await_engine!(self, engine => engine.count_live_sessions(now, used_since))
    }
}
