//! Command-line arguments of `infra`.

mod help;
mod kubernetes;

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
use crate::settings::COMPLETE;

pub use kubernetes::{Configure, KubernetesCommand, KubernetesToken};

/// A person takes no longer to sign in, and the daemon's ticket lasts no longer.
const MAX_LOGIN: Duration = Duration::from_mins(5);

/// This program's completion, as called by shells.
pub const PROGRAM: Program = Program { name: "infra", variable: COMPLETE, arguments: Arguments::command };

/// Sign in to infrastructure from the terminal
#[derive(Debug, Parser)]
#[command(name = "infra", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = help::SHORT, after_long_help = help::PROGRAM)]
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

    /// Say more about what is done (twice: even more)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Say nothing but warnings and errors
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
    /// The first time, the server has to be proven: type the whole line that its operator gave you. A session that is
    /// still good is told, and nothing is opened. Over SSH or in a container the address is printed: open it in any
    /// browser, and paste the address of the last page here if that page does not load.
    #[command(after_long_help = help::LOGIN)]
    Login(Login),

    /// End the session at the daemon, and forget it here
    ///
    /// The token is worthless within a second. Where the daemon cannot be told now (exit code 7), the token is dropped
    /// here all the same, and the next command tells it.
    #[command(after_long_help = help::LOGOUT)]
    Logout(Logout),

    /// Who is signed in where, and until when
    ///
    /// Exit code 0 means signed in, 3 that a login is needed, 4 that nobody could be asked, 5 that the server's
    /// identity is not trusted. Times are those of your time zone; the daemon's clock decides what is left.
    #[command(after_long_help = help::STATUS)]
    Status(Status),

    /// Print the session token for a script, or exit with 3 when there is no live one
    ///
    /// Standard output is the token alone, or nothing. It never asks and never opens a browser. Where a terminal reads
    /// standard error, the last minutes of a session are mentioned there, unless `-q`.
    #[command(after_long_help = help::TOKEN)]
    Token(Token),

    /// Run a command that finds a token for one service in its environment
    ///
    /// The token is good at that service alone, for ten minutes at most, and ends with the session. The command does not get
    /// the session's own token. Its exit code is that of `infra`.
    #[command(after_long_help = help::EXEC)]
    Exec(Exec),

    /// Sign in to Kubernetes clusters with the session
    ///
    /// `kubectl` asks `infra` for a token that the cluster alone takes, for ten minutes at most, and which ends with the session.
    #[command(after_long_help = help::KUBERNETES)]
    Kubernetes {
        #[command(subcommand)]
        command: KubernetesCommand,
    },

    /// The sessions of your account, on whatever machine, and their end
    ///
    /// Each login makes one. What is not yours, or not needed any more, is ended with `revoke`, and refused within a
    /// second. An administrator sees and ends those of others with `--user`.
    #[command(after_long_help = help::SESSIONS)]
    Sessions(Sessions),

    /// Make a known server the current one
    ///
    /// The current server is the one that commands talk to when none is named. A login makes its server the current one.
    #[command(after_long_help = help::USE)]
    Use {
        /// A server that was signed in to before
        #[arg(add = ArgValueCompleter::new(completion::servers))]
        server: Origin,
    },

    /// Accept a new identity of a known server
    ///
    /// The only way past a changed fingerprint. Ask the server's operator for it, by another way than the server.
    #[command(after_long_help = help::TRUST)]
    Trust(Trust),

    /// Look for what keeps a login from working, and say what to do about it
    ///
    /// Looks at the files of ~/.infra, the browser, the keyring, the ports for the browser's way back, the proxy, and at
    /// every known server: whether it is reached and proves itself, its clock, its identity providers. Changes nothing,
    /// and tells no secret. Exit code 0 means that nothing is wrong, 1 that something is, whatever it is.
    #[command(after_long_help = help::DOCTOR)]
    Doctor(Doctor),

    /// Print the script that lets a shell complete this program's arguments
    ///
    /// The script asks `infra` what can stand at the cursor, so that known servers and providers are completed, too; names of
    /// files are completed by the shell. Nushell's holds commands and options only.
    #[command(after_long_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a command-line flag")]
pub struct Login {
    /// The server; the current one when it is left out
    #[arg(add = ArgValueCompleter::new(completion::servers))]
    pub server: Option<Origin>,

    /// The identity provider, where the server accepts several
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::providers))]
    pub provider: Option<String>,

    #[command(flatten)]
    pub proof: Proof,

    /// Print the URL instead of opening a browser
    #[arg(long)]
    pub no_browser: bool,

    /// Keep a copy of the token in the operating system's keyring
    #[arg(long, overrides_with = "no_keyring")]
    pub keyring: bool,

    /// Keep no copy of the token in the operating system's keyring
    #[arg(long, overrides_with = "keyring")]
    pub no_keyring: bool,

    /// Sign in anew, even when there is a live session
    #[arg(long)]
    pub force: bool,

    /// How long to wait for the browser, at most 5m
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = login_timeout)]
    pub timeout: Duration,
}

