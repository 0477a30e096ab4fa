//! Delegated sessions: opened by another session, their parent, with which they end.
//!
//! Every revocation of a session also revokes those that it delegated, in the same transaction. They expire no later than their
//! parent: their lifetime is a part of its lifetime, and each use of them is also stored as a use of the parent.

use std::net::IpAddr;

use infra_shared::api::Delegation;
use infra_shared::token_text::SessionID;
use jiff::Timestamp;

use super::engine::await_engine;
use super::{ClientInfo, IssueOutcome, NewSession, Store, StoreError, StoredSession, TokenHash};

/// A session to open for a parent.
#[derive(Debug, Clone)]
pub struct DelegatedSession {
    pub id: SessionID,
    pub token_hash: TokenHash,
    pub delegation: Delegation,
    /// The client address of the request, if recorded.
    pub address: Option<IpAddr>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

impl DelegatedSession {
    pub(super) fn parent(&self) -> &SessionID {
        &self.delegation.parent
    }

    /// Whether `parent`, as stored now, may open it: a live session of a login that lasts at least as long.
    pub(super) fn may_be_opened_by(&self, parent: &StoredSession) -> bool {
        parent.id == self.delegation.parent
            && parent.ended.is_none()
            && parent.delegation.is_none()
            && self.created_at < parent.expires_at
            && self.expires_at <= parent.expires_at
    }

    /// With the user and the machine of the parent, as stored now.
    pub(super) fn into_new(self, parent: StoredSession) -> NewSession {
        let StoredSession { user, email_verified, client_info, .. } = parent;
        NewSession {
            id: self.id,
            token_hash: self.token_hash,
            user,
            email_verified,
            client_info: ClientInfo { address: self.address, ..client_info },
            // The provider is asked about the parent only.
            refresh_token: None,
            delegation: Some(Box::new(self.delegation)),
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }
}

impl Store {
    /// Stores a delegated session if its parent is live, is no delegated session itself, and has fewer than
    /// `max_per_parent` live ones. Counts as use of the parent.
    pub async fn open_delegated_session(
        &self,
        session: DelegatedSession,
        max_per_parent: u32,
    ) -> Result<IssueOutcome, StoreError> {
        let (parent, used_at) = (session.parent().clone(), session.created_at);
        let outcome = await_engine!(self, engine => engine.open_delegated_session(session, max_per_parent))?;
        if outcome == IssueOutcome::Issued {
            self.cache.touch(&parent, used_at);
        }
        Ok(outcome)
    }
}
