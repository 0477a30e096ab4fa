//! Opens delegated sessions: a session of a login opens another one for a command, limited to some services.

use std::net::IpAddr;

use infra_shared::api::{Delegation, Session, is_label};
use infra_shared::token_text::SessionToken;
use jiff::SignedDuration;

use super::{Sessions, UndelegatedCaller, add, truncate_to_second};
use crate::audit::Event;
use crate::store::{DelegatedSession, IssueOutcome, StoreError, TokenHash};

/// Maximum number of live delegated sessions of a session: enough for a machine with many agents, too few to fill the disk.
const MAX_PER_SESSION: u32 = 32;

/// What a session is delegated for, in the words of its user. Needs no escaping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label(String);

#[derive(Debug)]
pub struct NewDelegation {
    /// Of services that admit the user.
    pub audiences: Vec<String>,
    pub label: Label,
    pub lifetime: SignedDuration,
    /// The client address of the request.
    pub from: IpAddr,
}

/// A delegated session and its token.
#[derive(Debug)]
pub struct MintedSession {
    pub token: SessionToken,
    pub session: Session,
}

#[derive(Debug, thiserror::Error)]
pub enum DelegationError {
    #[error("the session ended")]
    SessionEnded,
    #[error("the session has {MAX_PER_SESSION} live delegated sessions")]
    LimitReached(SignedDuration),
    #[error("store: {0}")]
    Store(#[from] StoreError),
}

impl Label {
    pub fn parse(text: &str) -> Option<Self> {
        is_label(text).then(|| Self(text.to_owned()))
    }
}

impl Sessions {
    /// Opens a session of the caller's user that is limited to some audiences. It expires after the wanted lifetime, after
    /// the lifetime of any session, or with the caller's, whichever is earliest.
    pub async fn delegate(
        &self,
        caller: &UndelegatedCaller,
        new: NewDelegation,
    ) -> Result<MintedSession, DelegationError> {
        let (token, now) = (SessionToken::mint(), self.checked_now()?);
        let NewDelegation { audiences, label, lifetime, from } = new;
        let (parent, user) = (caller.session(), caller.user());
        let lifetime = lifetime.min(self.limits.lifetime);
        let expires_at = truncate_to_second(add(now, lifetime)).min(parent.expires_at);
        let delegation = Delegation { parent: parent.id.clone(), audiences, label: label.0 };
        let address = self.address_to_store(from);
        let row = DelegatedSession {
            id: token.id().clone(),
            token_hash: TokenHash::of(&token),
            delegation: delegation.clone(),
            address,
            created_at: now,
            expires_at,
        };
        match self.store.open_delegated_session(row, MAX_PER_SESSION).await? {
            IssueOutcome::Issued => {}
            IssueOutcome::SessionEnded => return Err(DelegationError::SessionEnded),
            IssueOutcome::LimitReached(wait) => return Err(DelegationError::LimitReached(wait)),
        }
        self.audit.record(&Event::SessionDelegated {
            session: token.id().as_str(),
            parent: parent.id.as_str(),
            issuer: &user.issuer,
            subject: &user.subject,
            audiences: &delegation.audiences,
            label: &delegation.label,
            address,
        });
        let session = Session {
            id: token.id().clone(),
            created_at: truncate_to_second(now),
            expires_at,
            idle_expires_at: self.idle_expires_at(now, expires_at),
            delegation: Some(delegation),
        };
        Ok(MintedSession { token, session })
    }
}
