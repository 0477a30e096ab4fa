//! `infrad serve`: runs the daemon until it receives a stop signal.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use infra_shared::clock::SystemClock;
use infra_shared::printable::counted;
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::reload::{Configuration, Reloading};
use super::{Context, failure_of, user_instructions};
use crate::assembly::{Daemon, DataDirectory, Outcome, StartOverrides};
use crate::config::Config;
use crate::failure::Failure;
use crate::logging::{self, LogFormat};
use crate::platform::{self, HandedSockets, HangUp, ServiceManager, lock_memory};
use crate::store::PostgresSettings;

pub(super) async fn run(
    context: &Context,
    handed: HandedSockets,
    overrides: StartOverrides,
    domains: &[String],
) -> Result<ExitCode, Failure> {
    let mut config = Config::read(&context.config_path)?;
    config.add_domains(domains).map_err(|error| Failure::usage(error.to_string()))?;
    let log = logging::start(config.log, context.verbosity, context.terminal)
        .map_err(|error| log_start_failure(&error))?;
    for warning in &config.warnings {
        match config.log.format {
            LogFormat::Text => context.terminal.warn(warning),
            LogFormat::Json => tracing::warn!("{warning}"),
        }
    }
    let configuration = Configuration {
        path: context.config_path.clone(),
        sections: config.sections.clone(),
        log_format: config.log.format,
        log,
    };
    warn_of_secrets(&config).await;
    keep_memory_from_swap();
    allow_open_files(config.limits.listener.connections);
    let clock = Arc::new(SystemClock);
    let mut signals =
        Signals::listen().map_err(|error| Failure::failed("cannot listen for signals").because(&error))?;
    let daemon = select! {
        daemon = Daemon::assemble(config, context.config_path.clone(), handed, overrides, clock) => daemon.map_err(|error| failure_of("the daemon cannot start", &error))?,
        // The start may be waiting for a root key. There is nothing to shut down yet.
        () = signals.stop.next() => return Ok(Stopped::InOrder.into()),
    };
    print_user_instructions(context, &daemon, configuration.log_format)?;
    Ok(until_stopped(daemon, Some(configuration), signals).await.into())
}

/// Accepts older data or creates a store, as a start with these options would, and does not serve.
pub(super) async fn prepare(context: &Context, overrides: StartOverrides) -> Result<ExitCode, Failure> {
    let config = context.read_config()?;
    let data_dir = config.data_dir.display();
    let outcome =
        DataDirectory::accept(&config, overrides, Arc::new(SystemClock)).await.map_err(|error| {
            failure_of(
                "cannot accept the data",
                &error.located(&config.data_dir, config.database.as_ref().map(PostgresSettings::describe)),
            )
        })?;
    context.terminal.say(&match outcome {
        Outcome::Ended { sessions } => {
            format!(
                "accepted the data in {data_dir}; revoked {}: users must sign in again",
                counted(sessions, "session")
            )
        }
        Outcome::Created => format!("created a new store in {data_dir}, with another fingerprint"),
        Outcome::LacksAuthority => {
            "the database has lost the CA of its store: the next start creates another, with another fingerprint".to_owned()
        }
        Outcome::Nothing => {
            format!("there is nothing to accept: the data in {data_dir} is not older than the data this host used last")
        }
    });
    context.terminal.say("start the daemon with `systemctl start infrad`");
    Ok(ExitCode::SUCCESS)
}

/// The failure to start the log, without which the daemon does not run.
pub(super) fn log_start_failure(error: &io::Error) -> Failure {
    Failure::failed("cannot start the thread that writes the log").because(error)
}

/// Prints the introduction for people on standard output. With a JSON log, logs it instead.
fn print_user_instructions(context: &Context, daemon: &Daemon, format: LogFormat) -> Result<(), Failure> {
    let (version, address) = (env!("CARGO_PKG_VERSION"), daemon.address());
    if format == LogFormat::Json {
        let urls: Vec<String> = daemon.public_urls().iter().map(ToString::to_string).collect();
        let urls = urls.join(" ");
        tracing::info!(%address, version, urls, fingerprint = %daemon.pin(), "ready");
        return Ok(());
    }
    let introduction = user_instructions::of(daemon.public_urls(), daemon.pin());
    context
        .terminal
        .data(format!("infrad {version} listens on {address}\n{introduction}\n"))
        .map_err(|error| Failure::output(&error))?;
    tracing::info!(%address, "ready");
    Ok(())
}

