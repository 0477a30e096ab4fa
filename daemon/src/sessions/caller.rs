//! Turns a session token into a caller: one function for all routes that require authentication.

use std::sync::Arc;
use std::time::Duration;

use infra_shared::api::{Session, User};
use infra_shared::token_text::{AudienceToken, SessionToken};
use jiff::{SignedDuration, Timestamp};
use serde_json::value::to_raw_value;

use super::{Sessions, whole_second};
use crate::audit::RefusedToken;
use crate::identity::Email;
use crate::store::{
    AudienceGrant, CachedJson, EndReason, Ended, FoundToken, StoreError, StoredSession, TokenHash,
};

/// Whether a request counts as use of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Extends the inactivity timeout.
    Counts,
    /// Leaves the inactivity timeout unchanged.
    OnlyLooks,
}

/// How long a response waits for the session's last use to be stored.
const USE_PATIENCE: Duration = Duration::from_millis(50);

/// A caller with a valid session token. Only [`Sessions::authenticate`] creates one.
#[derive(Debug, Clone)]
pub struct Caller {
    session: Session,
    stored: Arc<StoredSession>,
}

/// A caller whose session token is valid according to the cache. Only [`Sessions::authenticate_cached`] creates one.
#[derive(Debug)]
pub struct CachedSession {
    stored: Arc<StoredSession>,
    idle_expires_at: Timestamp,
}

/// A caller with a token valid for one audience. Only [`Sessions::authenticate_for`] creates one.
#[derive(Debug, Clone)]
pub struct AuthorizedCaller {
    caller: Caller,
    /// `None` if the caller presented the session token itself.
    grant: Option<Arc<AudienceGrant>>,
}

/// Which tokens a service accepts.
#[derive(Debug, Clone, Copy)]
pub struct Accepted<'a> {
    pub audience: &'a str,
    /// Whether session tokens are accepted in addition to tokens for `audience`.
    pub session_token: bool,
}

/// Why a token is not valid.
#[derive(Debug, thiserror::Error)]
pub enum NotAuthenticated {
    /// Malformed, unknown ID or wrong secret. Clients cannot distinguish these cases.
    #[error("the token is not known")]
    Unknown,
    /// The token is correct, but its session has reached a limit.
    #[error("the session expired")]
    Expired,
    /// The token is correct, but its session was revoked.
    #[error("the session was ended")]
    Revoked,
    /// The token is valid, but for another audience.
    #[error("the token is for another audience")]
    OtherAudience,
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

    pub(super) fn stored(&self) -> &StoredSession {
        &self.stored
    }
}

impl CachedSession {
    /// The session and its user as cached JSON.
    pub fn json(&self) -> &CachedJson {
        self.stored.cached_json.get_or_init(|| {
            let session = session_of(&self.stored, self.idle_expires_at);
            let as_json = "a session and a user are JSON";
            CachedJson {
                session: to_raw_value(&session).expect(as_json),
                user: to_raw_value(&self.stored.user).expect(as_json),
            }
        })
    }
}

impl AuthorizedCaller {
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// When the token was issued.
    pub fn issued_at(&self) -> Timestamp {
        self.grant.as_ref().map_or(self.caller.session.created_at, |grant| whole_second(grant.created_at))
    }

    /// When the token or its session expires, whichever is earlier.
    pub fn expires_at(&self) -> Timestamp {
        let session = self.caller.session.expires_at;
        self.grant.as_ref().map_or(session, |grant| whole_second(grant.expires_at).min(session))
    }
}

impl Sessions {
    /// Validates the session token in `text`.
    pub async fn authenticate(&self, text: &str, use_: Use) -> Result<Caller, NotAuthenticated> {
        let recognised = self.recognise(text, use_).await;
        if let Err(error) = &recognised {
            self.count_refused(error);
        }
        recognised
    }

    fn count_refused(&self, error: &NotAuthenticated) {
        self.audit.count_refused(match error {
            NotAuthenticated::Unknown => RefusedToken::Unknown,
            NotAuthenticated::Expired => RefusedToken::Expired,
            NotAuthenticated::Revoked => RefusedToken::Revoked,
            NotAuthenticated::OtherAudience => RefusedToken::OtherAudience,
            NotAuthenticated::Store(_) => return,
        });
    }

    /// Validates the token in `text` for one audience.
    pub async fn authenticate_for(
        &self,
        text: &str,
        accepted: Accepted<'_>,
        use_: Use,
    ) -> Result<AuthorizedCaller, NotAuthenticated> {
        let recognised = self.recognise_for(text, accepted, use_).await;
        if let Err(error) = &recognised {
            self.count_refused(error);
        }
        recognised
    }

    /// Like [`Self::authenticate`] with [`Use::Counts`], but from the cache only and without waiting.
    ///
    /// `None` means not cached, or that a use must be stored first. It does not mean invalid.
    pub fn authenticate_cached(&self, text: &str) -> Option<CachedSession> {
        let found = self.store.recall(text).filter(|found| found.grant.is_none())?;
        self.is_still_valid(&found.session).then(|| CachedSession {
            idle_expires_at: self.idle_expires_at(found.session.last_used_at, found.session.expires_at),
            stored: found.session,
        })
    }