#[derive(Debug, Args)]
pub struct Logout {
    /// The server; the current one when it is left out
    #[arg(conflicts_with = "all", add = ArgValueCompleter::new(completion::servers))]
    pub server: Option<Origin>,

    /// End the sessions at all servers
    #[arg(long)]
    pub all: bool,

    /// Forget the server and its fingerprint, too
    #[arg(long)]
    pub forget: bool,
}

#[derive(Debug, Args)]
pub struct Status {
    /// The server; the current one when it is left out
    #[arg(conflicts_with = "all", add = ArgValueCompleter::new(completion::servers))]
    pub server: Option<Origin>,

    /// Print one JSON object, whatever the state
    #[arg(long)]
    pub json: bool,

    /// Judge by what is stored here, without the network
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

    /// Those of the user with this e-mail or subject: for administrators
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// End sessions, on whatever machine they are
    #[command(after_long_help = help::SESSIONS_REVOKE)]
    Revoke(Revoke),
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["ids", "others", "all"])))]
pub struct Revoke {
    /// The ids, as `infra sessions` prints them
    #[arg(value_name = "ID", value_parser = session_id, add = ArgValueCompleter::new(completion::sessions))]
    pub ids: Vec<SessionID>,

    /// All but the one of this machine
    #[arg(long)]
    pub others: bool,

    /// All, this one included
    #[arg(long)]
    pub all: bool,

    /// With `--all`, those of the user with this e-mail or subject: for administrators
    #[arg(long, value_name = "USER", requires = "all")]
    pub user: Option<String>,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// The server; every known one when it is left out
    #[arg(add = ArgValueCompleter::new(completion::servers))]
    pub server: Option<Origin>,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Token {
    /// The server; the current one when it is left out
    #[arg(add = ArgValueCompleter::new(completion::servers))]
    pub server: Option<Origin>,

    /// A token that only the service with this audience, or of this name, takes
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::audiences))]
    pub audience: Option<String>,

    /// Exit with 3 when the session does not last that much longer
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub min_left: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Exec {
    /// The service's audience, or its name
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::audiences))]
    pub audience: String,

    /// The variable of the environment that holds the token
    #[arg(long, value_name = "VARIABLE", default_value = "INFRA_AUDIENCE_TOKEN", value_parser = variable)]
    pub variable: String,

    /// Have the token last that much longer at least, less than 10m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub min_left: Option<Duration>,

    /// The command, and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
    pub command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub struct Trust {
    /// A known server
    #[arg(add = ArgValueCompleter::new(completion::servers))]
    pub server: Origin,

    #[command(flatten)]
    pub proof: Proof,

    /// From now on, the certification authorities that this machine trusts vouch for it: for a server that has a public
    /// certificate now
    #[arg(long, conflicts_with_all = ["fingerprint", "ca_file"])]
    pub system: bool,
}

/// What proves a server to somebody who has not met it.
#[derive(Debug, Clone, Args)]
pub struct Proof {
    /// The fingerprint of its certification authority, as its operator printed it
    #[arg(long, value_name = "FINGERPRINT")]
    pub fingerprint: Option<Pin>,

    /// A PEM file with its certification authority
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,
}

/// An id has a form, so that a typing error is not taken for a session that ended.
fn session_id(text: &str) -> Result<SessionID, String> {
    SessionID::parse(text).ok_or_else(|| "an id has 10 letters and digits, such as `f3Kd9sQ1Zx`".to_owned())
}

/// A name that shells can ask for. One of ours would be taken for more than it is.
fn variable(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name = text.bytes().all(plain)
        && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    if !is_name {
        return Err("a variable has letters, digits and underscores, such as `TOKEN`".to_owned());
    }
    if text == "INFRA_TOKEN" {
        return Err("INFRA_TOKEN holds a session token, which this is not".to_owned());
    }
    Ok(text.to_owned())
}

fn login_timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    if timeout.is_zero() || timeout > MAX_LOGIN {
        return Err("a login waits for more than 0s and at most 5m".to_owned());
    }
    Ok(timeout)
}

/// A duration such as `90s`, `10m` or `1h30m`.
fn duration(text: &str) -> Result<Duration, String> {
    let malformed = || "a duration is written like `90s`, `10m` or `1h30m`".to_owned();
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| malformed())?;
    Duration::try_from(parsed).map_err(|_| malformed())
}

#[cfg(test)]
mod tests;
