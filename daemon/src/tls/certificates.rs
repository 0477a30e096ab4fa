//! All certificates of the daemon: its own CA and at most one other source. Renews, reports and announces them.

mod announcement;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use infra_shared::clock::Clock;
use infra_shared::origin::Origin;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::acme::Acme;
use super::chain::covers;
use super::daemon_identity::DaemonIdentity;
use super::files::{self, OwnFiles};
use super::history::{Entries, SourceHistory};
use super::local_authority::Maintenance;
use super::resolver::{Resolver, TlsServer};
use super::shared_challenges::SharedChallenges;
use super::validity::{Expiry, Validity};
use super::{AcmeSettings, CertificateFiles, LocalAuthority, MinimumVersion, TlsError};
use crate::audit::Audit;
use crate::keys::FieldSealer;
use crate::store::Store;

/// The pause between checks.
const INTERVAL: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_mins(1);

/// The source of a certificate in addition to the daemon's own CA.
#[derive(Debug, Clone, Default)]
pub enum OtherSource {
    #[default]
    None,
    Acme(AcmeSettings),
    Files(CertificateFiles),
}

/// All certificates that identify the daemon.
pub struct Certificates {
    local: Arc<LocalAuthority>,
    local_history: SourceHistory,
    resolver: Arc<Resolver>,
    other: Other,
    daemon_identity: Arc<DaemonIdentity>,
    servers: Vec<Origin>,
    store: Store,
    clock: Arc<dyn Clock>,
    /// When the next announcement is due.
    announce_at: Mutex<Timestamp>,
    /// Serialises announcements, so that each contains the current state.
    publishing: tokio::sync::Mutex<()>,
}

enum Other {
    None,
    Acme(Arc<Acme>),
    Files(Box<OwnFiles>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    #[serde(rename = "daemon_ca")]
    OwnAuthority,
    Acme,
    Files,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateState {
    pub source: Source,
    /// The names that it is served for.
    pub names: Vec<String>,
    /// `null` until there is a certificate.
    pub issued_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub days_left: Option<i64>,
    /// Failed renewals since the start.
    pub failures: u64,
    pub last_error: Option<String>,
    pub last_error_at: Option<Timestamp>,
    pub waiting_for: Option<String>,
}

impl CertificateState {
    /// Whether it expires soon, or has expired. `None` until there is a certificate.
    pub fn expiry(&self, now: Timestamp) -> Option<Expiry> {
        Some(Validity { issued_at: self.issued_at?, expires_at: self.expires_at? }.expiry(now))
    }
}

impl Source {
    pub fn name(self) -> &'static str {
        match self {
            Self::OwnAuthority => "daemon_ca",
            Self::Acme => "acme",
            Self::Files => "files",
        }
    }
}

impl Certificates {
    /// Serves the certificates that exist. [`maintain`](Self::maintain) obtains the missing ones.
    pub async fn open(
        local: Arc<LocalAuthority>,
        other: OtherSource,
        servers: Vec<Origin>,
        store: Store,
        sealer: FieldSealer,
        clock: Arc<dyn Clock>,
        audit: Audit,
    ) -> Result<Arc<Self>, TlsError> {
        let challenges = match &other {
            OtherSource::Acme(settings) if store.is_shared() => {
                Some(SharedChallenges::new(store.clone(), clock.clone(), &settings.domains))
            }
            _ => None,
        };
        let resolver = Resolver::with_challenges(local.clone(), challenges);
        let other = match other {
            OtherSource::None => Other::None,
            OtherSource::Files(files) => Other::Files(Box::new(
                OwnFiles::open(
                    files,
                    local.names().to_vec(),
                    &resolver,
                    SourceHistory::new(Source::Files, audit.clone()),
                    clock.now(),
                )
                .await?,
            )),
            OtherSource::Acme(settings) => Other::Acme(Arc::new(
                Acme::open(settings, resolver.clone(), store.clone(), sealer, clock.clone(), audit.clone())
                    .await?,
            )),
        };
        let daemon_identity = Arc::new(DaemonIdentity::new(local.pin()));
        let certificates = Self {
            local,
            local_history: SourceHistory::new(Source::OwnAuthority, audit),
            resolver,
            other,
            daemon_identity,
            servers,
            store,
            clock,
            announce_at: Mutex::new(Timestamp::MIN),
            publishing: tokio::sync::Mutex::default(),
        };
        certificates.publish().await?;
        Ok(Arc::new(certificates))
    }

    pub fn tls_server(&self, minimum: MinimumVersion) -> Result<TlsServer, TlsError> {
        TlsServer::new(self.resolver.clone(), minimum)
    }

    pub fn daemon_identity(&self) -> Arc<DaemonIdentity> {
        self.daemon_identity.clone()
    }

