//! Issues audience tokens: short-lived tokens of a session for one service.

use infra_shared::token_text::{AudienceToken, ServiceToken};
use jiff::{SignedDuration, Timestamp};

use super::{Caller, Sessions, add, truncate_to_second};
use crate::audit::Event;
use crate::store::{AudienceTokenRow, IssueOutcome, StoreError, TokenHash};

pub(super) const LIFETIME: SignedDuration = SignedDuration::from_mins(10);
/// Maximum number of live tokens per session: enough for a build with many jobs, too few to fill the disk.
const MAX_PER_SESSION: u32 = 256;

#[derive(Debug)]
pub struct MintedAudienceToken {
    pub token: ServiceToken,
    pub expires_at: Timestamp,
}

#[derive(Debug, thiserror::Error)]
pub enum AudienceTokenError {
    #[error("the session ended")]
    SessionEnded,
    #[error("the session has {MAX_PER_SESSION} live tokens")]
    LimitReached(SignedDuration),
    #[error("store: {0}")]
    Store(#[from] StoreError),
}

impl Sessions {
    /// Issues a token of the caller's session for `audience`, which the caller may use. It expires after ten minutes, or with the session if that
    /// is earlier.
    pub async fn issue_audience_token(
        &self,
        caller: &Caller,
        audience: &str,
    ) -> Result<MintedAudienceToken, AudienceTokenError> {
        let (token, now) = (AudienceToken::mint(), self.checked_now()?);
        let expires_at = truncate_to_second(add(now, LIFETIME)).min(caller.session().expires_at);
        let new = AudienceTokenRow {
            id: token.id().clone(),
            token_hash: TokenHash::of_audience_token(&token),
            session: caller.session().id.clone(),
            audience: audience.to_owned(),
            created_at: now,
            expires_at,
        };
        match self.store.issue_audience_token(new, MAX_PER_SESSION).await? {
            IssueOutcome::Issued => {
                let session = caller.session().id.as_str();
                self.audit.record(&Event::AudienceTokenIssued { session, audience });
                Ok(MintedAudienceToken { token: ServiceToken::Opaque(token), expires_at })
            }
            IssueOutcome::SessionEnded => Err(AudienceTokenError::SessionEnded),
            IssueOutcome::LimitReached(wait) => Err(AudienceTokenError::LimitReached(wait)),
        }
    }
}
