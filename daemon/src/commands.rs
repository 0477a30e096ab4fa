//! What the program does for each command line.

mod check;
mod completions;
#[cfg(feature = "dev")]
mod dev;
mod fingerprint;
mod introduction;
mod serve;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anstream::ColorChoice;

use crate::arguments::{Arguments, Colour, Command};
use crate::assembly::AssemblyError;
use crate::config::Config;
use crate::control::ControlError;
use crate::failure::Failure;
use crate::logging::Verbosity;
use crate::terminal::Terminal;

/// What every command is given.
#[derive(Debug, Clone)]
pub struct Context {
    pub config_path: PathBuf,
    pub terminal: Terminal,
    pub verbosity: Verbosity,
}

impl Context {
    pub fn new(arguments: &Arguments) -> Self {
        let global = &arguments.global;
        let colour = match global.color {
            Colour::Auto => ColorChoice::Auto,
            Colour::Always => ColorChoice::Always,
            Colour::Never => ColorChoice::Never,
        };
        Self {
            config_path: global.config.clone(),
            terminal: Terminal::new(global.quiet, colour),
            verbosity: Verbosity { verbose: global.verbose, quiet: global.quiet },
        }
    }

    /// The configuration, whose warnings are told.
    fn read_config(&self) -> Result<Config, Failure> {
        let config = Config::read(&self.config_path)?;
        config.warnings.iter().for_each(|warning| self.terminal.warn(warning));
        Ok(config)
    }
}

/// Does what `command` asks.
pub fn run(context: &Context, command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve => block_on(serve::run(context)),
        Command::Check => check::run(context),
        #[cfg(feature = "dev")]
        Command::Dev { command } => block_on(dev::run(context, command)),
        Command::Fingerprint => block_on(fingerprint::run(context)),
        Command::Completions { shell } => completions::run(context, *shell),
    }
}

/// How long threads may take to end after the command has.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Runs a command that waits for others: only these pay for a runtime.
fn block_on(command: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("the program cannot start its threads").because(&error))?;
    let outcome = runtime.block_on(command);
    // Threads that still run when the program ends would meet libraries that are gone; one that hangs, in a look-up of
    // a name for example, must not keep it.
    runtime.shutdown_timeout(LAST_WAIT);
    outcome
}

impl From<AssemblyError> for Failure {
    fn from(error: AssemblyError) -> Self {
        Self::new("the daemon cannot start").because(&error)
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        Self::new("another infrad holds the data directory, and it gave no answer").because(&error)
    }
}
