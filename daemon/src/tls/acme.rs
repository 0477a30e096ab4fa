//! Certificates by ACME (RFC 8555), for the configured names alone: when one is due, and whether it may be asked for.

mod account;
mod authority;
mod challenge;
mod examination;
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

use super::chain::{ChainError, CheckedChain, covers};
use super::journal::Journal;
use super::keep::Keep;
use super::resolver::Resolver;
use super::{Source, TlsError};
use crate::audit::Audit;
use crate::keys::FieldSealer;
use crate::secrets::Reference;
use crate::store::Store;

pub(super) use authority::AuthorityError;
pub use examination::Examined;

/// The answer to some challenge for `name`.
#[cfg(test)]
pub(super) fn challenge_answer(name: &str) -> Arc<rustls::sign::CertifiedKey> {
    challenge::answer(name, &[7; 32]).expect("a certificate")
}

/// Let's Encrypt allows five failed authorizations an hour for each name and account; whoever stays below is not shut out.
const MOST_FAILED_ORDERS: u32 = 3;
const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// How often is looked whether something is due, while nothing is awaited.
const INTERVAL: Duration = Duration::from_secs(1);
/// While names do not lead here yet: from the first to the last pause.
const SHORTEST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// After failures.
const SHORTEST_PAUSE: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// How certificates are had by ACME.
#[derive(Debug, Clone)]
pub struct AcmeSettings {
    /// DNS names in lower case. There is never an order for any other.
    pub domains: Vec<String>,
    pub directory: Url,
    /// `mailto:` addresses.
    pub contact: Vec<String>,
    /// Those that vouch for the directory, in the place of the operating system's.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    pub external_account: Option<ExternalAccount>,
    /// Whether a name has to lead to this daemon, seen from here, before it is ordered for.
    pub self_check: bool,
    /// Where the authority connects to.
    pub validation_port: u16,
}

/// An account that exists at the authority already, by other means (RFC 8555 §7.3.4).
#[derive(Debug, Clone)]
pub struct ExternalAccount {
    pub key_id: String,
    /// Refers to the MAC key in base64url.
    pub hmac_key: Reference,
}

