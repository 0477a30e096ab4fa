//! Sessions: how they are opened, stored, selected and ended.

mod client_info;
mod end_reason;
mod selection;

use std::sync::OnceLock;

use infra_shared::api::{Delegation, User};
use infra_shared::token_text::SessionID;
use jiff::{SignedDuration, Timestamp};
use serde_json::value::RawValue;

use super::engine::await_engine;
use super::{NewRefreshToken, Store, StoreError, TokenHash};
use crate::platform::uncancelled;

pub use client_info::ClientInfo;
pub use end_reason::{EndReason, Ended};
pub use selection::{RevokedSession, SessionSelector, UserFilter};

/// How long a session's row outlives it, so that the client can learn how the session ended.
const RETENTION: SignedDuration = SignedDuration::from_hours(24);

#[derive(Debug, Clone)]
pub struct NewSession {
    pub id: SessionID,
    pub token_hash: TokenHash,
    pub user: User,
    /// Whether the provider verified the user's email. Policy rules may use only verified addresses.
    pub email_verified: bool,
    pub client_info: ClientInfo,
    pub refresh_token: Option<NewRefreshToken>,
    /// `None` for a session that a login opened.
    pub delegation: Option<Box<Delegation>>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// A stored session. Ended sessions stay until they are purged.
#[derive(Debug, Clone)]
pub struct StoredSession {
    pub id: SessionID,
    pub token_hash: TokenHash,
    pub user: User,
    pub email_verified: bool,
    pub client_info: ClientInfo,
    /// `None` for a session that a login opened.
    pub delegation: Option<Box<Delegation>>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub last_used_at: Timestamp,
    pub ended: Option<Ended>,
    /// The number of changes since the session was opened.
    pub(super) revision: u32,
    /// The session as JSON, rendered on first use.
    pub cached_json: OnceLock<CachedJson>,
    /// Whether the configuration of this daemon admits the user, decided on first use.
    pub is_admitted: OnceLock<bool>,
}

impl StoredSession {
    /// Moves the last use forward to `at`, never back.
    pub fn touch(&mut self, at: Timestamp) {
        self.last_used_at = self.last_used_at.max(at);
        self.cached_json = OnceLock::new();
    }
}

/// A session and its user, as JSON.
#[derive(Debug, Clone)]
pub struct CachedJson {
    pub session: Box<RawValue>,
    pub user: Box<RawValue>,
}

/// Live sessions in the order of their IDs.
pub struct SessionPage {
    pub sessions: Vec<StoredSession>,
    /// After which session the next page starts; `None` for the last page.
    pub next: Option<SessionID>,
}

impl Store {
    /// Stores a session and revokes the user's oldest sessions beyond `max_per_user` (1 or more). Returns the revoked
    /// sessions.
    pub async fn open_session(
        &self,
        session: NewSession,
        max_per_user: u32,
    ) -> Result<Vec<RevokedSession>, StoreError> {
        let store = self.clone();
        uncancelled(async move {
            let revoked = await_engine!(store, engine => engine.open_session(session, max_per_user))?;
            store.drop_cached(&revoked);
            Ok(revoked)
        })
        .await
    }

    /// Looks up a session by id without the cache.
    pub async fn find_session(&self, id: &SessionID) -> Result<Option<StoredSession>, StoreError> {
        await_engine!(self, engine => engine.find_session(id))
    }

    /// Records a use of the session: moves `last_used_at` forward to `at`, never back.
    pub async fn touch_session(&self, id: &SessionID, at: Timestamp) -> Result<(), StoreError> {
        // Update the cache first, so that concurrent requests do not write again.
        self.cache.touch(id, at);
        await_engine!(self, engine => engine.touch_session(id, at))
    }

    /// Stores new user claims from the provider for a live session and those that it delegated. The cache drops the old
    /// ones.
    pub async fn update_user(
        &self,
        id: &SessionID,
        user: User,
        email_verified: bool,
    ) -> Result<(), StoreError> {
        let (store, id) = (self.clone(), id.clone());
        uncancelled(async move {
            match await_engine!(store, engine => engine.update_user(&id, user, email_verified)) {
                Ok(updated) => {
                    store.cache.remove_sessions(&updated);
                    Ok(())
                }
                Err(error) => {
                    // It may be stored nevertheless.
                    store.cache.remove_families(&[id]);
                    Err(error)
                }
            }
        })
        .await
    }

    /// Deletes the client addresses of up to `at_most` sessions. Returns the number changed.
    pub async fn forget_addresses(&self, at_most: u32) -> Result<usize, StoreError> {
        let forgotten = await_engine!(self, engine => engine.forget_addresses(at_most))?;
        if forgotten > 0 {
            // The cache has them as well.
            self.cache.clear();
        }
        Ok(forgotten)
    }
}

/// The oldest of a user's `live` sessions of logins beyond `max_per_user`. The session `newest` counts and stays.
pub(super) fn over_limit(
    mut live: Vec<(Timestamp, SessionID)>,
    newest: &SessionID,
    max_per_user: u32,
) -> Vec<SessionID> {
    live.retain(|(_, id)| id != newest);
    live.sort_by(|(one, one_id), (other, other_id)| {
        other.cmp(one).then_with(|| one_id.as_str().cmp(other_id.as_str()))
    });
    live.into_iter().skip(max_per_user.saturating_sub(1) as usize).map(|(_, id)| id).collect()
}

/// Sessions that expired at this time or before are deleted.
pub(super) fn expired_before(now: Timestamp) -> Timestamp {
    now.checked_sub(RETENTION).unwrap_or(Timestamp::MIN)
}