    pub fn local(&self) -> &LocalAuthority {
        &self.local
    }

    /// Returns the state of each source. The one for the daemon's public names comes first.
    pub fn states(&self) -> Vec<CertificateState> {
        let chain = self.resolver.chain();
        let other = |source, history: &SourceHistory, names: &[String]| {
            let dates = chain.as_ref().map(|chain| (chain.not_before, chain.not_after));
            let names = chain.as_ref().map_or(names.to_vec(), |chain| chain.names.clone());
            state(source, names, dates, history.read(), self.clock.now())
        };
        let first = match &self.other {
            Other::None => None,
            Other::Acme(acme) => Some(other(Source::Acme, acme.history(), acme.domains())),
            Other::Files(files) => Some(other(Source::Files, &files.history, &[])),
        };
        let public = first.as_ref().filter(|state| state.expires_at.is_some());
        let is_local = |name: &&String| !public.is_some_and(|state| covers(&state.names, name));
        let names: Vec<String> = self.local.names().iter().filter(is_local).cloned().collect();
        let dates = Some((self.local.leaf_issued_at(), self.local.leaf_expires_at()));
        let local = state(Source::OwnAuthority, names, dates, self.local_history.read(), self.clock.now());
        first.into_iter().chain([local]).collect()
    }

    /// Renews certificates until it is dropped. Failures are logged and retried.
    pub async fn maintain(&self) {
        tokio::join!(self.maintain_local(), self.maintain_other(), self.follow_members());
    }

    /// Rereads certificate files and retries pending work at once.
    pub async fn reload(&self) {
        match &self.other {
            Other::None => {}
            Other::Acme(acme) => acme.wake(),
            Other::Files(files) => {
                // `files` has logged the error.
                if files.reload(&self.resolver, self.clock.now()).await.is_ok() {
                    self.publish_or_log().await;
                }
            }
        }
    }

    /// Obtains a new certificate now, even if none is due.
    pub async fn renew(&self) -> Result<(), TlsError> {
        match &self.other {
            Other::None => {
                self.local.renew_leaf().await?;
                self.local_history.succeeded();
            }
            Other::Acme(acme) => acme.renew().await?,
            Other::Files(files) => files.reload(&self.resolver, self.clock.now()).await?,
        }
        self.publish().await
    }

    /// Creates a CA that takes over after `overlap`.
    pub async fn rotate_authority(&self, overlap: SignedDuration, replaces: bool) -> Result<(), TlsError> {
        self.local.rotate(overlap, replaces).await?;
        match self.local.next() {
            Some((pin, _)) => self.local_history.record("ca_rollover_announced", Some(&pin.to_string())),
            None => self.local_history.record("ca_replaced", Some(&self.local.pin().to_string())),
        }
        self.publish().await
    }

    async fn maintain_local(&self) {
        loop {
            let pause = match self.local.maintain().await {
                Ok(Maintenance::Nothing) => {
                    if self.is_announcement_due() {
                        self.publish_or_log().await;
                    }
                    INTERVAL
                }
                Ok(Maintenance::RenewedLeaf) => {
                    self.local_history.succeeded();
                    tracing::info!(until = %self.local.leaf_expires_at(), "renewed the certificate");
                    INTERVAL
                }
                Ok(Maintenance::TookOver) => {
                    let pin = self.local.pin();
                    tracing::warn!(%pin, "the next CA has taken over");
                    self.local_history.record("ca_replaced", Some(&pin.to_string()));
                    self.publish_or_log().await;
                    INTERVAL
                }
                Err(error) => {
                    self.local_history.failed(self.clock.now(), &error.to_string());
                    tracing::error!(%error, "cannot renew the certificate: still serving the old one");
                    PAUSE
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn maintain_other(&self) {
        match &self.other {
            Other::None => {}
            Other::Files(files) => loop {
                tokio::time::sleep(files::INTERVAL).await;
                if files.reload_if_changed(&self.resolver, self.clock.now()).await {
                    self.publish_or_log().await;
                }
            },
            Other::Acme(acme) => loop {
                if acme.maintain().await {
                    self.publish_or_log().await;
                }
                acme.pause().await;
            },
        }
    }
}

fn state(
    source: Source,
    names: Vec<String>,
    dates: Option<(Timestamp, Timestamp)>,
    entries: Entries,
    now: Timestamp,
) -> CertificateState {
    let (last_error_at, last_error) = entries.last_error.unzip();
    CertificateState {
        source,
        names,
        issued_at: dates.map(|(issued_at, _)| issued_at),
        expires_at: dates.map(|(_, expires_at)| expires_at),
        days_left: dates.map(|(_, expires_at)| expires_at.duration_since(now).as_hours().div_euclid(24)),
        failures: entries.failures,
        last_error,
        last_error_at,
        waiting_for: entries.waiting_for,
    }
}