/// Why there is no certificate by ACME.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    #[error("the external account's `hmacKey` cannot be used: {0}")]
    ExternalAccount(String),
    #[error("the authority did not accept {name}: {cause}")]
    NotValidated { name: String, cause: String },
    #[error("the authority offers no tls-alpn-01 challenge for {name}, which is the one that infrad answers")]
    NoChallenge { name: String },
    #[error("the certificate that the authority issued cannot be served with: {0}")]
    Chain(#[from] ChainError),
    #[error("{MOST_FAILED_ORDERS} orders within an hour brought no certificate: the next is made at {0}")]
    Spent(Timestamp),
    #[error("the authority asked to be left alone: the next order is made at {0}")]
    Paused(Timestamp),
    #[error("none of the names leads to this daemon: {0}")]
    NotReached(String),
    #[error("no client for the authority can be built: {0}")]
    Client(#[from] NoClient),
}

impl AcmeError {
    /// Whether trying again later may help.
    pub(super) fn is_away(&self) -> bool {
        matches!(
            self,
            Self::Authority(AuthorityError::Outbound(_) | AuthorityError::TooSlow)
                | Self::Spent(_)
                | Self::Paused(_)
        )
    }
}

/// The certificate by ACME, and when the next one is to be had.
pub(super) struct Acme {
    settings: AcmeSettings,
    directory: Arc<Directory>,
    resolver: Arc<Resolver>,
    keep: Keep,
    clock: Arc<dyn Clock>,
    journal: Journal,
    times: Mutex<RenewalTimes>,
    pause: Mutex<Duration>,
    hurry: Notify,
    /// What the authority has issued and cannot be kept or served yet: it is not ordered once more.
    issued: Mutex<Option<Issued>>,
    /// One order at a time.
    ordering: tokio::sync::Mutex<()>,
}

/// What a look brought.
enum Looked {
    NothingIsDue,
    /// For what is waited, in words.
    Waits(String),
    Obtained,
}

impl Acme {
    /// Serves the chain that was obtained before, where it is good still.
    pub(super) fn open(
        settings: AcmeSettings,
        resolver: Arc<Resolver>,
        store: Store,
        sealer: FieldSealer,
        clock: Arc<dyn Clock>,
        audit: Audit,
    ) -> Result<Self, TlsError> {
        let directory = Directory::new(&settings).map_err(AcmeError::from)?;
        let keep = Keep { store, sealer };
        let mut issued = None;
        if let Some((chain_pem, private_key)) = keep.acme(settings.directory.as_str())? {
            let obtained_at = keep.store.find_obtained_at(settings.directory.as_str())?;
            let kept = Issued { names: Vec::new(), chain_pem, private_key, obtained_at };
            match kept.check(clock.now()) {
                Ok(chain) if settings.domains.iter().any(|domain| covers(&chain.names, domain)) => {
                    resolver.serve_chain(chain);
                }
                Ok(_) => tracing::info!(
                    "the certificate by ACME is for other names than those of the configuration"
                ),
                Err(error) => {
                    tracing::warn!(%error, "the certificate by ACME from before cannot be served with");
                    issued = Some(kept);
                }
            }
        }
        Ok(Self {
            settings,
            directory: Arc::new(directory),
            resolver,
            keep,
            clock,
            journal: Journal::new(Source::Acme, audit),
            times: Mutex::default(),
            pause: Mutex::new(INTERVAL),
            hurry: Notify::new(),
            issued: Mutex::new(issued),
            ordering: tokio::sync::Mutex::default(),
        })
    }

    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(super) fn domains(&self) -> &[String] {
        &self.settings.domains
    }

    /// Gets a certificate where one is due; `true` where there is a new one. What fails is logged, and tried again.
    pub(super) async fn tend(&self) -> bool {
        let _turn = self.ordering.lock().await;
        match self.look().await {
            Ok(Looked::NothingIsDue) => {
                self.journal.is_quiet();
                self.set_pause(INTERVAL);
                false
            }
            Ok(Looked::Waits(what)) => {
                if self.journal.waits_for(&what) {
                    tracing::info!(waiting_for = what, "no certificate by ACME yet");
                }
                self.set_pause((self.pause_now() * 2).clamp(SHORTEST_WAIT, LONGEST_WAIT));
                false
            }
            Ok(Looked::Obtained) => {
                self.set_pause(INTERVAL);
                true
            }
            // What failed before goes on being what is wrong.
            Err(TlsError::Acme(error @ (AcmeError::Spent(time) | AcmeError::Paused(time)))) => {
                if self.journal.waits_for(&error.to_string()) {
                    tracing::warn!(%error, "no certificate by ACME yet");
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

    /// Gets a certificate for the names that lead here, now.
    pub(super) async fn renew(&self) -> Result<(), TlsError> {
        let _turn = self.ordering.lock().await;
        let (reached, missing) = self.reached(&self.settings.domains).await;
        if reached.is_empty() {
            return Err(AcmeError::NotReached(missing).into());
        }
        let obtained = self.obtain(&reached).await;
        match &obtained {
            Ok(()) | Err(TlsError::Acme(AcmeError::Spent(_) | AcmeError::Paused(_))) => {}
            Err(error) => self.note_failure(error),
        }
        obtained
    }

    /// Looks again at once.
    pub(super) fn hurry(&self) {
        self.hurry.notify_one();
    }

    /// Until the next look.
    pub(super) async fn pause(&self) {
        // Whether the time is over or somebody is in a hurry: it is looked again.
        let _ = tokio::time::timeout(self.pause_now(), self.hurry.notified()).await;
    }

    async fn look(&self) -> Result<Looked, TlsError> {
        let now = self.clock.now();
        if self.issued().as_ref().is_some_and(|issued| issued.is_awaited(now)) {
            self.take_up().await?;
            return Ok(Looked::Obtained);
        }
        let served = self.resolver.chain();
        let names = served.as_ref().map(|chain| chain.names.clone()).unwrap_or_default();
        let missing: Vec<String> =
            self.settings.domains.iter().filter(|domain| !covers(&names, domain)).cloned().collect();
        let is_due = match &served {
            Some(chain) => self.may_be_replaced(chain, now)? && now >= self.due_at(chain, now).await,
            None => true,
        };
        if !is_due && missing.is_empty() {
            return Ok(Looked::NothingIsDue);
        }
        let (reached, hindrance) = self.reached(&self.settings.domains).await;
        let is_more = missing.iter().any(|domain| reached.contains(domain));
        let keeps_all =
            self.settings.domains.iter().all(|name| !covers(&names, name) || reached.contains(name));
        let is_urgent = served.as_ref().is_none_or(|chain| now >= chain.urgent_at());
        // A name that does not lead here for the moment is not given up while the certificate is good for a while.
        if reached.is_empty() || !(is_more || is_due) || !(keeps_all || is_urgent) {
            return Ok(Looked::Waits(hindrance));
        }
        self.obtain(&reached).await?;
        Ok(Looked::Obtained)
    }

    /// When the served chain is to be replaced: as the authority suggests (RFC 9773), or at two thirds of its life.
    async fn due_at(&self, chain: &CheckedChain, now: Timestamp) -> Timestamp {
        if self.times().is_to_be_asked(now) {
            let suggested = match self.account().await {
                Ok(account) => renewal::ask(&account, chain).await,
                Err(failure) => Err(failure.error.to_string()),
            };
            self.times().note(suggested, now);
        }
        self.times().due_at(chain)
    }

    /// Never before a third of its life has passed since it was obtained, whatever the clock or the authority say: an
    /// authority issues few certificates for the same names.
    fn may_be_replaced(&self, chain: &CheckedChain, now: Timestamp) -> Result<bool, TlsError> {
        let obtained_at = self.keep.store.find_obtained_at(self.settings.directory.as_str())?;
        let third = chain.not_after.duration_since(chain.not_before) / 3;
        // One of the future was noted by a clock that was ahead.
        Ok(obtained_at
            .is_none_or(|obtained_at| now < obtained_at || now.duration_since(obtained_at) >= third))
    }

    /// Those of `domains` that lead here, and what hinders the others, in words.
    async fn reached(&self, domains: &[String]) -> (Vec<String>, String) {
        if !self.settings.self_check {
            return (domains.to_vec(), String::new());
        }
        let (mut reached, mut hindrances) = (Vec::new(), Vec::new());
        for domain in domains {
            match self_check::leads_here(domain, self.settings.validation_port, &self.resolver).await {
                Ok(()) => reached.push(domain.clone()),
                Err(hindrance) => hindrances.push(format!("{domain}: {hindrance}")),
            }
        }
        (reached, hindrances.join("; "))
    }

    fn note_failure(&self, error: &TlsError) {
        if self.journal.failed(self.clock.now(), &error.to_string()) {
            tracing::error!(%error, "no certificate by ACME: what was served before goes on serving");
        }
    }

    fn issued(&self) -> std::sync::MutexGuard<'_, Option<Issued>> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an authority issues it that every machine trusts.
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
