//! Certificates by ACME (RFC 8555) for the configured names: when an order is due and whether it is allowed.

mod account;
mod authority;
mod challenge;
mod diagnostics;
mod nonces;
mod obtaining;
mod order;
mod renewal;
mod self_check;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use infra_shared::clock::Clock;
use infra_shared::http::NoClient;
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use tokio::sync::Notify;
use url::Url;

use authority::Directory;
use order::Issued;
use renewal::RenewalTimes;

use super::certificate_store::CertificateStore;
use super::chain::{ChainError, CheckedChain, covers};
use super::history::SourceHistory;
use super::resolver::Resolver;
use super::{Source, TlsError};
use crate::audit::Audit;
use crate::keys::FieldSealer;
use crate::secrets::Reference;
use crate::store::{Job, Lease, Store};

pub(super) use authority::AuthorityError;
pub(super) use challenge::Answer;
pub use diagnostics::AcmeCheck;

#[cfg(test)]
pub(super) fn challenge_answer(name: &str) -> Answer {
    challenge::answer(name, &[7; 32]).expect("a certificate")
}

/// Let's Encrypt allows five failed authorizations per hour, name and account. Staying below avoids its lockout.
const MOST_FAILED_ORDERS: u32 = 3;
const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// The pause between checks while nothing is pending.
const INTERVAL: Duration = Duration::from_secs(1);
/// The pauses while names do not resolve to this daemon, growing from first to last.
const SHORTEST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// The pauses after failures.
const SHORTEST_PAUSE: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

#[derive(Debug, Clone)]
pub struct AcmeSettings {
    /// DNS names in lower case. Orders never contain other names.
    pub domains: Vec<String>,
    pub directory: Url,
    /// `mailto:` addresses.
    pub contact: Vec<String>,
    /// The CAs trusted for the directory's HTTPS, if not those of the operating system.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    pub external_account: Option<ExternalAccount>,
    /// Whether the daemon must reach itself under a name before it orders a certificate for it.
    pub self_check: bool,
    /// The port that the authority connects to.
    pub validation_port: u16,
}

/// An existing account at the authority, bound to the ACME account (RFC 8555 §7.3.4).
#[derive(Debug, Clone)]
pub struct ExternalAccount {
    pub key_id: String,
    /// A reference to the MAC key in base64url.
    pub hmac_key: Reference,
}

/// Why there is no certificate by ACME.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("cannot use `hmacKey` of the external account: {0}")]
    ExternalAccount(String),
    #[error("the ACME server did not validate {name}: {cause}")]
    NotValidated { name: String, cause: String },
    #[error("the ACME server offers no tls-alpn-01 challenge for {name}, the only kind that infrad supports")]
    NoChallenge { name: String },
    #[error("the certificate that the ACME server issued cannot be used: {0}")]
    Chain(#[from] ChainError),
    #[error("{MOST_FAILED_ORDERS} orders failed within an hour: the next order follows at {0}")]
    Spent(Timestamp),
    #[error("the ACME server requested a pause: the next order follows at {0}")]
    Paused(Timestamp),
    #[error("none of the names resolves to this daemon: {0}")]
    NotReached(String),
    #[error("cannot build a client for the ACME server: {0}")]
    Client(#[from] NoClient),
}

impl AcmeError {
    /// Whether a retry may succeed.
    pub(super) fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Authority(AuthorityError::Outbound(_) | AuthorityError::TooSlow)
                | Self::Spent(_)
                | Self::Paused(_)
        )
    }
}

/// Obtains and renews the certificate by ACME.
pub(super) struct Acme {
    settings: AcmeSettings,
    directory: Arc<Directory>,
    resolver: Arc<Resolver>,
    certificate_store: CertificateStore,
    clock: Arc<dyn Clock>,
    history: SourceHistory,
    times: Mutex<RenewalTimes>,
    pause: Mutex<Duration>,
    wake: Notify,
    /// An issued certificate that cannot be stored or served yet. It is not ordered again.
    issued: Mutex<Option<Issued>>,
    /// Allows one order at a time in this process. A lease does so for all members.
    ordering: tokio::sync::Mutex<()>,
}

/// What a look at the stored certificate found.
#[derive(PartialEq, Eq)]
pub(in crate::tls) enum Stored {
    /// Another one than before, which is served now.
    New,
    /// The one that is served, or none.
    NothingNew,
    ForOtherNames,
    Unusable,
}

enum DueCheck {
    NothingIsDue,
    /// What the daemon is waiting for.
    Waits(String),
    Obtained,
}

