//! Turns a token into a caller. All routes that require authentication use this, from the cache or the store.

use std::sync::Arc;
use std::time::Duration;

use infra_shared::api::{Session, User};
use jiff::{SignedDuration, Timestamp};
use serde_json::value::to_raw_value;

use super::authority::is_accepted;
use super::{Sessions, truncate_to_second};
use crate::audit::{Event, RejectedToken};
use crate::identity::Email;
use crate::store::{
    AudienceRestriction, CachedJson, EndReason, FoundToken, Presented, StoreError, StoredSession,
};

/// Whether a request counts as use of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionUse {
    /// Extends the inactivity timeout.
    Recorded,
    /// Leaves the inactivity timeout unchanged.
    NotRecorded,
}

/// How long a response waits until the session's last use is stored. Unit tests wait for it, also on a busy disk.
const RECORD_USE_TIMEOUT: Duration = Duration::from_millis(if cfg!(test) { 60_000 } else { 50 });

/// The session and the user of a valid token. Only this file creates one.
#[derive(Debug, Clone)]
pub struct Caller {
    session: Session,
    stored: Arc<StoredSession>,
}

/// A caller with a token that the addressed service accepts. Only this file creates one.
#[derive(Debug, Clone)]
pub struct AuthorizedCaller {
    caller: Caller,
    /// `None` if the caller presented the session token itself.
    restriction: Option<Arc<AudienceRestriction>>,
}

#[derive(Debug, Clone, Copy)]
pub struct AcceptedTokens<'a> {
    pub audience: Option<&'a str>,
    pub session_token: bool,
    /// Whether audience tokens may be signed tokens. Opaque ones always count.
    pub signed: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum NotAuthenticated {
    /// Malformed, unknown ID or wrong secret. Clients cannot distinguish these cases.
    #[error("the token is unknown")]
    Unknown,
    /// The token is correct, but it or its session expired.
    #[error("the session expired")]
    Expired,
    /// The token is correct, but its session was revoked.
    #[error("the session was revoked or signed out")]
    Revoked,
    /// The token is valid, but for another audience.
    #[error("the token is for another audience")]
    AudienceMismatch,
    /// The store failed, so the token may or may not be valid.
    #[error("store: {0}")]
    Store(#[from] StoreError),
}

impl Caller {
    pub fn session(&self) -> &Session {
        &self.session
    }

    pub fn user(&self) -> &User {
        &self.stored.user
    }

    /// The user's e-mail address if the provider has verified it.
    pub fn verified_email(&self) -> Option<&str> {
        let email = self.user().email.as_deref().filter(|_| self.stored.email_verified)?;
        Email::parse(email).map(|_| email)
    }

    /// The session and its user as JSON, rendered once while the session is cached.
    pub fn json(&self) -> &CachedJson {
        self.stored.cached_json.get_or_init(|| {
            let as_json = "a session and a user are JSON";
            CachedJson {
                session: to_raw_value(&self.session).expect(as_json),
                user: to_raw_value(self.user()).expect(as_json),
            }
        })
    }

    pub(super) fn stored(&self) -> &StoredSession {
        &self.stored
    }
}

impl AuthorizedCaller {
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    pub fn issued_at(&self) -> Timestamp {
        self.restriction
            .as_ref()
            .map_or(self.caller.session.created_at, |restriction| truncate_to_second(restriction.created_at))
    }

    /// When the token or its session expires, whichever is earlier.
    pub fn expires_at(&self) -> Timestamp {
        let session = self.caller.session.expires_at;
        self.restriction
            .as_ref()
            .map_or(session, |restriction| truncate_to_second(restriction.expires_at).min(session))
    }
}

impl AcceptedTokens<'_> {
    /// What the daemon's own API accepts.
    pub const SESSION_TOKEN: Self = Self { audience: None, session_token: true, signed: false };
}

impl Sessions {
    /// Validates the session token of a request that reads or changes the store.
    pub async fn authenticate(
        &self,
        presented: impl Into<Presented<'_>>,
        session_use: SessionUse,
    ) -> Result<Caller, NotAuthenticated> {
        let (presented, accepted) = (presented.into(), AcceptedTokens::SESSION_TOKEN);
        let authorized = self.validate_and_count(presented, accepted, session_use).await?;
        Ok(authorized.caller)
    }