/// The daemon reads client secrets at each login only, so that one without a network is tried at the start. It may still be
/// put right while the daemon runs.
async fn warn_of_secrets(config: &Config) {
    for provider in &config.providers {
        if config.backends.is_local(&provider.client_secret)
            && let Err(error) = config.backends.resolve(&provider.client_secret).await
        {
            tracing::warn!(provider = provider.name, %error, "cannot read the client secret: users cannot sign in");
        }
    }
}

/// Runs before any key is in memory. If memory cannot be locked, logs a warning and continues.
fn keep_memory_from_swap() {
    match lock_memory() {
        Ok(true) => {}
        Ok(false) => tracing::warn!(
            "memory is not locked, so keys in it may be swapped to disk: allow locking (`LimitMEMLOCK=infinity` or \
             the capability IPC_LOCK), or encrypt the swap"
        ),
        Err(error) => {
            tracing::warn!(%error, "cannot lock memory, so keys in it may be swapped to disk");
        }
    }
}

/// Files needed in addition to connections: the store, sockets, logs, requests to providers.
const OTHER_FILES: u64 = 256;

/// Runs before connections are accepted. With too few files, connections would get no response.
fn allow_open_files(connections: usize) {
    let needed = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    match platform::allow_open_files() {
        Ok(Some(allowed)) if allowed < needed => tracing::warn!(
            allowed,
            needed,
            "the limit of open files is too low for `limits.maxConnections`: raise it (`LimitNOFILE=` or `ulimit \
             -Hn`), or lower `limits.maxConnections`"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
    }
}

pub(super) enum Stopped {
    /// Running requests finished.
    InOrder,
    /// A second signal interrupted them.
    AtOnce,
}

impl From<Stopped> for ExitCode {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::InOrder => Self::SUCCESS,
            Stopped::AtOnce => Self::FAILURE,
        }
    }
}

/// Runs `daemon` until a signal arrives. A second signal stops it without waiting for running requests.
///
/// `signals` must have been registered before the daemon was ready.
pub(super) async fn until_stopped(
    daemon: Daemon,
    configuration: Option<Configuration>,
    Signals { stop: mut signals, hangup }: Signals,
) -> Stopped {
    let reloading = Reloading { certificates: daemon.certificates(), audit: daemon.audit(), configuration };
    let _reloading = hangup.map(|hangup| AbortOnDrop(tokio::spawn(reloading.reload_when_told(hangup))));
    ServiceManager::ready();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut running = std::pin::pin!(daemon.run(async move {
        // A dropped sender means the same.
        let _ = stopped.await;
    }));
    select! {
        () = &mut running => return Stopped::InOrder,
        () = signals.next() => {}
    }
    // Logged only, because writing to an unread standard error would block.
    tracing::info!("stopping: running requests may finish; send the signal again to stop immediately");
    ServiceManager::stopping();
    // Fails if the daemon has already stopped.
    let _ = stop.send(());
    select! {
        () = running => Stopped::InOrder,
        () = signals.next() => Stopped::AtOnce,
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Signals that the daemon handles, from the call to [`Signals::listen`] on.
pub(super) struct Signals {
    pub(super) stop: StopSignals,
    /// Reloads. Registered early: by default SIGHUP ends the process, and one that arrives during the start must be
    /// handled later.
    hangup: Option<Signal>,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self { stop: StopSignals::listen(HangUp::never())?, hangup: Some(signal(SignalKind::hangup())?) })
    }

    /// SIGHUP stops as well: the terminal was closed.
    #[cfg(feature = "dev")]
    pub(super) fn listen_in_terminal() -> io::Result<Self> {
        Ok(Self { stop: StopSignals::listen(HangUp::listen()?)?, hangup: None })
    }
}

/// SIGTERM, SIGINT and, for a program of a terminal, SIGHUP.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    hangup: HangUp,
}

impl StopSignals {
    fn listen(hangup: HangUp) -> io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt, hangup })
    }

    async fn next(&mut self) {
        select! {
            () = self.hangup.received() => {}
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
