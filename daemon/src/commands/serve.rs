//! `infrad serve`: runs the daemon until it is told to stop.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use infra_shared::clock::SystemClock;
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::reload::{Configuration, Reloading};
use super::{Context, failure_of, introduction};
use crate::assembly::{Accepted, Daemon};
use crate::config::Config;
use crate::failure::Failure;
use crate::logging::{self, LogFormat};
use crate::platform::{self, HandedSockets, ServiceManager, lock_memory};

pub(super) async fn run(
    context: &Context,
    handed: HandedSockets,
    accepted: Accepted,
    domains: &[String],
) -> Result<ExitCode, Failure> {
    let mut config = Config::read(&context.config_path)?;
    config.add_domains(domains).map_err(|error| Failure::usage(error.to_string()))?;
    let log =
        logging::start(config.log, context.verbosity, context.terminal).map_err(|error| no_log(&error))?;
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
    keep_memory_from_swap();
    allow_open_files(config.limits.listener.connections);
    let clock = Arc::new(SystemClock);
    let mut signals = Signals::listen()
        .map_err(|error| Failure::new("the daemon cannot listen for signals").because(&error))?;
    let daemon = select! {
        daemon = Daemon::assemble(config, context.config_path.clone(), handed, accepted, clock) => daemon.map_err(|error| failure_of("the daemon cannot start", &error))?,
        // It may wait for a root key; nothing that would have to end is under way.
        () = signals.stop.next() => return Ok(Stopped::InOrder.into()),
    };
    introduce(context, &daemon, configuration.log_format)?;
    Ok(until_stopped(daemon, Some(configuration), signals).await.into())
}

/// Why there is no log, and so no daemon.
pub(super) fn no_log(error: &io::Error) -> Failure {
    Failure::new("cannot start the thread that writes the log").because(error)
}

/// Tells people on standard output where the daemon is, and machines in the log alone.
fn introduce(context: &Context, daemon: &Daemon, format: LogFormat) -> Result<(), Failure> {
    let (version, address) = (env!("CARGO_PKG_VERSION"), daemon.address());
    if format == LogFormat::Json {
        let urls: Vec<String> = daemon.public_urls().iter().map(ToString::to_string).collect();
        let urls = urls.join(" ");
        tracing::info!(%address, version, urls, fingerprint = %daemon.pin(), "ready");
        return Ok(());
    }
    let introduction = introduction::of(daemon.public_urls(), daemon.pin());
    context
        .terminal
        .data(format!("infrad {version} listens on {address}\n{introduction}\n"))
        .map_err(|error| Failure::output(&error))?;
    tracing::info!(%address, "ready");
    Ok(())
}

/// Before there is a key in memory. Without the right to, the daemon runs all the same, and says what to do.
fn keep_memory_from_swap() {
    match lock_memory() {
        Ok(true) => {}
        Ok(false) => tracing::warn!(
            "memory is not locked, and keys in it may be swapped to a disk: allow it (`LimitMEMLOCK=infinity`, or the \
             capability IPC_LOCK), or encrypt the swap"
        ),
        Err(error) => {
            tracing::warn!(%error, "memory cannot be locked, and keys in it may be swapped to a disk");
        }
    }
}

/// Beside connections: the store, sockets, logs, calls to providers.
const OTHER_FILES: u64 = 256;

/// Before connections are accepted. Too few files end in connections that nobody answers.
fn allow_open_files(connections: usize) {
    let needed = u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(OTHER_FILES);
    match platform::allow_open_files() {
        Ok(Some(allowed)) if allowed < needed => tracing::warn!(
            allowed,
            needed,
            "the limit of open files is too low for `limits.connections`: raise it (`LimitNOFILE=`, `ulimit -Hn`), or lower \
             `limits.connections`"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

/// How a daemon came to its end.
pub(super) enum Stopped {
    /// What was under way was let end.
    InOrder,
    /// A second signal did not let it.
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

/// Runs `daemon` until one of `signals`, which were listened for from before it was ready; a second one does not wait for what is under way.
pub(super) async fn until_stopped(
    daemon: Daemon,
    configuration: Option<Configuration>,
    Signals { stop: mut signals, hangup }: Signals,
) -> Stopped {
    let reloading = Reloading { certificates: daemon.certificates(), audit: daemon.audit(), configuration };
    let _reloading = AbortOnDrop(tokio::spawn(reloading.reload_when_told(hangup)));
    ServiceManager::ready();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut running = std::pin::pin!(daemon.run(async move {
        // A sender that is gone means the same.
        let _ = stopped.await;
    }));
    select! {
        () = &mut running => return Stopped::InOrder,
        () = signals.next() => {}
    }
    // In the log alone: to write to a standard error that is not read would block.
    tracing::info!("stopping; what is under way may end, a second signal ends it at once");
    ServiceManager::stopping();
    // A daemon that ended meanwhile needs no telling.
    let _ = stop.send(());
    select! {
        () = running => Stopped::InOrder,
        () = signals.next() => Stopped::AtOnce,
    }
}

/// A task that ends with whoever started it.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a daemon is told by signals, from the moment of [`Signals::listen`].
pub(super) struct Signals {
    pub(super) stop: StopSignals,
    /// Told to reload before there is anything to reload, it must not end, as it would by default, and must not forget it.
    hangup: Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self { stop: StopSignals::listen()?, hangup: signal(SignalKind::hangup())? })
    }
}

/// SIGTERM and SIGINT.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next of them.
    async fn next(&mut self) {
        select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
