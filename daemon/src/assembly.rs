//! Builds a daemon from its configuration. The only module that uses all others.

mod data_directory;
mod endpoints;
mod error;
mod hints;
mod lifecycle;
mod opened_keys;
mod operations;
mod providers;
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
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::api;
use crate::audit::{Audit, AuditError, AuditSettings, Event};
use crate::config::Config;
use crate::listener::Requests;
use crate::platform::HandedSockets;
use crate::sessions::Bindings;
use crate::store::{MemberDescription, PostgresSettings};
use crate::tls::Certificates;
use crate::upkeep::{
    ConfiguredProviders, LiveSessions, RootKeyWatch, Supervision, Upkeep, run_provider_jobs,
};
use endpoints::{Endpoint, bind, serve_operators};
use lifecycle::{Lifecycle, Running};
use opened_keys::OpenedKeys;
use providers::{open_sessions, provider_rows};

pub use data_directory::{DataDirectory, Outcome, StartOverrides, check_new_store, lock};
pub use error::AssemblyError;
pub use operations::Operations;
pub use start_problems::{
    StartProblem, check_addresses, find_start_problems, find_store_problem, holds_other_files,
};

/// How long a stop waits for a shared database.
const LEAVING: Duration = Duration::from_secs(5);

/// A daemon that listens and is ready to [`run`](Self::run).
pub struct Daemon {
    data_directory: DataDirectory,
    running: Arc<Running>,
    address: SocketAddr,
    /// Serves users and services over HTTPS.
    main: Endpoint,
    /// Redirects plain HTTP to HTTPS.
    redirect: Option<Endpoint>,
    /// Tasks that serve operators. They stop with the daemon.
    operator_tasks: Vec<JoinHandle<()>>,
    configured: ConfiguredProviders,
    stopping: watch::Sender<bool>,
}

/// A start that takes longer says what it waits for.
const SLOW_START: Duration = Duration::from_secs(5);

