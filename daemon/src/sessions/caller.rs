//! Where a session token becomes a caller: one function, for every route that asks who is calling.

use std::sync::Arc;
use std::time::Duration;

use infra_shared::api::{Session, User};
use infra_shared::token_text::{AudienceToken, SessionToken};
use jiff::{SignedDuration, Timestamp};
use serde_json::value::to_raw_value;

use super::{Sessions, whole_second};
use crate::audit::RefusedToken;
use crate::identity::Email;
use crate::store::{AudienceGrant, EndReason, Ended, FoundToken, StoreError, StoredSession, TokenHash, Told};

/// Whether a request counts as use of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It moves the inactivity limit.
    Counts,
    /// It only looks.
    OnlyLooks,
}

/// How long the answer to a token waits for its use to be written down.
const USE_PATIENCE: Duration = Duration::from_millis(50);

/// Somebody whose session token was found good. [`Sessions::authenticate`] alone makes one.
#[derive(Debug, Clone)]
pub struct Caller {
    session: Session,
    stored: Arc<StoredSession>,
}

/// Somebody whose session token was found good a moment ago. [`Sessions::authenticate_at_once`] alone makes one.
#[derive(Debug)]
pub struct Known {
    stored: Arc<StoredSession>,
    idle_expires_at: Timestamp,
}

/// Somebody whose token was found good for one audience. [`Sessions::authenticate_for`] alone makes one.
#[derive(Debug, Clone)]
pub struct Visitor {
    caller: Caller,
    /// `None` where the session's own token was shown.
    grant: Option<Arc<AudienceGrant>>,
}

/// Which tokens are good, beside those for exactly this audience.
#[derive(Debug, Clone, Copy)]
pub struct Accepted<'a> {
    pub audience: &'a str,
    /// Whether the session's own token is one of them.
    pub session_token: bool,
}

/// Why a token is not good.
#[derive(Debug, thiserror::Error)]
pub enum NotAuthenticated {
    /// Not a token, not one of ours, or the wrong secret: these are not told apart.
    #[error("the token is not known")]
    Unknown,
    /// The right token of a session that reached one of its limits.
    #[error("the session expired")]
    Expired,
    /// The right token of a session that was ended.
    #[error("the session was ended")]
    Revoked,
    /// A good token, and not for this audience.
    #[error("the token is for another audience")]
    OtherAudience,
    /// The store could not be asked: nothing is said of the token.
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

    /// The user's e-mail, where the provider vouches for it.
    pub fn verified_email(&self) -> Option<&str> {
        let email = self.user().email.as_deref().filter(|_| self.stored.email_verified)?;
        Email::parse(email).map(|_| email)
    }

    pub(super) fn stored(&self) -> &StoredSession {
        &self.stored
    }
}

impl Known {
    /// The session and its user, as they are told.
    pub fn told(&self) -> &Told {
        self.stored.told.get_or_init(|| {
            let session = session_of(&self.stored, self.idle_expires_at);
            let as_json = "a session and a user are JSON";
            Told {
                session: to_raw_value(&session).expect(as_json),
                user: to_raw_value(&self.stored.user).expect(as_json),
            }
        })
    }
}

impl Visitor {
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// When the token was opened.
    pub fn issued_at(&self) -> Timestamp {
        self.grant.as_ref().map_or(self.caller.session.created_at, |grant| whole_second(grant.created_at))
    }

    /// When the token, or its session, ends at the latest.
    pub fn expires_at(&self) -> Timestamp {
        let session = self.caller.session.expires_at;
        self.grant.as_ref().map_or(session, |grant| whole_second(grant.expires_at).min(session))
    }
}

impl Sessions {
    /// Recognises the session token in `text`.
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

    /// Recognises the token in `text` for one audience.
    pub async fn authenticate_for(
        &self,
        text: &str,
        accepted: Accepted<'_>,
        use_: Use,
    ) -> Result<Visitor, NotAuthenticated> {
        let recognised = self.recognise_for(text, accepted, use_).await;
        if let Err(error) = &recognised {
            self.count_refused(error);
        }
        recognised
    }

