//! Builds a daemon from its configuration. The only module that knows all rooms.

mod advice;
mod data_directory;
mod error;
mod operations;
mod public_urls;
mod start_problems;

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use infra_shared::clock::Clock;
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::addresses::Networks;
use crate::api;
use crate::audit::{Audit, AuditError, AuditSettings, Event};
use crate::config::{Config, Limits};
use crate::control::ControlSocket;
use crate::identity::Provider;
use crate::keys::{FieldSealer, Keys, Place};
use crate::listener::{self, App, Proxies, Requests, Transport};
use crate::logging;
use crate::monitoring::{Watched, serve_monitoring};
use crate::platform::{HandedSockets, ServiceManager};
use crate::services::{self, Services};
use crate::sessions::{Bindings, SessionSetup, Sessions};
use crate::store::ProviderRow;
use crate::tls::{Certificates, TlsServer};
use crate::upkeep::{LiveSessions, Supervision, Upkeep, work_with_providers};
use operations::{Lifecycle, Running};

pub use data_directory::{Accepted, DataDirectory, lock};
pub use error::AssemblyError;
pub use operations::Operations;
pub use start_problems::{StartProblem, check_addresses, find_start_problems, find_store_problem};

/// Longest delay before retrying a root key.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// A daemon that listens and is ready to [`run`](Self::run).
pub struct Daemon {
    data_directory: DataDirectory,
    listener: TcpListener,
    /// Tasks that serve operators. They stop with the daemon.
    for_operators: Vec<JoinHandle<()>>,
    stopping: watch::Sender<bool>,
    certificates: Arc<Certificates>,
    tls: TlsServer,
    /// Redirects plain HTTP to HTTPS.
    redirecting: Option<TcpListener>,
    sessions: Arc<Sessions>,
    public_urls: Vec<Origin>,
    address: SocketAddr,
    clock: Arc<dyn Clock>,
    audit: Audit,
    requests: Arc<Requests>,
    live_sessions: LiveSessions,
    supervision: Supervision,
    limits: Limits,
    proxies: Proxies,
    services: Services,
    service_networks: Networks,
}

