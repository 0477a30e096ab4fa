//! Delegates a session of a user to some of the services that admit the user.

use std::net::IpAddr;

use infra_shared::api::MAX_DELEGATED_AUDIENCES;
use jiff::SignedDuration;

use super::{IssueError, Services};
use crate::sessions::{DelegationError, Label, MintedSession, NewDelegation, UndelegatedCaller};

#[derive(Debug, thiserror::Error)]
pub enum DelegateError {
    #[error("no service or too many services are named")]
    AudienceCount,
    #[error(transparent)]
    Service(#[from] IssueError),
    #[error(transparent)]
    Session(#[from] DelegationError),
}

impl Services {
    /// Opens a session that is limited to the services with these audiences or names, if each of them admits the caller.
    pub async fn delegate(
        &self,
        caller: &UndelegatedCaller,
        wanted: &[String],
        label: Label,
        lifetime: SignedDuration,
        from: IpAddr,
    ) -> Result<MintedSession, DelegateError> {
        if !(1..=MAX_DELEGATED_AUDIENCES).contains(&wanted.len()) {
            return Err(DelegateError::AudienceCount);
        }
        let mut audiences = Vec::with_capacity(wanted.len());
        for name in wanted {
            let audience = &self.find_admitting(caller, name)?.settings.audience;
            if !audiences.contains(audience) {
                audiences.push(audience.clone());
            }
        }
        let new = NewDelegation { audiences, label, lifetime, from };
        Ok(self.sessions.delegate(caller, new).await?)
    }
}
