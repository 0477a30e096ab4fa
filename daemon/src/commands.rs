//! Dispatches command lines to their implementation.

mod as_service;
mod audit;
mod backup;
mod ca;
mod certificate;
mod check;
mod completions;
mod database;
#[cfg(feature = "dev")]
mod dev;
mod fingerprint;
mod key;
mod operation;
mod recovery;
mod reload;
mod serve;
mod service_access;
mod sessions;
mod status;
mod token_keys;
mod user_instructions;

use std::error::Error;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use infra_shared::printable::{printable, when};

use crate::arguments::{Arguments, CertificateCommand, Command};
use crate::assembly::{AssemblyError, StartOverrides};
use crate::config::Config;
use crate::control::{self, ControlError, OperationFailure};
use crate::failure::Failure;
use crate::keys::KeyError;
use crate::logging::Verbosity;
use crate::outbound;
use crate::platform::{HandedSockets, PlatformError, Unit};
use crate::terminal::Terminal;

#[derive(Debug, Clone)]
pub struct Context {
    pub config_path: PathBuf,
    pub terminal: Terminal,
    pub verbosity: Verbosity,
}

impl Context {
    pub fn new(arguments: &Arguments) -> Self {
        let global = &arguments.global;
        Self {
            config_path: global.config.clone(),
            terminal: Terminal::new(global.quiet, global.color),
            verbosity: Verbosity { verbose: global.verbose, quiet: global.quiet },
        }
    }

    fn read_config(&self) -> Result<Config, Failure> {
        let config = Config::read(&self.config_path)?;
        self.print_warnings(&config);
        Ok(config)
    }

    fn print_warnings(&self, config: &Config) {
        config.warnings.iter().for_each(|warning| self.terminal.warn(warning));
        let entries = outbound::ineffective_exemptions();
        if !entries.is_empty() {
            self.terminal.warn(&format!(
                "these entries of NO_PROXY match no server: {}; write host names (without scheme, port or `*`), addresses or networks",
                entries.iter().map(|entry| format!("`{}`", printable(entry, 100))).collect::<Vec<_>>().join(", ")
            ));
        }
    }

    /// Finds the running daemon's data directory. Only warns of a fault in the configuration file, because the daemon still
    /// runs with the earlier version, and sessions must be revocable meanwhile.
    fn find_running(&self) -> Result<PathBuf, Failure> {
        let error = match Config::read(&self.config_path) {
            Ok(config) => {
                self.print_warnings(&config);
                return Ok(config.data_dir);
            }
            Err(error) => error,
        };
        let found = Config::find_data_dirs(&self.config_path).into_iter().find(|path| control::may_run(path));
        let Some(data_dir) = found else { return Err(error.into()) };
        self.terminal.warn(&format!(
            "the configuration is invalid, so a restart would fail: {error}; asking the infrad that runs with the data in {}",
            data_dir.display()
        ));
        Ok(data_dir)
    }
}

pub fn run(context: &Context, command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve { accept_rollback, new_store, prepare: true, .. } => {
            let overrides = StartOverrides { rollback: *accept_rollback, new_store: *new_store };
            block_on(serve::prepare(context, overrides))
        }
        Command::Serve { accept_rollback, new_store, domain, .. } => {
            // Taken here, while the process has only one thread.
            let handed = HandedSockets::take().map_err(|error| {
                Failure::failed("cannot use a socket that systemd passed").because(&error)
            })?;
            let overrides = StartOverrides { rollback: *accept_rollback, new_store: *new_store };
            serve_on(serve::run(context, handed, overrides, domain))
        }
        Command::Check { schema: true, .. } => check::print_schema(context),
        Command::Check { live, json, .. } => block_on(check::run(context, *live, *json)),
        Command::Status { json } => block_on(status::run(context, *json)),
        Command::Key { command } => block_on(key::run(context, *command)),
        Command::Database { command } => block_on(database::run(context, *command)),
        Command::Backup { file, command } => {
            block_on(backup::run(context, file.as_deref(), command.as_ref()))
        }
        Command::Restore { file, recovery } => block_on(backup::restore(context, file, *recovery)),
        #[cfg(feature = "dev")]
        Command::Dev { command } => serve_on(dev::run(context, command)),
        Command::Fingerprint => block_on(fingerprint::run(context)),
        Command::Ca { command } => block_on(ca::run(context, *command)),
        Command::Certificate { command: CertificateCommand::Renew } => block_on(certificate::renew(context)),
        Command::Sessions { command } => block_on(sessions::run(context, command)),
        Command::Audit { command } => audit::run(context, command),
        Command::AsService { words } => block_on(as_service::run(context, words)),
        Command::Completions { shell } => completions::run(context, *shell),
    }
}

