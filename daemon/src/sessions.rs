//! Sessions: how a login becomes one, how a token is recognised, and how it ends.

mod audited;
mod binding;
mod caller;
mod ending;
#[cfg(any(test, fuzzing))]
mod fuzzing;
mod limits;
mod login;
#[cfg(test)]
mod tests;
mod ticket;

use std::sync::Arc;

use infra_shared::clock::Clock;
use jiff::{SignedDuration, Timestamp};

use crate::audit::Audit;
use crate::identity::Provider;
use crate::keys::TicketKey;
use crate::store::{Store, StoreError};
use crate::tls::Proofs;

pub use binding::Bindings;
pub use caller::{Caller, NotAuthenticated, Use};
#[cfg(fuzzing)]
pub use fuzzing::FUZZED;
pub use limits::SessionLimits;
pub use login::LoginRefusal;

/// Everything that logins and sessions need, shared by all requests.
pub struct Sessions {
    store: Store,
    ticket_key: TicketKey,
    providers: Vec<Provider>,
    bindings: Bindings,
    limits: SessionLimits,
    clock: Arc<dyn Clock>,
    audit: Audit,
}

impl Sessions {
    pub fn new(
        store: Store,
        ticket_key: TicketKey,
        providers: Vec<Provider>,
        bindings: Bindings,
        limits: SessionLimits,
        clock: Arc<dyn Clock>,
        audit: Audit,
    ) -> Self {
        Self { store, ticket_key, providers, bindings, limits, clock, audit }
    }

    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }

    /// By what users prove this daemon, and what it announces of that.
    pub fn proofs(&self) -> &Proofs {
        self.bindings.proofs()
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether the store answers.
    pub fn check_store(&self) -> Result<(), StoreError> {
        self.store.check()
    }

    fn find_provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.settings().name == name)
    }

    /// When a session that was last used at `last_used_at` ends for want of use, or by its lifetime if that is sooner.
    fn idle_expires_at(&self, last_used_at: Timestamp, expires_at: Timestamp) -> Timestamp {
        whole_second(add(last_used_at, self.limits.inactivity_timeout)).min(expires_at)
    }
}

/// `moment` + `duration`, at most the end of time.
fn add(moment: Timestamp, duration: SignedDuration) -> Timestamp {
    moment.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// `moment` without its fraction of a second: limits that people read are whole seconds.
fn whole_second(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}