    /// The same for a token that counts as used, where everything is known from a moment ago and nothing is to be written:
    /// without a wait. `None` says nothing of the token.
    pub fn authenticate_at_once(&self, text: &str) -> Option<Known> {
        let found = self.store.recall(text).filter(|found| found.grant.is_none())?;
        self.goes_on(&found.session).then(|| Known {
            idle_expires_at: self.idle_expires_at(found.session.last_used_at, found.session.expires_at),
            stored: found.session,
        })
    }

    /// As [`Self::authenticate_for`], in the manner of [`Self::authenticate_at_once`].
    pub fn authenticate_for_at_once(&self, text: &str, accepted: Accepted<'_>) -> Option<Visitor> {
        let found = self.store.recall(text)?;
        let grant = found.grant.clone();
        let is_accepted = match &grant {
            Some(grant) => grant.audience == accepted.audience && self.time().ok()? < grant.expires_at,
            None => accepted.session_token,
        };
        if !is_accepted {
            return None;
        }
        Some(Visitor { caller: self.judge_at_once(found)?, grant })
    }

    fn judge_at_once(&self, found: FoundToken) -> Option<Caller> {
        let last_used_at = found.session.last_used_at;
        self.goes_on(&found.session).then(|| self.caller(found.session, last_used_at))
    }

    /// Whether a session that was read a moment ago goes on, and its use need not be written down.
    fn goes_on(&self, stored: &StoredSession) -> bool {
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
    ) -> Result<Visitor, NotAuthenticated> {
        let Some(token) = AudienceToken::parse(text) else {
            let token = SessionToken::parse(text).ok_or(NotAuthenticated::Unknown)?;
            let found = self.store.find_session_of(&token)?.ok_or(NotAuthenticated::Unknown)?;
            if !accepted.session_token {
                return Err(NotAuthenticated::OtherAudience);
            }
            let caller = self.judge(found, use_).await?;
            return Ok(Visitor { caller, grant: None });
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
        Ok(Visitor { caller, grant: Some(grant) })
    }

    /// Whether the session of a right token goes on.
    async fn judge(&self, found: FoundToken, use_: Use) -> Result<Caller, NotAuthenticated> {
        let FoundToken { token_hash, session: mut stored, .. } = found;
        let now = self.time()?;
        let is_over =
            |stored: &StoredSession| now >= self.idle_expires_at(stored.last_used_at, stored.expires_at);
        // It may be known from a moment ago, and have been used at another daemon since.
        if is_over(&stored) {
            stored = Arc::new(self.store.find_session(&stored.id)?.ok_or(NotAuthenticated::Unknown)?);
        }
        match &stored.ended {
            Some(Ended { reason: EndReason::Expired, .. }) => return Err(NotAuthenticated::Expired),
            Some(_) => return Err(NotAuthenticated::Revoked),
            None => {}
        }
        if is_over(&stored) {
            self.end(&stored.id, EndReason::Expired).await?;
            return Err(NotAuthenticated::Expired);
        }

        let mut last_used_at = stored.last_used_at;
        if use_ == Use::Counts && now.duration_since(last_used_at) >= self.use_interval() {
            last_used_at = whole_second(now);
            self.note_use(&stored, &token_hash, last_used_at).await;
        }
        Ok(self.caller(stored, last_used_at))
    }

    /// Writes down that a session was used. Where others write for long, this is not waited for: whoever validates a token
    /// does not queue behind logins. What cannot be written, as on a full disk, keeps nobody out: the session has only less
    /// time left than it might have.
    async fn note_use(&self, session: &StoredSession, token_hash: &TokenHash, at: Timestamp) {
        let (store, id, token_hash) = (self.store.clone(), session.id.clone(), token_hash.clone());
        let writing = tokio::spawn(async move { store.touch_session(&id, &token_hash, at).await });
        if let Ok(Ok(Err(error))) = tokio::time::timeout(USE_PATIENCE, writing).await {
            // The store's own failures are counted, and are why the daemon is not ready.
            tracing::debug!(%error, "the use of a session is not written down");
        }
    }

    fn caller(&self, stored: Arc<StoredSession>, last_used_at: Timestamp) -> Caller {
        let session = session_of(&stored, self.idle_expires_at(last_used_at, stored.expires_at));
        Caller { session, stored }
    }

    /// How often a use is written down: at most once a minute, and often enough for a short inactivity limit.
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