    /// Validates a token for a service, where only `accepted` ones are valid. While the shared database is
    /// away, memory answers for as long as the grace lasts.
    pub async fn authenticate_for(
        &self,
        presented: impl Into<Presented<'_>>,
        accepted: AcceptedTokens<'_>,
        session_use: SessionUse,
    ) -> Result<AuthorizedCaller, NotAuthenticated> {
        let presented = presented.into();
        let text = presented.token;
        if let Some(authorized) = self.validate_in_grace(text, accepted, session_use).await {
            return Ok(authorized);
        }
        match self.validate_and_count(presented, accepted, session_use).await {
            // The database went away meanwhile.
            Err(NotAuthenticated::Store(error)) if error.is_transient() => {
                let in_grace = self.validate_in_grace(text, accepted, session_use).await;
                in_grace.ok_or(NotAuthenticated::Store(error))
            }
            validated => validated,
        }
    }

    async fn validate_and_count(
        &self,
        presented: Presented<'_>,
        accepted: AcceptedTokens<'_>,
        session_use: SessionUse,
    ) -> Result<AuthorizedCaller, NotAuthenticated> {
        let validated = self.validate(presented, accepted, session_use).await;
        if let Err(error) = &validated {
            self.count_rejected_token(error);
        }
        validated
    }

    /// Like [`Self::authenticate_for`] with [`SessionUse::Recorded`], but from current knowledge only and without waiting.
    ///
    /// `None` means not cached, not valid, or that a use must be stored first.
    pub fn authenticate_cached(&self, text: &str, accepted: AcceptedTokens<'_>) -> Option<AuthorizedCaller> {
        let (found, now) = (self.find_presented_cached(text, accepted)?, self.checked_now().ok()?);
        self.check_validity(&found, accepted, now).ok()?;
        (!self.is_use_due(&found.session, now)).then(|| self.caller_from(found))
    }

    /// Validates a session token from memory while the shared database is away and the grace lasts.
    ///
    /// `None` means that only the database can answer: for tokens that are not in memory or no longer valid, for audience
    /// tokens, for administrators, and for users who look at their session.
    async fn validate_in_grace(
        &self,
        text: &str,
        accepted: AcceptedTokens<'_>,
        session_use: SessionUse,
    ) -> Option<AuthorizedCaller> {
        if session_use == SessionUse::NotRecorded {
            return None;
        }
        let mut found = self.store.find_token_in_grace(text)?;
        let now = self.checked_now().ok()?;
        self.check_validity(&found, accepted, now).ok()?;
        if self.is_administrator(&self.caller_from(found.clone()).caller) {
            return None;
        }
        if self.is_use_due(&found.session, now) {
            self.record_use(&mut found, truncate_to_second(now)).await;
        }
        self.count_validation_in_grace();
        Some(self.caller_from(found))
    }

    /// Counts an answer in grace, and reports the first of an outage.
    fn count_validation_in_grace(&self) {
        if let Some(grace) = self.store.begin_grace() {
            let grace_seconds = grace.as_secs();
            tracing::warn!(
                grace_seconds,
                "the database is away: validating known session tokens from memory until the grace is over"
            );
            self.audit.record(&Event::GraceStarted { grace_seconds });
        }
        self.counts.validation_in_grace();
        self.audit.count_validation_in_grace();
    }

    async fn validate(
        &self,
        presented: Presented<'_>,
        accepted: AcceptedTokens<'_>,
        session_use: SessionUse,
    ) -> Result<AuthorizedCaller, NotAuthenticated> {
        let mut found = self.find_presented(presented, accepted).await?.ok_or(NotAuthenticated::Unknown)?;
        let now = self.checked_now()?;
        // The last use in the cache may be outdated, if a read of the session overlapped it.
        if self.has_expired(&found.session, now) {
            let stored =
                self.store.find_session(&found.session.id).await?.ok_or(NotAuthenticated::Unknown)?;
            if stored.ended.is_none() && self.has_expired(&stored, now) {
                self.end_session(&stored.id, EndReason::Expired).await?;
            }
            found.session = Arc::new(stored);
        }
        self.check_validity(&found, accepted, now)?;
        if session_use == SessionUse::Recorded && self.is_use_due(&found.session, now) {
            self.record_use(&mut found, truncate_to_second(now)).await;
        }
        Ok(self.caller_from(found))
    }

