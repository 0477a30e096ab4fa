//! Command-line arguments of `infra`.

mod delegate;
mod help;
mod helper;
mod kubernetes;
mod powershell;
mod token;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ColorChoice, CommandFactory, Parser, Subcommand, ValueHint};
use clap_complete::ArgValueCompleter;
use infra_shared::completion::{Program, Shell};
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use infra_shared::token_text::SessionID;

use crate::completion;

pub use delegate::Delegate;
pub use help::SYNONYMS;
pub use helper::{
    BazelHelper, BazelOperation, Binding, DockerHelper, DockerOperation, GitHelper, HelperCommand,
};
pub use kubernetes::{Configure, KubernetesCommand, KubernetesToken};
pub use token::{Token, TokenFormat};

/// A person takes no longer to sign in, and the daemon's ticket lasts no longer.
const MAX_LOGIN: Duration = Duration::from_mins(5);

/// This program's completion, as called by shells.
pub const PROGRAM: Program =
    Program { name: "infra", variable: "INFRA_COMPLETE", arguments: Arguments::command };

/// Sign in to infrastructure from the terminal
#[derive(Debug, Parser)]
#[command(name = "infra", bin_name = "infra", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = help::SHORT, after_long_help = help::shown(help::PROGRAM))]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,

    #[command(flatten)]
    pub global: Global,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// The server to talk to: `host`, `host:port` or `https://host[:port]`
    #[arg(long = "server", global = true, value_name = "SERVER")]
    #[arg(add = ArgValueCompleter::new(completion::servers))]
    pub server_option: Option<Origin>,

    /// Show what the command does (twice: more details)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Show only warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub color: ColorChoice,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sign in through the browser
    ///
    /// The first time, type the whole line from the server's operator: it proves the server. If you are already
    /// signed in, the command says so and opens nothing. Over SSH or in a container it prints an address: open it in any
    /// browser. If the last page does not load, paste its address here.
    #[command(after_long_help = help::shown(help::LOGIN))]
    Login(Login),

    /// Sign out: revoke the session at the daemon and delete it here
    ///
    /// Services reject the token within a second. If the daemon cannot be reached (exit code 7), the token is deleted here
    /// nevertheless, and the next command delivers the sign-out.
    #[command(after_long_help = help::shown(help::LOGOUT))]
    Logout(Logout),

    /// Show where you are signed in, as which user and until when
    ///
    /// Exit code 0 means signed in, 3 not signed in, 4 daemon unreachable, and 5 server not trusted. Times are in your time
    /// zone. The time left is by the daemon's clock.
    #[command(after_long_help = help::shown(help::STATUS))]
    Status(Status),

    /// Print a token for a script, or exit with 3 if you are not signed in
    ///
    /// Standard output is only the token or its headers, or empty. Without `--audience`, the command goes by what is stored
    /// here: run `infra status` first to ask the daemon. It never prompts and never opens a browser. If standard error is a
    /// terminal, it warns in the last minutes of a session, unless `-q` is given.
    #[command(after_long_help = help::shown(help::TOKEN))]
    Token(Token),

    /// Run a command with a token for one service in its environment
    ///
    /// The token is valid only at that service, for ten minutes at most, and ends with the session. The command is not given
    /// the session token; a command of yours can still run `infra`, except with `INFRA_TOKEN`, which is removed. `infra`
    /// exits with the command's exit code.
    #[command(after_long_help = help::shown(help::EXEC))]
    Exec(Exec),

    /// Run a command with a session of its own, limited to some services
    ///
    /// For agents and long scripts. `infra` uses this session in the command, gets tokens for these services only, and
    /// lists, revokes and opens no other session. It ends with the command, or with your session. The command still runs as
    /// you: it can read your files, such as ~/.infra. `infra` exits with the command's exit code.
    #[command(after_long_help = help::DELEGATE)]
    Delegate(Delegate),

    /// Sign in to Kubernetes clusters with the session
    ///
    /// `kubectl` runs `infra` to get a token that only this cluster accepts. It is valid for ten minutes at most and ends with
    /// the session.
    #[command(after_long_help = help::shown(help::KUBERNETES))]
    Kubernetes {
        #[command(subcommand)]
        command: KubernetesCommand,
    },

    /// Answer git, Docker and Bazel when they need a credential
    ///
    /// A helper gives the tool a token for one service at `--server`, which you must name. Only the hosts of `--host` get it,
    /// and only over https. It never prompts and never opens a browser. Exit code 3 means that you need to sign in.
    #[command(after_long_help = help::shown(help::HELPER))]
    Helper {
        #[command(subcommand)]
        command: HelperCommand,
    },

    /// List your sessions on all machines, or revoke them
    ///
    /// Each sign-in opens a session. Revoke those that you do not recognise or no longer need: services reject them within
    /// a second. Administrators list and revoke the sessions of another user with `--user`.
    #[command(after_long_help = help::shown(help::SESSIONS))]
    Sessions(Sessions),

    /// Make a known server the current one
    ///
    /// Commands use the current server if you name none. Signing in at a server makes it the current one.
    #[command(after_long_help = help::shown(help::USE))]
    Use {
        /// A server at which you have signed in before
        #[arg(add = ArgValueCompleter::new(completion::servers))]
        server: Origin,
    },

    /// Accept a new identity of a known server
    ///
    /// Use it if the fingerprint of a server has changed. Ask the server's operator for the new one through another channel
    /// than the server.
    #[command(after_long_help = help::shown(help::TRUST))]
    Trust(Trust),

    /// Find what keeps you from signing in, and show how to fix it
    ///
    /// Checks the files in ~/.infra, the browser, the keyring, the ports to which the browser returns, the proxy and every
    /// known server: its identity, clock and identity providers. It changes nothing and shows no secret. The exit code is 1
    /// if a check failed.
    #[command(after_long_help = help::shown(help::DOCTOR))]
    Doctor(Doctor),

    /// Print a shell's completion script
    ///
    /// The script runs `infra` to complete commands, options, known servers and providers. The shell completes file names.
    /// The script for Nushell completes only commands and options.
    #[command(after_long_help = help::shown(help::COMPLETIONS))]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a command-line flag")]
