//! What a session may do. A session of a login may do everything that its user may; a delegated one only what is decided
//! here.
//!
//! It may show itself, end itself, be shown to the services in its list, and get audience tokens for them. Everything else
//! needs an [`UndelegatedCaller`], which no delegated session becomes.

use std::ops::Deref;

use infra_shared::api::Delegation;

use super::{AcceptedTokens, Caller};
use crate::store::{AudienceRestriction, StoredSession};

/// A caller whose session was opened by a login. Only this file creates one.
#[derive(Debug, Clone)]
pub struct UndelegatedCaller(Caller);

/// A delegated session was used for more than it was delegated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotDelegated {
    #[error("a delegated session may not do this")]
    Route,
    #[error("the session was not delegated for this audience")]
    Audience,
}

impl Deref for UndelegatedCaller {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl Caller {
    /// Who opened the session, and where it may be used. `None` for a session of a login.
    pub fn delegation(&self) -> Option<&Delegation> {
        self.stored().delegation.as_deref()
    }

    /// Requires a session of a login.
    pub fn require_undelegated(self) -> Result<UndelegatedCaller, NotDelegated> {
        if self.delegation().is_some() { Err(NotDelegated::Route) } else { Ok(UndelegatedCaller(self)) }
    }

    /// Requires that the session may be used at the service with this audience, also to get a token of any format for it.
    pub fn require_audience(&self, audience: &str) -> Result<(), NotDelegated> {
        if permits(self.stored(), audience) { Ok(()) } else { Err(NotDelegated::Audience) }
    }
}

/// Whether a token of `session` is accepted where `accepted` ones are: also by the restriction of an audience token.
pub(super) fn is_accepted(
    session: &StoredSession,
    restriction: Option<&AudienceRestriction>,
    accepted: AcceptedTokens<'_>,
) -> bool {
    let is_kind_accepted = match restriction {
        Some(restriction) => accepted.audience == Some(restriction.audience.as_str()),
        None => accepted.session_token,
    };
    // The daemon itself has no audience: its routes decide, by the type of the caller.
    is_kind_accepted && accepted.audience.is_none_or(|audience| permits(session, audience))
}

fn permits(session: &StoredSession, audience: &str) -> bool {
    let delegation = session.delegation.as_deref();
    delegation.is_none_or(|delegation| delegation.audiences.iter().any(|listed| listed == audience))
}