    /// Checks that a token is valid at `now`: accepted here, not expired, and of a live session.
    fn check_validity(
        &self,
        FoundToken { session, restriction, .. }: &FoundToken,
        accepted: AcceptedTokens<'_>,
        now: Timestamp,
    ) -> Result<(), NotAuthenticated> {
        if !is_accepted(session, restriction.as_deref(), accepted) {
            return Err(NotAuthenticated::AudienceMismatch);
        }
        if restriction.as_ref().is_some_and(|restriction| now >= restriction.expires_at) {
            return Err(NotAuthenticated::Expired);
        }
        match session.ended.as_ref().map(|ended| ended.reason) {
            Some(EndReason::Expired) => Err(NotAuthenticated::Expired),
            Some(_) => Err(NotAuthenticated::Revoked),
            // Another member, with another configuration, may have opened it.
            None if !self.is_admitted(session) => Err(NotAuthenticated::Revoked),
            None if self.has_expired(session, now) => Err(NotAuthenticated::Expired),
            None => Ok(()),
        }
    }

    /// Whether a session has reached its lifetime or its inactivity timeout.
    pub(super) fn has_expired(&self, session: &StoredSession, now: Timestamp) -> bool {
        now >= self.idle_expires_at(session.last_used_at, session.expires_at)
    }

    /// Whether the last use was stored so long ago that the next must be: after one minute, or earlier for a short
    /// inactivity timeout.
    fn is_use_due(&self, session: &StoredSession, now: Timestamp) -> bool {
        let interval = SignedDuration::from_secs(60).min(self.limits.inactivity_timeout / 20);
        now.duration_since(session.last_used_at) >= interval
    }

    /// Stores the time of last use.
    ///
    /// Waits briefly only, so that validation does not queue behind logins. A failed write, for example on a full disk,
    /// does not reject the caller: the session may only expire earlier. A use of a delegated session is first one of its
    /// parent, which therefore never idles out before it.
    async fn record_use(&self, found: &mut FoundToken, at: Timestamp) {
        let session = Arc::make_mut(&mut found.session);
        session.touch(at);
        let parent = session.delegation.as_ref().map(|delegation| delegation.parent.clone());
        let (store, id) = (self.store.clone(), session.id.clone());
        let writing = tokio::spawn(async move {
            if let Some(parent) = parent {
                store.touch_session(&parent, at).await?;
            }
            store.touch_session(&id, at).await
        });
        if let Ok(Ok(Err(error))) = tokio::time::timeout(RECORD_USE_TIMEOUT, writing).await {
            // The store counts its own failures and reports the daemon as not ready.
            tracing::debug!(%error, "cannot store the last use of a session");
        }
    }

    fn count_rejected_token(&self, error: &NotAuthenticated) {
        self.audit.count_rejected_token(match error {
            NotAuthenticated::Unknown => RejectedToken::Unknown,
            NotAuthenticated::Expired => RejectedToken::Expired,
            NotAuthenticated::Revoked => RejectedToken::Revoked,
            NotAuthenticated::AudienceMismatch => RejectedToken::AudienceMismatch,
            NotAuthenticated::Store(_) => return,
        });
    }

    fn caller_from(&self, FoundToken { session: stored, restriction, .. }: FoundToken) -> AuthorizedCaller {
        AuthorizedCaller { caller: Caller { session: self.describe(&stored), stored }, restriction }
    }

    /// The session as clients see it.
    pub(super) fn describe(&self, stored: &StoredSession) -> Session {
        Session {
            id: stored.id.clone(),
            created_at: truncate_to_second(stored.created_at),
            expires_at: stored.expires_at,
            idle_expires_at: self.idle_expires_at(stored.last_used_at, stored.expires_at),
            delegation: stored.delegation.as_deref().cloned(),
        }
    }
}