impl Daemon {
    /// Opens the data directory and binds the address, but serves no users yet. Serves operators from the beginning.
    ///
    /// While the first root key is unavailable, retries with growing delays. Ends sessions whose provider or user the
    /// configuration no longer admits, before any request can use them. Uses sockets in `handed` for the configured
    /// addresses that have one.
    pub async fn assemble(
        config: Config,
        config_path: PathBuf,
        handed: HandedSockets,
        accepted: Accepted,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AssemblyError> {
        let data_dir = config.data_dir.clone();
        let assembled = Self::assemble_parts(config, config_path, handed, accepted, clock).await;
        assembled.map_err(|error| error.located(&data_dir))
    }

    async fn assemble_parts(
        config: Config,
        config_path: PathBuf,
        mut handed: HandedSockets,
        accepted: Accepted,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AssemblyError> {
        start_problems::expect_none(&config, accepted, &handed).await?;
        let lock = lock(&config)?;
        let (stopping, stopped) = watch::channel(false);
        let lifecycle = Arc::new(Lifecycle::new(config.backends.clone(), clock.clone()));
        let for_operators = answer_operators(&config, &mut handed, &lifecycle, &stopped)?;
        let keys = wait_for_keys(&config, &lifecycle).await?;
        let data_directory = DataDirectory::open_with(lock, keys, &config, accepted).await?;
        let audit = open_audit(config.audit.as_ref(), clock.clone())?;
        let (listener, address) = bind(config.listen, &mut handed, &lifecycle)?;
        let public_urls = public_urls::of(&config, address);
        let redirecting =
            config.https.redirect_http.map(|address| bind(address, &mut handed, &lifecycle)).transpose()?;
        let redirecting = redirecting.map(|(listener, _)| listener);
        let authority = data_directory.authority(&public_urls, clock.clone()).await?;
        data_directory.warn_if_new(authority.pin());
        let sealer = data_directory.keys.field_sealer();
        let certificates = Certificates::open(
            authority,
            config.https.source,
            public_urls.clone(),
            data_directory.store.clone(),
            sealer.clone(),
            clock.clone(),
            audit.clone(),
        )
        .await?;
        let tls = certificates.tls_server(config.https.minimum_version)?;

        let rows: Vec<ProviderRow> =
            config.providers.iter().map(|settings| provider_row(settings, &sealer)).collect();
        let providers = config
            .providers
            .into_iter()
            .map(|settings| {
                let name = settings.name.clone();
                Provider::new(settings, config.backends.clone(), clock.clone())
                    .and_then(|it| it.with_limits(&config.limits.exchanges, config.limits.provider_calls))
                    .map(|it| it.with_store(data_directory.store.clone(), audit.clone()))
                    .map_err(|source| AssemblyError::Provider { name, source })
            })
            .collect::<Result<Vec<_>, _>>()?;

        let sessions = Arc::new(Sessions::new(SessionSetup {
            store: data_directory.store.clone(),
            ticket_key: data_directory.keys.ticket_key(),
            sealer: sealer.clone(),
            providers,
            bindings: Bindings::new(public_urls.clone(), certificates.proofs()),
            limits: config.sessions,
            admins: config.admins,
            clock: clock.clone(),
            audit: audit.clone(),
        }));
        if !data_directory.store.has_no_other_providers_than(&rows)? {
            let revoked = sessions.revoke_outside_configuration().await?;
            tracing::info!(
                revoked,
                "the providers changed: revoked sessions whose provider or user left the configuration"
            );
        }
        // Last, so that a start that fails before this point repeats the check.
        data_directory.store.replace_providers(rows).await?;
        // Higher than any recorded value, so that the current data counts as newer than that of the last run.
        let epoch = data_directory.store.raise_epoch(0).await?;
        data_directory.epoch_file.raise(&data_directory.keys.status().store, epoch)?;
        let names: Vec<String> = sessions.providers().iter().map(|it| it.settings().name.clone()).collect();
        audit.record(&Event::Started {
            version: env!("CARGO_PKG_VERSION"),
            configuration_hash: config.digest.as_deref(),
            providers: &names,
        });
        let services = Services::new(sessions.clone(), config.services.clone(), config.backends.clone());
        let (requests, live_sessions) = (Arc::new(Requests::new(api::ROUTES)), LiveSessions::default());
        let supervision = Supervision::new(audit.clone());
        lifecycle.serve(Running {
            public_urls: public_urls.clone(),
            certificates: certificates.clone(),
            sessions: sessions.clone(),
            requests: requests.clone(),
            live_sessions: live_sessions.clone(),
            supervision: supervision.clone(),
            operations: Operations::new(&data_directory, config_path, clock.clone(), audit.clone()),
        });
        Ok(Self {
            data_directory,
            listener,
            for_operators,
            stopping,
            certificates,
            tls,
            redirecting,
            sessions,
            public_urls,
            address,
            clock,
            audit,
            requests,
            live_sessions,
            supervision,
            limits: config.limits,
            proxies: config.proxies,
            service_networks: services::networks(&config.services),
            services,
        })
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The addresses that users type, the preferred one first.
    pub fn public_urls(&self) -> &[Origin] {
        &self.public_urls
    }

    /// The pin that clients use to authenticate the daemon.
    pub fn pin(&self) -> Pin {
        self.certificates.local().pin()
    }

    /// The daemon CA's certificate as PEM.
    pub fn authority_pem(&self) -> String {
        self.certificates.local().certificate_pem()
    }

    /// The daemon's audit log.
    pub fn audit(&self) -> Audit {
        self.audit.clone()
    }

    /// The daemon's certificates.
    pub fn certificates(&self) -> Arc<Certificates> {
        self.certificates.clone()
    }

    /// Serves until `stop` completes, then lets running requests finish.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.stopping.subscribe();
        let upkeep = Arc::new(Upkeep {
            store: self.data_directory.store.clone(),
            sessions: self.sessions.clone(),
            keys: self.data_directory.keys.clone(),
            certificates: self.certificates,
            epoch_file: self.data_directory.epoch_file.clone(),
            clock: self.clock,
            audit: self.audit.clone(),
            live_sessions: self.live_sessions,
            rollback_reported: AtomicBool::new(false),
        });
        let background = tokio::spawn(upkeep.clone().run(self.supervision.clone()));
        let drain = self.limits.listener.drain;
        let asking = tokio::spawn(work_with_providers(
            self.sessions.clone(),
            self.supervision,
            stopped.clone(),
            drain,
        ));
        let stopping = self.stopping;
        let waiting = tokio::spawn(async move {
            stop.await;
            stopping.send_replace(true);
        });

        let redirecting = self.redirecting.map(|listener| {
            let app = App::without_counters(api::redirect(self.public_urls), self.proxies.clone());
            let (limits, stopped) = (self.limits.listener.for_redirect(), stopped.clone());
            tokio::spawn(async move {
                listener::serve(listener, Transport::Plain, app, limits, until(stopped)).await;
            })
        });
        let (router, fast_path) = api::interface(self.sessions, self.services, &self.limits.api);
        let app = App {
            fast_path: Some(fast_path),
            router,
            requests: self.requests,
            proxies: self.proxies,
            services: self.service_networks,
            refusals: api::refusals(),
        };
        let (transport, limits) = (Transport::Tls(self.tls), self.limits.listener);
        listener::serve(self.listener, transport, app, limits, until(stopped)).await;
        // Stops with the listener, within the same timeout.
        let _ = asking.await;
        background.abort();
        waiting.abort();
        // These finish on their own: the background tasks were aborted, and the others watch `stopped`.
        let _ = background.await;
        upkeep.record_at_stop();
        for task in self.for_operators.into_iter().chain(redirecting) {
            let _ = task.await;
        }
        self.audit.record_counts();
        self.audit.record(&Event::Stopped);
    }
}

/// Opens the audit log, if configured.
pub fn open_audit(settings: Option<&AuditSettings>, clock: Arc<dyn Clock>) -> Result<Audit, AuditError> {
    settings.map_or_else(|| Ok(Audit::none()), |settings| Audit::open(settings, clock))
}

/// Serves operators on the control socket, and monitoring on the metrics address.
fn answer_operators(
    config: &Config,
    handed: &mut HandedSockets,
    lifecycle: &Arc<Lifecycle>,
    stopped: &watch::Receiver<bool>,
) -> Result<Vec<JoinHandle<()>>, AssemblyError> {
    let control = bind_control(&config.data_dir)?;
    let asked = lifecycle.clone();
    let perform = move |operation| {
        let lifecycle = asked.clone();
        async move { lifecycle.perform(operation).await }
    };
    let mut tasks = vec![tokio::spawn(control.serve(perform, until(stopped.clone())))];
    if let Some(address) = config.metrics {
        let (listener, _) = bind(address, handed, lifecycle)?;
        let (observed, asked) = (lifecycle.clone(), lifecycle.clone());
        let watched = Watched {
            secrets: config.backends.clone(),
            observe: Arc::new(move || observed.observe()),
            readiness: Arc::new(move || asked.not_ready_because()),
            dropped_lines: logging::dropped_lines,
        };
        let limits = config.limits.listener.for_auxiliary_listener();
        let running = serve_monitoring(listener, watched, limits, until(stopped.clone()));
        tasks.push(tokio::spawn(running));
    }
    Ok(tasks)
}

/// Opens the keys. While a root key is unavailable, retries and reports why.
async fn wait_for_keys(config: &Config, lifecycle: &Lifecycle) -> Result<Keys, AssemblyError> {
    let mut pause = Duration::from_secs(1);
    loop {
        match Keys::open_or_create(&config.data_dir, &config.root_keys).await {
            Err(error) if error.is_away() => {
                tracing::warn!(%error, retry_in_seconds = pause.as_secs(), "waiting for the root key, users are not served yet");
                ServiceManager::waiting(&error.to_string(), pause);
                lifecycle.wait_for(error.to_string());
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            keys => return Ok(keys?),
        }
    }
}

/// Addresses that users type to reach a daemon with this configuration, as far as known before it listens.
pub fn expected_public_urls(config: &Config) -> Vec<Origin> {
    public_urls::of(config, config.listen)
}

/// Completes when `stopped` becomes true or its sender is dropped.
async fn until(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn bind(
    address: SocketAddr,
    handed: &mut HandedSockets,
    lifecycle: &Lifecycle,
) -> Result<(TcpListener, SocketAddr), AssemblyError> {
    let failed = |source| AssemblyError::Listen { address, source };
    let listener = match handed.take_at(address) {
        Some(socket) => TcpListener::from_std(socket),
        None => listener::bind(address),
    };
    let listener = listener.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    lifecycle.listens_on(bound);
    Ok((listener, bound))
}

fn bind_control(data_dir: &Path) -> Result<ControlSocket, AssemblyError> {
    ControlSocket::bind(data_dir).map_err(|source| no_control_socket(data_dir, source))
}

fn no_control_socket(data_dir: &Path, source: std::io::Error) -> AssemblyError {
    AssemblyError::ControlSocket { data_dir: data_dir.display().to_string(), source }
}

/// The stored row of a provider. The client secret reference is always sealed, because a `plaintext` reference contains
/// the secret itself.
fn provider_row(settings: &crate::identity::ProviderSettings, sealer: &FieldSealer) -> ProviderRow {
    let place =
        Place { table: "providers", row: &settings.name, column: "client_secret_reference", version: 1 };
    ProviderRow {
        name: settings.name.clone(),
        issuer: settings.issuer.clone(),
        admission: serde_json::to_string(&settings.allow).expect("lists of texts are JSON"),
        client_secret_reference: sealer
            .seal(place, settings.client_secret.expose().expose_secret().as_bytes()),
    }
}