/// The exit code of a command that the user interrupted, as a shell reports it.
const INTERRUPTED: u8 = 130;

/// How long to wait for threads after the command has finished.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Runs a daemon on all cores.
fn serve_on(command: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    run_on(&mut tokio::runtime::Builder::new_multi_thread(), command)
}

/// Runs a sequential command that mostly waits.
fn block_on(command: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    run_on(tokio::runtime::Builder::new_current_thread().max_blocking_threads(1), command)
}

fn run_on(
    runtime: &mut tokio::runtime::Builder,
    command: impl Future<Output = Result<ExitCode, Failure>>,
) -> Result<ExitCode, Failure> {
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("cannot start the program's threads").because(&error))?;
    let outcome = runtime.block_on(command);
    // A thread that still runs when the process exits may use libraries that are already unloaded. A hanging one, for
    // example in a DNS lookup, must not block the exit.
    runtime.shutdown_timeout(LAST_WAIT);
    outcome
}

/// Converts an error into the failure `what`, with a hint.
fn failure_of(what: &str, error: &AssemblyError) -> Failure {
    failure_with(what, error, error.is_transient(), hint_for(error).as_deref())
}

/// What to try against `error`, where its text does not say it.
fn hint_for(error: &AssemblyError) -> Option<String> {
    match error {
        AssemblyError::Platform(PlatformError::Locked { process, .. }) => {
            Some(format!("stop the other infrad with {}", stopping(process)))
        }
        AssemblyError::Key(key) => key.hint(),
        _ => error.hint(),
    }
}

/// The command that stops the daemon with this process ID.
fn stopping(process: &str) -> String {
    match Unit::find() {
        Some(_) => "`systemctl stop infrad.socket infrad.service`".to_owned(),
        None => format!("`kill {process}`"),
    }
}

/// A failure caused by `error`, with advice if a root key caused it.
fn failure_for_keys(what: &str, error: &dyn Error, key: Option<&KeyError>) -> Failure {
    let hint = key.and_then(KeyError::hint);
    failure_with(what, error, key.is_some_and(KeyError::is_transient), hint.as_deref())
}

/// A failure that the process performing the operation reported.
fn failure_of_operation(what: &str, error: &OperationFailure) -> Failure {
    failure_with(what, error, error.is_transient, error.hint.as_deref())
}

fn failure_with(what: &str, error: &dyn Error, is_transient: bool, hint: Option<&str>) -> Failure {
    let failure =
        if is_transient { Failure::unreachable(what) } else { Failure::failed(what) }.because(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn hint_for_hanging(process: &str, has_unit: bool) -> String {
    let restart = if has_unit {
        "`systemctl restart infrad`".to_owned()
    } else {
        format!("`kill {process}`, after a minute `kill -KILL {process}`, then start it again")
    };
    format!(
        "`ps -o stat,wchan:20,etime,cmd -p {process}`. If STAT is `T`, it is stopped: `kill -CONT {process}` resumes it. If \
         STAT is `D`, it waits for a disk. Otherwise restart it: {restart}; all sessions stay valid"
    )
}

impl From<AssemblyError> for Failure {
    fn from(error: AssemblyError) -> Self {
        failure_of("cannot use the data directory", &error)
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        match &error {
            ControlError::Failed(failure) => {
                failure_of_operation("the running infrad reported an error", failure)
            }
            // The response arrived but cannot be stored.
            ControlError::Write(source) => Self::failed("cannot write the file")
                .because(source)
                .hint("free space on its file system, or name a file on another file system"),
            ControlError::TooSlow { process, .. } => Self::failed("the running infrad does not respond")
                .because(&error)
                .hint(hint_for_hanging(process, Unit::find().is_some())),
            ControlError::Ended => Self::failed("the command was interrupted")
                .because(&error)
                .hint("look for the reason in its log, then start it and run the same command again"),
            _ => Self::failed("another infrad uses the data directory but does not respond").because(&error),
        }
    }
}
