//! What can be typed after `infra`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;

/// A person takes no longer to sign in, and the daemon's ticket lasts no longer.
const MAX_LOGIN: Duration = Duration::from_mins(5);

/// Sign in to infrastructure from the terminal
#[derive(Debug, Parser)]
#[command(name = "infra", version, propagate_version = true, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,

    #[command(flatten)]
    pub global: Global,
}

const EXIT_CODES: &str = "\
Exit codes:
    0  done; for `status`: signed in        5  the server's identity is not trusted
    1  failed                               6  the login was refused, or not completed in time
    2  wrong usage                          7  logged out here, but the daemon could not be told
    3  a login is needed                  130  interrupted
    4  the daemon or the identity provider cannot be reached

Environment:
    INFRA_SERVER        the server, as with --server
    INFRA_FINGERPRINT   its fingerprint, as with --fingerprint
    INFRA_CA_FILE       its certification authority, as with --ca-file
    INFRA_TOKEN         a session token that stands in for the stored one; needs INFRA_SERVER
    INFRA_HOME          where servers and sessions are kept, instead of ~/.infra";

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The server to talk to: `host`, `host:port` or `https://host[:port]`
    #[arg(long = "server", global = true, value_name = "SERVER")]
    pub server_option: Option<Origin>,

    /// Say more about what is done (twice: even more)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Say nothing but warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Colour::Auto)]
    pub color: Colour,
}

/// When to use colour; `auto` minds `NO_COLOR`, `CLICOLOR_FORCE` and whether a terminal reads it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sign in through the browser
    ///
    /// The first time, the server has to be proven: type the whole line that its operator gave you. A session that is
    /// still good is told, and nothing is opened.
    #[command(after_long_help = "Examples:\n  infra login infra.example.com\n  \
        infra login 10.0.0.5:8443 --fingerprint sha256:9f86…\n  infra login --no-browser      # on a machine without one")]
    Login(Login),

    /// End the session at the daemon, and forget it here
    Logout(Logout),

    /// Who is signed in where, and until when
    ///
    /// Exit code 0 means signed in, 3 that a login is needed, 4 that nobody could be asked, 5 that the server's
    /// identity is not trusted.
    Status(Status),

    /// Print the session token for a script, or exit with 3 when there is no live one
    #[command(after_long_help = "Example:\n  \
        printf 'Authorization: Bearer %s\\n' \"$(infra token)\" | curl -H @- https://service.example.com")]
    Token(Token),

    /// Make a known server the current one
    Use {
        /// A server that was signed in to before
        server: Origin,
    },

    /// Accept a new identity of a known server
    ///
    /// The only way past a changed fingerprint. Ask the server's operator for it, by another way than the server.
    Trust(Trust),

    /// Look for what keeps a login from working, and say what to do about it
    ///
    /// Looks at the files of ~/.infra, the browser, the keyring, the ports for the browser's way back, the proxy, and at
    /// every known server: whether it is reached and proves itself, its clock, its identity providers. Changes nothing,
    /// and tells no secret. Exit code 0 means that nothing is wrong, 1 that something is, whatever it is.
    #[command(after_long_help = "Examples:\n  infra doctor\n  infra doctor infra.example.com\n  \
        infra doctor --json | jq '.checks[] | select(.status == \"wrong\")'")]
    Doctor(Doctor),

    /// Print the script that lets a shell complete this program's arguments
    #[command(after_long_help = "Examples:\n  infra completions bash > /etc/bash_completion.d/infra\n  \
        infra completions zsh > \"${fpath[1]}/_infra\"\n  \
        infra completions fish > ~/.config/fish/completions/infra.fish")]
    Completions {
        #[arg(value_enum)]
        shell: Shell,
    },
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that is typed or not")]
pub struct Login {
    /// The server; the current one when it is left out
    pub server: Option<Origin>,

    /// The identity provider, where the server accepts several
    #[arg(long, value_name = "NAME")]
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
    #[arg(conflicts_with = "all")]
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
    #[arg(conflicts_with = "all")]
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
pub struct Doctor {
    /// The server; every known one when it is left out
    pub server: Option<Origin>,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Token {
    /// The server; the current one when it is left out
    pub server: Option<Origin>,

    /// Exit with 3 when the session does not last that much longer
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub min_left: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct Trust {
    /// A known server
    pub server: Origin,

    #[command(flatten)]
    pub proof: Proof,
}

/// What proves a server to somebody who has not met it.
#[derive(Debug, Clone, Args)]
pub struct Proof {
    /// The fingerprint of its certification authority, as its operator printed it
    #[arg(long, value_name = "sha256:HEX")]
    pub fingerprint: Option<Pin>,

    /// A PEM file with its certification authority
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// The shells that have completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Elvish,
    Fish,
    Nushell,
    #[value(name = "powershell")]
    PowerShell,
    Zsh,
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
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definitions_agree_with_each_other() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_server_is_taken_as_people_write_it() {
        for text in ["infra.test", "infra.test:443", "https://infra.test"] {
            let arguments = parse(&format!("infra login {text}")).expect("good arguments");
            let Command::Login(login) = arguments.command else { panic!("it is a login") };
            assert_eq!(login.server.expect("a server").to_string(), "https://infra.test");
        }
    }

    #[test]
    fn a_timeout_has_a_unit_and_an_end() {
        for (text, seconds) in [("90s", 90), ("5m", 300), ("1m30s", 90)] {
            let arguments = parse(&format!("infra login --timeout {text}")).expect("good arguments");
            let Command::Login(login) = arguments.command else { panic!("it is a login") };
            assert_eq!(login.timeout, Duration::from_secs(seconds));
        }
        for text in ["0s", "6m", "-1s", "fast", "30"] {
            assert_eq!(
                parse(&format!("infra login --timeout {text}")).expect_err(text).exit_code(),
                2,
                "{text}"
            );
        }
    }

    #[test]
    fn the_later_of_two_opposites_counts() {
        let arguments = parse("infra login --keyring --no-keyring").expect("good arguments");
        let Command::Login(login) = arguments.command else { panic!("it is a login") };
        assert!(login.no_keyring && !login.keyring);
    }

    #[test]
    fn what_is_not_understood_exits_with_2() {
        for line in [
            "infra",
            "infra search",
            "infra login http://infra.test",
            "infra login --fingerprint md5:00",
            "infra login --token x",
            "infra logout a.test --all",
            "infra use",
            "infra completions csh",
            "infra status -q -v",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }
}