impl Daemon {
    /// Opens the data directory and binds the address, but serves no users yet. Serves operators from the beginning.
    ///
    /// While the first root key or a shared database is unavailable, retries with growing delays. Ends sessions whose provider
    /// or user the configuration no longer admits, before any request can use them. Uses sockets in `handed` for the
    /// configured addresses that have one.
    pub async fn assemble(
        config: Config,
        config_path: PathBuf,
        handed: HandedSockets,
        overrides: StartOverrides,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AssemblyError> {
        let data_dir = config.data_dir.clone();
        let database = config.database.as_ref().map(PostgresSettings::describe);
        let assembled = Self::assemble_parts(config, config_path, handed, overrides, clock).await;
        assembled.map_err(|error| error.located(&data_dir, database))
    }

    async fn assemble_parts(
        config: Config,
        config_path: PathBuf,
        mut handed: HandedSockets,
        overrides: StartOverrides,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AssemblyError> {
        start_problems::expect_none(&config, overrides, &handed).await?;
        let lock = lock(&config)?;
        let (stopping, stopped) = watch::channel(false);
        let lifecycle = Arc::new(Lifecycle::new(config.backends.clone(), clock.clone()));
        let operator_tasks = serve_operators(&config, &mut handed, &lifecycle, &stopped)?;
        let keys = OpenedKeys::wait(&config, &lifecycle).await?;
        // Stops when it is dropped.
        let mut slow_start = JoinSet::new();
        if config.database.is_some() {
            slow_start.spawn(report_slow_start(lifecycle.clone()));
        }
        // Before anything is accepted, which it records.
        let audit = open_audit(config.audit.as_ref(), clock.clone())?;
        let data_directory = DataDirectory::open_with(lock, keys, &config, overrides).await?;
        data_directory.record_accepted(&audit);
        let clock = data_directory.clock(clock);
        data_directory.revoke_if_restored(&audit, clock.now()).await?;
        let (listener, address) = bind(config.listen, &mut handed, &lifecycle)?;
        let public_urls = public_urls::of(&config, address);
        let redirect =
            config.https.redirect_http.map(|address| bind(address, &mut handed, &lifecycle)).transpose()?;
        let redirect =
            redirect.map(|(listener, _)| Endpoint::redirect(listener, &config, public_urls.clone()));
        let authority = data_directory.authority(&public_urls, clock.clone()).await?;
        data_directory.report_if_new(authority.pin());
        let certificates = Certificates::open(
            authority,
            config.https.source.clone(),
            public_urls.clone(),
            data_directory.store.clone(),
            data_directory.keys.field_sealer(),
            clock.clone(),
            audit.clone(),
        )
        .await?;
        let tls = certificates.tls_server(config.https.minimum_version)?;
        let bindings = Bindings::new(public_urls.clone(), certificates.daemon_identity());
        let token_keys = data_directory.token_keys(&config, clock.clone(), audit.clone()).await?;
        let opened = open_sessions(&config, &data_directory, bindings, token_keys, &clock, &audit);
        let sessions = Arc::new(opened?);
        // First, so that other daemons with the same store count its providers.
        data_directory.store.heartbeat(&member_description(address)).await?;
        let configured =
            ConfiguredProviders::new(data_directory.store.clone(), provider_rows(&data_directory, &sessions));
        configured.apply(&sessions).await?;
        let names: Vec<String> = sessions.providers().iter().map(|it| it.settings().name.clone()).collect();
        for name in &names {
            data_directory.store.end_leases(name, clock.now()).await?;
        }
        data_directory.raise_guard_counter().await?;
        audit.record(&Event::Started {
            version: env!("CARGO_PKG_VERSION"),
            configuration_hash: config.digest.as_deref(),
            providers: &names,
        });
        let root_key_watch = RootKeyWatch::new(
            config_path.clone(),
            config.data_dir.clone(),
            config.root_keys.clone(),
            Box::new(|path| Config::read(path).ok().map(|config| config.root_keys)),
        );
        let running = Arc::new(Running {
            public_urls,
            certificates,
            sessions,
            requests: Arc::new(Requests::new(api::routes())),
            live_sessions: LiveSessions::default(),
            root_key_watch,
            supervision: Supervision::new(audit.clone()),
            operations: Operations::new(&data_directory, config_path, clock, audit),
        });
        let main = Endpoint::main(listener, tls, config, &running);
        slow_start.abort_all();
        lifecycle.serve(running.clone());
        Ok(Self { data_directory, running, address, main, redirect, operator_tasks, configured, stopping })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The addresses that users type, the preferred one first.
    pub fn public_urls(&self) -> &[Origin] {
        &self.running.public_urls
    }

    /// The pin that clients use to authenticate the daemon.
    pub fn pin(&self) -> Pin {
        self.running.certificates.local().pin()
    }

    /// The daemon CA's certificate as PEM.
    pub fn authority_pem(&self) -> String {
        self.running.certificates.local().certificate_pem()
    }

    pub fn audit(&self) -> Audit {
        self.running.operations.audit.clone()
    }

    pub fn certificates(&self) -> Arc<Certificates> {
        self.running.certificates.clone()
    }

    /// Serves until `stop` completes, then lets running requests finish.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) {
        let (running, stopped) = (self.running, self.stopping.subscribe());
        let (sessions, supervision) = (&running.sessions, &running.supervision);
        let upkeep = Arc::new(Upkeep {
            data_dir: self.data_directory.path.clone(),
            store: self.data_directory.store.clone(),
            sessions: sessions.clone(),
            configured: self.configured,
            keys: self.data_directory.keys.clone(),
            certificates: running.certificates.clone(),
            rollback_guard_file: self.data_directory.rollback_guard_file.clone(),
            clock: running.operations.clock.clone(),
            audit: running.operations.audit.clone(),
            live_sessions: running.live_sessions.clone(),
            root_key_watch: running.root_key_watch.clone(),
            rollback_reported: AtomicBool::new(false),
            member: member_description(self.address),
        });
        let background = tokio::spawn(upkeep.clone().run(supervision.clone()));
        let drain = self.main.limits.drain;
        let asking =
            tokio::spawn(run_provider_jobs(sessions.clone(), supervision.clone(), stopped.clone(), drain));
        let stopping = self.stopping;
        let waiting = tokio::spawn(async move {
            stop.await;
            stopping.send_replace(true);
        });
        let redirect = self.redirect.map(|endpoint| tokio::spawn(endpoint.serve(stopped.clone())));
        self.main.serve(stopped).await;
        // Stops with the listener, within the same timeout.
        let _ = asking.await;
        background.abort();
        waiting.abort();
        // These finish on their own: the background tasks were aborted, and the others watch `stopped`.
        let _ = background.await;
        upkeep.record_at_stop();
        // Both rows expire by themselves.
        if tokio::time::timeout(LEAVING, upkeep.leave_members()).await.is_err() {
            tracing::warn!("cannot tell the other daemons about the stop: the database does not answer");
        }
        for task in self.operator_tasks.into_iter().chain(redirect) {
            let _ = task.await;
        }
        let _ = tokio::time::timeout(drain, sessions.finish_revocations()).await;
        upkeep.audit.record_counts();
        upkeep.audit.record(&Event::Stopped);
    }
}

pub fn open_audit(settings: Option<&AuditSettings>, clock: Arc<dyn Clock>) -> Result<Audit, AuditError> {
    settings.map_or_else(|| Ok(Audit::none()), |settings| Audit::open(settings, clock))
}

/// Addresses that users type to reach a daemon with this configuration, as far as known before it listens.
pub fn expected_public_urls(config: &Config) -> Vec<Origin> {
    public_urls::of(config, config.listen)
}

/// Says that the start waits for the database, if it lasts.
async fn report_slow_start(lifecycle: Arc<Lifecycle>) {
    tokio::time::sleep(SLOW_START).await;
    let cause = format!(
        "the database has not confirmed a write for {} s; it may wait for a synchronous standby: `infrad check --live` tests it",
        SLOW_START.as_secs()
    );
    tracing::warn!(cause, "the start waits for the database; users cannot sign in until it ends");
    lifecycle.wait_for(cause);
}

/// What other daemons with the same store learn of this one.
fn member_description(address: SocketAddr) -> MemberDescription {
    MemberDescription {
        name: public_urls::host_name(),
        address: address.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn no_control_socket(data_dir: &Path, source: std::io::Error) -> AssemblyError {
    AssemblyError::ControlSocket { data_dir: data_dir.display().to_string(), source }
}