    /// Like [`Self::authenticate_for`], but from the cache only, as in [`Self::authenticate_cached`].
    pub fn authenticate_for_cached(&self, text: &str, accepted: Accepted<'_>) -> Option<AuthorizedCaller> {
        let found = self.store.recall(text)?;
        let grant = found.grant.clone();
        let is_accepted = match &grant {
            Some(grant) => grant.audience == accepted.audience && self.time().ok()? < grant.expires_at,
            None => accepted.session_token,
        };
        if !is_accepted {
            return None;
        }
        Some(AuthorizedCaller { caller: self.judge_cached(found)?, grant })
    }

    fn judge_cached(&self, found: FoundToken) -> Option<Caller> {
        let last_used_at = found.session.last_used_at;
        self.is_still_valid(&found.session).then(|| self.caller(found.session, last_used_at))
    }

    /// Whether a cached session is still valid and its last use is recent enough not to be stored again.
    fn is_still_valid(&self, stored: &StoredSession) -> bool {
        let Ok(now) = self.time() else { return false };
        stored.ended.is_none()
            && now < self.idle_expires_at(stored.last_used_at, stored.expires_at)
            && now.duration_since(stored.last_used_at) < self.use_interval()
    }

    async fn recognise(&self, text: &str, use_: Use) -> Result<Caller, NotAuthenticated> {
        let token = SessionToken::parse(text).ok_or(NotAuthenticated::Unknown)?;
        let found = self.store.find_session_of(&token)?.ok_or(NotAuthenticated::Unknown)?;
        self.judge(found, use_).await
    }

    async fn recognise_for(
        &self,
        text: &str,
        accepted: Accepted<'_>,
        use_: Use,
    ) -> Result<AuthorizedCaller, NotAuthenticated> {
        let Some(token) = AudienceToken::parse(text) else {
            let token = SessionToken::parse(text).ok_or(NotAuthenticated::Unknown)?;
            let found = self.store.find_session_of(&token)?.ok_or(NotAuthenticated::Unknown)?;
            if !accepted.session_token {
                return Err(NotAuthenticated::OtherAudience);
            }
            let caller = self.judge(found, use_).await?;
            return Ok(AuthorizedCaller { caller, grant: None });
        };
        let found = self.store.find_audience_token(&token)?.ok_or(NotAuthenticated::Unknown)?;
        let grant = found.grant.clone().ok_or(NotAuthenticated::Unknown)?;
        if grant.audience != accepted.audience {
            return Err(NotAuthenticated::OtherAudience);
        }
        if self.time()? >= grant.expires_at {
            return Err(NotAuthenticated::Expired);
        }
        let caller = self.judge(found, use_).await?;
        Ok(AuthorizedCaller { caller, grant: Some(grant) })
    }

    /// Checks that the session of a correct token is still valid.
    async fn judge(&self, found: FoundToken, use_: Use) -> Result<Caller, NotAuthenticated> {
        let FoundToken { token_hash, session: mut stored, .. } = found;
        let now = self.time()?;
        let is_over =
            |stored: &StoredSession| now >= self.idle_expires_at(stored.last_used_at, stored.expires_at);
        // The cached row may be outdated if another member saw a use of the session.
        if is_over(&stored) {
            stored = Arc::new(self.store.find_session(&stored.id)?.ok_or(NotAuthenticated::Unknown)?);
        }
        match &stored.ended {
            Some(Ended { reason: EndReason::Expired, .. }) => return Err(NotAuthenticated::Expired),
            Some(_) => return Err(NotAuthenticated::Revoked),
            None => {}
        }
        if is_over(&stored) {
            self.revoke_one(&stored.id, EndReason::Expired).await?;
            return Err(NotAuthenticated::Expired);
        }

        let mut last_used_at = stored.last_used_at;
        if use_ == Use::Counts && now.duration_since(last_used_at) >= self.use_interval() {
            last_used_at = whole_second(now);
            self.note_use(&stored, &token_hash, last_used_at).await;
        }
        Ok(self.caller(stored, last_used_at))
    }

    /// Stores the time of last use.
    ///
    /// Waits briefly only, so that validation does not queue behind logins. A failed write, for example on a full disk,
    /// does not reject the caller: the session may only expire earlier.
    async fn note_use(&self, session: &StoredSession, token_hash: &TokenHash, at: Timestamp) {
        let (store, id, token_hash) = (self.store.clone(), session.id.clone(), token_hash.clone());
        let writing = tokio::spawn(async move { store.touch_session(&id, &token_hash, at).await });
        if let Ok(Ok(Err(error))) = tokio::time::timeout(USE_PATIENCE, writing).await {
            // The store counts its own failures and reports the daemon as not ready.
            tracing::debug!(%error, "the use of a session is not written down");
        }
    }

    fn caller(&self, stored: Arc<StoredSession>, last_used_at: Timestamp) -> Caller {
        let session = session_of(&stored, self.idle_expires_at(last_used_at, stored.expires_at));
        Caller { session, stored }
    }

    /// Minimum time between stored uses: one minute, or less for a short inactivity timeout.
    fn use_interval(&self) -> SignedDuration {
        SignedDuration::from_secs(60).min(self.limits.inactivity_timeout / 20)
    }
}

fn session_of(stored: &StoredSession, idle_expires_at: Timestamp) -> Session {
    Session {
        id: stored.id.clone(),
        created_at: whole_second(stored.created_at),
        expires_at: stored.expires_at,
        idle_expires_at,
    }
}