impl Acme {
    /// Serves the certificate obtained earlier if it is still valid.
    pub(super) async fn open(
        settings: AcmeSettings,
        resolver: Arc<Resolver>,
        store: Store,
        sealer: FieldSealer,
        clock: Arc<dyn Clock>,
        audit: Audit,
    ) -> Result<Self, TlsError> {
        let directory = Directory::new(&settings).map_err(AcmeError::from)?;
        let certificate_store = CertificateStore { store, sealer };
        let acme = Self {
            settings,
            directory: Arc::new(directory),
            resolver,
            certificate_store,
            clock,
            history: SourceHistory::new(Source::Acme, audit),
            times: Mutex::default(),
            pause: Mutex::new(INTERVAL),
            wake: Notify::new(),
            issued: Mutex::default(),
            ordering: tokio::sync::Mutex::default(),
        };
        if acme.serve_stored().await? == Stored::ForOtherNames {
            tracing::info!(
                "the stored ACME certificate is for other names than the configuration: ordering a new one"
            );
        }
        Ok(acme)
    }

    pub(super) fn history(&self) -> &SourceHistory {
        &self.history
    }

    pub(super) fn domains(&self) -> &[String] {
        &self.settings.domains
    }

    /// Obtains a certificate if one is due. Returns `true` if there is a new one. Failures are logged and retried.
    pub(super) async fn maintain(&self) -> bool {
        let _guard = self.ordering.lock().await;
        match self.obtain_if_due().await {
            Ok(DueCheck::NothingIsDue) => {
                self.history.clear();
                self.set_pause(INTERVAL);
                false
            }
            Ok(DueCheck::Waits(what)) => {
                if self.history.waits_for(&what) {
                    tracing::info!(waiting_for = what, "no ACME certificate yet");
                }
                self.set_pause((self.pause_now() * 2).clamp(SHORTEST_WAIT, LONGEST_WAIT));
                false
            }
            Ok(DueCheck::Obtained) => {
                self.set_pause(INTERVAL);
                true
            }
            // Keep the earlier failure as the last error.
            Err(TlsError::Acme(error @ (AcmeError::Spent(time) | AcmeError::Paused(time)))) => {
                if self.history.waits_for(&error.to_string()) {
                    tracing::warn!(%error, "no ACME certificate yet");
                }
                let left = time.duration_since(self.clock.now());
                self.set_pause(left.unsigned_abs().clamp(INTERVAL, LONGEST_PAUSE));
                false
            }
            Err(error) => {
                self.note_failure(&error);
                self.set_pause((self.pause_now() * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
                false
            }
        }
    }

    /// Obtains a certificate now, for the names that resolve to this daemon.
    pub(super) async fn renew(&self) -> Result<(), TlsError> {
        let _guard = self.ordering.lock().await;
        let store = &self.certificate_store.store;
        let lease = store.expect_lease(Job::Acme).await?;
        let obtained = store.while_held(&lease, self.obtain_now(&lease)).await;
        store.end_lease(lease).await;
        match &obtained {
            Ok(())
            | Err(TlsError::Acme(AcmeError::Spent(_) | AcmeError::Paused(_) | AcmeError::NotReached(_))) => {}
            Err(error) => self.note_failure(error),
        }
        obtained
    }

    async fn obtain_now(&self, lease: &Lease) -> Result<(), TlsError> {
        let (reached, missing) = self.reached(&self.settings.domains, lease).await;
        if reached.is_empty() {
            return Err(AcmeError::NotReached(missing).into());
        }
        self.obtain(&reached, lease).await
    }

    /// Runs the next check at once.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until the next check.
    pub(super) async fn pause(&self) {
        // Timeout or wake-up: both lead to a check.
        let _ = tokio::time::timeout(self.pause_now(), self.wake.notified()).await;
    }

    async fn obtain_if_due(&self) -> Result<DueCheck, TlsError> {
        let store = &self.certificate_store.store;
        if !self.may_be_due(self.clock.now()) {
            return Ok(DueCheck::NothingIsDue);
        }
        let Some(lease) = store.take_lease(Job::Acme).await? else {
            return Ok(DueCheck::Waits("another member orders the certificate".to_owned()));
        };
        let checked = store.while_held(&lease, self.check_due(&lease)).await;
        store.end_lease(lease).await;
        checked
    }

    /// Decides from memory alone if there may be something to do.
    fn may_be_due(&self, now: Timestamp) -> bool {
        let (times, is_issued) = (self.times(), self.issued().is_some());
        self.resolver.chain().is_none_or(|chain| {
            let is_complete = self.settings.domains.iter().all(|domain| covers(&chain.names, domain));
            is_issued || !is_complete || times.is_fetch_due(now) || now >= times.due_at(&chain)
        })
    }

    async fn check_due(&self, lease: &Lease) -> Result<DueCheck, TlsError> {
        if self.certificate_store.store.is_shared() {
            // Another member may have obtained a certificate.
            self.serve_stored().await?;
        }
        let now = self.clock.now();
        if self.issued().as_ref().is_some_and(|issued| issued.is_awaited(now)) {
            self.activate_issued(lease).await?;
            return Ok(DueCheck::Obtained);
        }
        let served = self.resolver.chain();
        let names = served.as_ref().map(|chain| chain.names.clone()).unwrap_or_default();
        let missing: Vec<String> =
            self.settings.domains.iter().filter(|domain| !covers(&names, domain)).cloned().collect();
        let is_due = match &served {
            Some(chain) => {
                self.may_be_replaced(chain, now).await? && now >= self.due_at(chain, now, lease).await
            }
            None => true,
        };
        if !is_due && missing.is_empty() {
            return Ok(DueCheck::NothingIsDue);
        }
        let (reached, hindrance) = self.reached(&self.settings.domains, lease).await;
        let is_more = missing.iter().any(|domain| reached.contains(domain));
        let keeps_all =
            self.settings.domains.iter().all(|name| !covers(&names, name) || reached.contains(name));
        let is_urgent = served.as_ref().is_none_or(|chain| now >= chain.urgent_at());
        // While the certificate is valid for some time, do not drop a name that temporarily does not resolve here.
        if reached.is_empty() || !(is_more || is_due) || !(keeps_all || is_urgent) {
            return Ok(DueCheck::Waits(hindrance));
        }
        self.obtain(&reached, lease).await?;
        Ok(DueCheck::Obtained)
    }

    /// When to replace the served certificate: as the authority suggests (RFC 9773), else after two thirds of its
    /// lifetime.
    async fn due_at(&self, chain: &CheckedChain, now: Timestamp, lease: &Lease) -> Timestamp {
        if self.times().is_fetch_due(now) {
            let suggested = match self.account(lease).await {
                Ok(account) => renewal::fetch_suggestion(&account, chain).await,
                Err(failure) => Err(failure.error.to_string()),
            };
            self.times().note(suggested, now);
        }
        self.times().due_at(chain)
    }

    /// Allows a replacement only after a third of the lifetime since it was obtained, because authorities limit
    /// duplicate certificates. The clock and the authority's suggestion cannot override this.
    async fn may_be_replaced(&self, chain: &CheckedChain, now: Timestamp) -> Result<bool, TlsError> {
        let obtained_at =
            self.certificate_store.store.find_obtained_at(self.settings.directory.as_str()).await?;
        let third = chain.not_after.duration_since(chain.not_before) / 3;
        // A time in the future was recorded when the clock was ahead.
        Ok(obtained_at
            .is_none_or(|obtained_at| now < obtained_at || now.duration_since(obtained_at) >= third))
    }

    /// Splits `domains` into those that resolve to this daemon and a description of what prevents the others.
    async fn reached(&self, domains: &[String], lease: &Lease) -> (Vec<String>, String) {
        if !self.settings.self_check {
            return (domains.to_vec(), String::new());
        }
        let (mut reached, mut hindrances) = (Vec::new(), Vec::new());
        for domain in domains {
            match self_check::leads_here(domain, self.settings.validation_port, &self.resolver, lease).await {
                Ok(()) => reached.push(domain.clone()),
                Err(hindrance) => hindrances.push(format!("{domain}: {hindrance}")),
            }
        }
        (reached, hindrances.join("; "))
    }

    fn note_failure(&self, error: &TlsError) {
        if self.history.failed(self.clock.now(), &error.to_string()) {
            tracing::error!(%error, "cannot obtain an ACME certificate: still serving the previous one");
        }
    }

    fn issued(&self) -> std::sync::MutexGuard<'_, Option<Issued>> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a publicly trusted authority issues the certificate.
    pub(super) fn is_public(&self) -> bool {
        self.settings.authorities.is_none()
    }

    fn pause_now(&self) -> Duration {
        *self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_pause(&self, pause: Duration) {
        *self.pause.lock().unwrap_or_else(PoisonError::into_inner) = pause;
    }

    fn times(&self) -> std::sync::MutexGuard<'_, RenewalTimes> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