pub struct Login {
    /// The server, by default the current one
    #[arg(add = ArgValueCompleter::new(completion::servers))]
    pub server: Option<Origin>,

    /// The identity provider, if the server accepts several
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::providers))]
    pub provider: Option<String>,

    #[command(flatten)]
    pub trust: TrustArguments,

    /// Print the URL instead of opening a browser
    #[arg(long)]
    pub no_browser: bool,

    /// Keep a copy of the token in the operating system's keyring
    #[arg(long, overrides_with = "no_keyring")]
    pub keyring: bool,

    /// Keep no copy of the token in the operating system's keyring
    #[arg(long, overrides_with = "keyring")]
    pub no_keyring: bool,

    /// Sign in again, even if you are signed in: revokes the current session with all its tokens
    #[arg(long)]
    pub force: bool,

    /// How long to wait for the browser, at most 5m
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = login_timeout)]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
pub struct Logout {
    /// The server, by default the current one
    #[arg(conflicts_with = "all", add = ArgValueCompleter::new(completion::servers))]
    pub server: Option<Origin>,

    /// Sign out of all servers
    #[arg(long)]
    pub all: bool,

    /// Also forget the server and its fingerprint
    #[arg(long)]
    pub forget: bool,
}

#[derive(Debug, Args)]
pub struct Status {
    /// The server, by default the current one
    #[arg(conflicts_with = "all", add = ArgValueCompleter::new(completion::servers))]
    pub server: Option<Origin>,

    /// Print one JSON object in every state
    #[arg(long)]
    pub json: bool,

    /// Use only what is stored here, without the network
    #[arg(long)]
    pub offline: bool,

    /// All known servers
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct Sessions {
    #[command(subcommand)]
    pub command: Option<SessionsCommand>,

    /// For administrators: the sessions of the user with this e-mail address or subject
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// Revoke sessions on any machine
    #[command(after_long_help = help::shown(help::SESSIONS_REVOKE))]
    Revoke(Revoke),
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["ids", "others", "all"])))]
pub struct Revoke {
    /// IDs from `infra sessions`
    #[arg(value_name = "ID", value_parser = SessionID::from_argument, add = ArgValueCompleter::new(completion::sessions))]
    pub ids: Vec<SessionID>,

    /// All sessions except the one on this machine
    #[arg(long)]
    pub others: bool,

    /// All sessions, including this one
    #[arg(long)]
    pub all: bool,

    /// For administrators, with `--all`: the sessions of the user with this e-mail address or subject
    #[arg(long, value_name = "USER", requires = "all")]
    pub user: Option<String>,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// The server, by default every known one
    #[arg(add = ArgValueCompleter::new(completion::servers))]
    pub server: Option<Origin>,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Exec {
    /// The service's audience, or its name
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::audiences))]
    pub audience: String,

    /// The environment variable for the token
    #[arg(long, value_name = "VARIABLE", default_value = crate::settings::AUDIENCE_TOKEN, value_parser = variable)]
    pub variable: String,

    /// Minimum time that the token stays valid, less than 10m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub min_left: Option<Duration>,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub struct Trust {
    /// A known server
    #[arg(add = ArgValueCompleter::new(completion::servers))]
    pub server: Origin,

    #[command(flatten)]
    pub trust: TrustArguments,

    /// Trust the certification authorities of this machine, for a server that has a public certificate now
    #[arg(long, conflicts_with_all = ["fingerprint", "ca_file"])]
    pub system: bool,
}

/// Trust options for a server that is not known here.
#[derive(Debug, Clone, Args)]
pub struct TrustArguments {
    /// The fingerprint of its certification authority, from its operator
    #[arg(long, value_name = "FINGERPRINT")]
    pub fingerprint: Option<Pin>,

    /// A PEM file with its certification authority
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,
}

/// A name that shells can ask for. One of ours would be taken for more than it is.
fn variable(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name = text.bytes().all(plain)
        && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if !is_name {
        return Err("a variable consists of letters, digits and underscores, such as `TOKEN`".to_owned());
    }
    if text == "INFRA_TOKEN" {
        return Err("INFRA_TOKEN is for session tokens only: choose another name".to_owned());
    }
    if text == "PATH" {
        return Err("the command is found by PATH: choose another name".to_owned());
    }
    Ok(text.to_owned())
}

fn login_timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    if timeout.is_zero() || timeout > MAX_LOGIN {
        return Err("a sign-in waits for more than 0s and at most 5m".to_owned());
    }
    Ok(timeout)
}

/// A duration such as `90s`, `10m`, `1h30m` or `2d`.
fn duration(text: &str) -> Result<Duration, String> {
    let malformed = || "a duration is written like `90s`, `10m`, `1h30m` or `2d`".to_owned();
    let parsed: jiff::Span = text.parse().map_err(|_| malformed())?;
    let parsed = parsed.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| malformed())?;
    Duration::try_from(parsed).map_err(|_| malformed())
}

#[cfg(test)]
mod tests;
