//! Audience tokens as JWT: issued without a row, and validated by their signature and by the session that they name.

use std::sync::Arc;

use infra_shared::token_text::ServiceToken;
use jiff::{SignedDuration, Timestamp};

use super::audience_tokens::LIFETIME;
use super::{
    AcceptedTokens, AudienceTokenError, Caller, MintedAudienceToken, Sessions, add, truncate_to_second,
};
use crate::audit::Event;
use crate::jwt::{NewToken, VerifiedToken};
use crate::store::{AudienceRestriction, FoundToken, Presented, StoreError, StoredSession};

/// The format of a service's audience tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TokenFormat {
    /// A random text. Only the daemon can validate it.
    #[default]
    Opaque,
    /// A signed token (RFC 9068). The service can validate it with the daemon's public keys.
    Jwt {
        /// The groups that a token may name, if its user is in them.
        groups: Vec<String>,
    },
}

/// The `client_id` of people's tokens: the program that requests them.
const CLIENT: &str = "infra";

impl TokenFormat {
    /// The groups that a token may name. `None` for opaque tokens, and if a token names none.
    pub(super) fn named_groups(&self) -> Option<&[String]> {
        match self {
            Self::Jwt { groups } if !groups.is_empty() => Some(groups),
            _ => None,
        }
    }

    pub fn is_jwt(&self) -> bool {
        matches!(self, Self::Jwt { .. })
    }
}

impl Sessions {
    /// Issues a signed token of the caller's session for `audience`. It outlives neither ten minutes nor the session, and
    /// names those of `groups` that the user is in.
    pub async fn issue_signed_token(
        &self,
        caller: &Caller,
        audience: &str,
        groups: &[String],
    ) -> Result<MintedAudienceToken, AudienceTokenError> {
        let id = &caller.session().id;
        // Not from the cache, because services may use the token until it expires.
        let stored = self.store.find_session(id).await?;
        if stored.is_none_or(|session| session.ended.is_some()) {
            return Err(AudienceTokenError::SessionEnded);
        }
        let (now, user) = (self.checked_now()?, caller.user());
        let in_groups = |group: &&str| user.groups.iter().any(|of_user| of_user == group);
        let of_user: Vec<&str> = groups.iter().map(String::as_str).filter(in_groups).collect();
        let new = NewToken {
            audience,
            subject: &user.subject,
            session: id,
            client: CLIENT,
            delegated_to: caller.delegation().map(|delegation| delegation.label.as_str()),
            issued_at: now,
            expires_at: self.signed_token_expires_at(now, LIFETIME, caller.session().expires_at),
            verified_email: caller.verified_email(),
            // Empty for a user in none of them, because services may need the claim.
            groups: (!groups.is_empty()).then_some(&of_user),
        };
        let minted = self.sign(&new)?;
        self.audit.record(&Event::AudienceTokenIssued { session: id.as_str(), audience });
        Ok(minted)
    }

    /// Signs a token for an open session.
    pub(super) fn sign(&self, new: &NewToken<'_>) -> Result<MintedAudienceToken, StoreError> {
        let keys = self.token_keys.as_ref().ok_or(StoreError::NoTokenKeys)?;
        let token = ServiceToken::Signed(keys.sign(new));
        Ok(MintedAudienceToken { token, expires_at: new.expires_at })
    }

    /// When a signed token expires: after `lifetime`, and never after its session, which expires at `session`, or earlier if it
    /// stays unused from now on.
    pub(super) fn signed_token_expires_at(
        &self,
        now: Timestamp,
        lifetime: SignedDuration,
        session: Timestamp,
    ) -> Timestamp {
        let unused = self.idle_expires_at(now, session);
        truncate_to_second(truncate_to_second(add(now, lifetime.min(LIFETIME))).min(unused))
    }

    /// Verifies a signed token where such tokens are accepted. `None` if it is none of the daemon's.
    fn verify_signed(&self, text: &str, accepted: AcceptedTokens<'_>) -> Option<VerifiedToken> {
        self.token_keys.as_ref().filter(|_| accepted.signed)?.verify(text)
    }

    /// Looks up a token of any kind, with its session. The caller decides if it is valid.
    pub(super) async fn find_presented(
        &self,
        presented: Presented<'_>,
        accepted: AcceptedTokens<'_>,
    ) -> Result<Option<FoundToken>, StoreError> {
        let Some(verified) = self.verify_signed(presented.token, accepted) else {
            return self.store.find_token(presented).await;
        };
        let session = self.store.find_session_of_signed_token(&verified.session, presented.client).await?;
        Ok(session.and_then(|session| found(verified, session)))
    }

    /// Like [`Self::find_presented`], but from the cache only.
    pub(super) fn find_presented_cached(
        &self,
        text: &str,
        accepted: AcceptedTokens<'_>,
    ) -> Option<FoundToken> {
        let Some(verified) = self.verify_signed(text, accepted) else {
            return self.store.find_cached_token(text);
        };
        let session = self.store.find_cached_session(&verified.session)?;
        found(verified, session)
    }
}

/// The token as if the store had it. `None` if its session belongs to another user.
fn found(verified: VerifiedToken, session: Arc<StoredSession>) -> Option<FoundToken> {
    let VerifiedToken { audience, subject, session: _, issued_at, expires_at } = verified;
    let restriction = AudienceRestriction { audience, created_at: issued_at, expires_at };
    (session.user.subject == subject).then(|| FoundToken {
        token_hash: session.token_hash.clone(),
        restriction: Some(Arc::new(restriction)),
        session,
    })
}
