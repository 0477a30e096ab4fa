//! Sessions: how a login opens one, how its token is validated, and how it is revoked.

mod audience_tokens;
mod authority;
mod binding;
mod caller;
mod counts;
mod delegation;
#[cfg(test)]
mod fuzzing;
#[cfg(all(fuzzing, not(test)))]
pub(crate) mod fuzzing;
mod limits;
mod listing;
mod login;
mod login_audit;
mod provider_jobs;
mod provider_revocation;
mod provider_rule;
mod revalidation;
mod revocation;
mod signed_tokens;
mod stored_credential;
#[cfg(test)]
mod tests;
mod ticket;
mod workload_tokens;

use std::sync::Arc;

use infra_shared::clock::Clock;
use infra_shared::origin::Origin;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::RwLock;

use crate::audit::Audit;
use crate::identity::{Provider, Workloads};
use crate::jwt::TokenKeys;
use crate::keys::{FieldSealer, TicketKey};
use crate::store::{Store, StoreError};
use crate::tls::DaemonIdentity;
use counts::Counts;

pub use audience_tokens::{AudienceTokenError, MintedAudienceToken};
pub use authority::{NotDelegated, UndelegatedCaller};
pub use binding::Bindings;
pub use caller::{AcceptedTokens, AuthorizedCaller, Caller, NotAuthenticated, SessionUse};
pub use counts::SessionCounts;
pub use delegation::{DelegationError, Label, MintedSession, NewDelegation};
pub use limits::SessionLimits;
pub use login::LoginError;
pub use login_audit::LoginRateLimit;
pub use provider_jobs::{JobKind, ProviderJobs};
pub use provider_rule::ProviderRule;
pub use signed_tokens::TokenFormat;
pub use workload_tokens::{ExchangeError, WorkloadToken};

/// State that logins and sessions need, shared by all requests.
pub struct Sessions {
    store: Store,
    ticket_key: TicketKey,
    sealer: FieldSealer,
    providers: Vec<Arc<Provider>>,
    workloads: Workloads,
    token_keys: Option<Arc<TokenKeys>>,
    bindings: Bindings,
    limits: SessionLimits,
    admins: Vec<ProviderRule>,
    clock: Arc<dyn Clock>,
    audit: Audit,
    counts: Counts,
    /// Held for reading by each revocation until it is recorded.
    revocations: Arc<RwLock<()>>,
}

pub struct SessionSetup {
    pub store: Store,
    pub ticket_key: TicketKey,
    pub sealer: FieldSealer,
    pub providers: Vec<Provider>,
    pub workloads: Workloads,
    /// The keys for signed audience tokens, if a service has them.
    pub token_keys: Option<Arc<TokenKeys>>,
    pub bindings: Bindings,
    pub limits: SessionLimits,
    /// Users who may see and revoke the sessions of other users.
    pub admins: Vec<ProviderRule>,
    pub clock: Arc<dyn Clock>,
    pub audit: Audit,
}

impl Sessions {
    pub fn new(setup: SessionSetup) -> Self {
        let SessionSetup {
            store,
            ticket_key,
            sealer,
            providers,
            workloads,
            token_keys,
            bindings,
            limits,
            admins,
            clock,
            audit,
        } = setup;
        Self {
            counts: Counts::new(
                providers.iter().map(|provider| provider.settings().name.clone()),
                workloads.rules().iter().map(|rule| rule.name.clone()),
            ),
            store,
            ticket_key,
            sealer,
            providers: providers.into_iter().map(Arc::new).collect(),
            workloads,
            token_keys,
            bindings,
            limits,
            admins,
            clock,
            audit,
            revocations: Arc::default(),
        }
    }

    pub fn providers(&self) -> &[Arc<Provider>] {
        &self.providers
    }

    /// The keys that sign audience tokens; `None` if no service has signed tokens.
    pub fn token_keys(&self) -> Option<&Arc<TokenKeys>> {
        self.token_keys.as_ref()
    }

    /// What proves this daemon's identity to clients, and which rollover it announces.
    pub fn daemon_identity(&self) -> &DaemonIdentity {
        self.bindings.daemon_identity()
    }

    /// Addresses at which the daemon accepts logins.
    pub fn public_urls(&self) -> &[Origin] {
        self.bindings.origins()
    }

    /// Current time for display and storage: never earlier than the latest time that the store has seen.
    pub fn now(&self) -> Timestamp {
        self.store.not_before_latest(self.clock.now())
    }

    /// Current time for validating tokens and tickets. Fails while the clock is clearly behind the latest time that the
    /// store has seen, because expiry cannot be decided then.
    fn checked_now(&self) -> Result<Timestamp, StoreError> {
        let now = self.clock.now();
        self.store.check_clock(now)?;
        Ok(self.store.not_before_latest(now))
    }

    /// Outcomes of logins and sessions since the daemon started.
    pub fn counts(&self) -> SessionCounts {
        self.counts.now()
    }

    /// Checks that the daemon can validate tokens and store sessions.
    pub async fn check_store(&self) -> Result<(), StoreError> {
        self.store.check().await?;
        self.store.check_clock(self.clock.now())
    }

    fn is_administrator(&self, caller: &Caller) -> bool {
        self.admins.iter().any(|rule| rule.admits(caller))
    }

    fn find_provider(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers.iter().find(|provider| provider.settings().name == name)
    }

    /// When a session last used at `last_used_at` expires: by the inactivity timeout or its lifetime, whichever is
    /// earlier.
    fn idle_expires_at(&self, last_used_at: Timestamp, expires_at: Timestamp) -> Timestamp {
        truncate_to_second(add(last_used_at, self.limits.inactivity_timeout)).min(expires_at)
    }
}

/// `moment` + `duration`, capped at the maximum timestamp.
fn add(moment: Timestamp, duration: SignedDuration) -> Timestamp {
    moment.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// Truncates to a whole second, because people read these times.
fn truncate_to_second(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}
