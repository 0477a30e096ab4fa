//! Runs the command for each command line.

mod audience;
mod completions;
mod concurrent;
mod doctor;
mod exec;
mod expiry_notice;
mod kubernetes;
mod login;
mod logout;
mod sessions;
mod status;
mod suggestions;
mod times;
mod token;
mod trust_server;
mod use_server;

use infra_shared::api::ProblemCode;
use infra_shared::clock::{Clock, SystemClock};
use infra_shared::origin::Origin;
use infra_shared::token_text::{LogoutProof, SessionToken};
use jiff::Timestamp;

use crate::arguments::{Arguments, Command};
use crate::daemon_client::{DaemonClient, DaemonError};
use crate::failure::{Exit, Failure};
use crate::home::{Home, State};
use crate::keyring::Keyring;
use crate::settings::Settings;
use crate::terminal::Terminal;
use crate::trust::{self, Connection, TrustOffer};
use expiry_notice::with_notice;

/// What every command needs.
struct Context {
    settings: Settings,
    terminal: Terminal,
    home: Home,
    keyring: Keyring,
    clock: SystemClock,
    /// Value of `--server`.
    server_option: Option<Origin>,
}

/// Runs the command that `arguments` name.
pub fn run(arguments: Arguments, terminal: Terminal) -> Result<Exit, Failure> {
    let Arguments { command, global } = arguments;
    let context = || Context::new(terminal, global.server_option);
    match command {
        Command::Login(arguments) => with_notice(&context()?, |context| login::run(context, &arguments)),
        Command::Logout(arguments) => with_notice(&context()?, |context| logout::run(context, &arguments)),
        Command::Status(arguments) => status::run(&context()?, &arguments),
        Command::Token(arguments) => token::run(&context()?, &arguments),
        Command::Exec(arguments) => exec::run(&context()?, &arguments),
        Command::Kubernetes { command } => kubernetes::run(&context()?, &command),
        Command::Sessions(arguments) => {
            with_notice(&context()?, |context| sessions::run(context, &arguments))
        }
        Command::Use { server } => with_notice(&context()?, |context| use_server::run(context, &server)),
        Command::Trust(arguments) => {
            with_notice(&context()?, |context| trust_server::run(context, &arguments))
        }
        Command::Doctor(arguments) => doctor::run(&context()?, &arguments),
        // Must work without a home directory or configuration, for example in a package build.
        Command::Completions { shell } => completions::run(terminal, shell),
    }
}

impl Context {
    fn new(terminal: Terminal, server_option: Option<Origin>) -> Result<Self, Failure> {
        let settings = Settings::read()?;
        let home = Home::new(settings.home.clone(), terminal);
        Ok(Self { settings, terminal, home, keyring: Keyring::default(), clock: SystemClock, server_option })
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The server that the user named, if any. It is an error to name two different servers.
    fn named_server(&self, argument: Option<&Origin>) -> Result<Option<Origin>, Failure> {
        named_server([
            ("the argument", argument),
            ("--server", self.server_option.as_ref()),
            ("INFRA_SERVER", self.settings.server.as_ref()),
        ])
    }

    /// The server to use: the named one, else the current one, else the only known one.
    fn server(&self, argument: Option<&Origin>, state: &State) -> Result<Option<Origin>, Failure> {
        let named = self.named_server(argument)?;
        // A token must never be sent to another server, so the user must say which server issued it.
        if self.settings.token.is_some() && named.is_none() {
            return Err(Failure::new(Exit::Usage, "INFRA_TOKEN is set, and not for which server")
                .hint("set INFRA_SERVER as well, or unset INFRA_TOKEN"));
        }
        Ok(named.or_else(|| default_server(state)))
    }

    /// A client for `origin`, with its stored trust record, or with trust options of the environment if it has none.
    fn connect(&self, origin: &Origin, state: &State) -> Result<Connection, ClientError> {
        let trust_anchors = state.trust_anchors(origin);
        let offer = if trust_anchors.is_empty() {
            TrustOffer::from_environment(&self.settings).map_err(ClientError::InvalidTrustOffer)?
        } else {
            TrustOffer::default()
        };
        trust::connect(origin, trust_anchors, offer).map_err(ClientError::Daemon)
    }

    /// Stores the server's current announcement of a CA rollover, if there is one.
    fn record_announcement(&self, origin: &Origin, connection: &Connection) {
        if let Err(error) =
            trust::record_announcement(&self.home, origin, connection, self.now(), self.terminal)
        {
            self.terminal.warn(&format!("what {origin} announced is not remembered here: {error}"));
        }
    }

    /// Retries sign-outs that did not reach the daemon. Returns the error that stopped them; the next command retries.
    fn retry_logouts(
        &self,
        origin: &Origin,
        client: &DaemonClient,
        state: &State,
    ) -> Result<Option<DaemonError>, Failure> {
        let pending = state.sessions.pending_logouts.iter().filter(|pending| pending.server == *origin);
        let (mut completed, mut stopped_by) = (Vec::new(), None);
        for logout in pending {
            let Some(proof) = LogoutProof::parse(&logout.proof) else { continue };
            match client.log_out_by_proof(&logout.id, &proof) {
                Ok(()) => completed.push(logout.id.clone()),
                Err(error) => {
                    self.terminal
                        .verbose(&format!("an earlier logout could not be told to {origin}: {error}"));
                    stopped_by = Some(error);
                    break;
                }
            }
        }
        if !completed.is_empty() {
            let now = self.now();
            self.home.update(|state| {
                state.sessions.pending_logouts.retain(|pending| !completed.contains(&pending.id));
                state.forget_expired_logouts(now);
            })?;
            self.terminal.verbose(&format!("told {origin} of an earlier logout"));
        }
        Ok(stopped_by)
    }
}

/// Why no client could be created.
enum ClientError {
    /// The trust options in the environment are invalid.
    InvalidTrustOffer(Failure),
    Daemon(DaemonError),
}

impl ClientError {
    fn to_failure(&self, origin: &Origin) -> Failure {
        match self {
            Self::InvalidTrustOffer(failure) => failure.clone(),
            Self::Daemon(error) => error.to_failure(origin),
        }
    }
}

/// Result of revoking a session at the daemon.
enum Revocation {
    /// The daemon revoked the session, or it had ended before.
    Done,
    /// The daemon does not know the token, so nothing was revoked.
    Unknown,
    /// The request to the daemon failed.
    Failed(DaemonError),
}

/// Revokes the session of `token` at the daemon.
fn revoke_session(client: &DaemonClient, token: &SessionToken) -> Revocation {
    match client.log_out(token) {
        Ok(()) => Revocation::Done,
        Err(error) if error.problem() == Some(ProblemCode::NotAuthenticated) => Revocation::Unknown,
        Err(error) if error.exit() == Exit::LoginNeeded => Revocation::Done,
        Err(error) => Revocation::Failed(error),
    }
}

/// Reports that no session was revoked: a leaked token may still be valid.
fn unknown_token_failure(origin: &Origin) -> Failure {
    Failure::new(Exit::Failed, "the daemon does not know this token: no session was ended")
        .because_text(format!("INFRA_TOKEN was never issued at {origin}, was changed, or ended long ago"))
}

/// The warning that an entry in the keyring was changed by another program and is kept.
fn changed_entry_warning(origin: &Origin) -> String {
    format!(
        "the entry of {origin} in the keyring was changed by somebody else since, and stays; if nothing needs it, \
         remove it in the desktop's password manager (service `infra`)"
    )
}

fn default_server(state: &State) -> Option<Origin> {
    let known = &state.config.servers;
    let current = state.config.current.clone().filter(|current| known.contains_key(current));
    let only = if known.len() == 1 { known.keys().next().cloned() } else { None };
    current.or(only)
}

fn named_server(named: [(&str, Option<&Origin>); 3]) -> Result<Option<Origin>, Failure> {
    let mut chosen: Option<(&str, &Origin)> = None;
    for (source, origin) in named {
        let Some(origin) = origin else { continue };
        match chosen {
            None => chosen = Some((source, origin)),
            Some((_, first)) if first == origin => {}
            Some((first_source, first)) => {
                return Err(Failure::new(
                    Exit::Usage,
                    format!("{first_source} says {first}, and {source} says {origin}"),
                )
                .hint("name one server only"));
            }
        }
    }
    Ok(chosen.map(|(_, origin)| origin.clone()))
}

#[cfg(test)]
mod tests {
    use infra_shared::pin::Pin;

    use super::*;
    use crate::home::{Server, TrustRecord};

    fn origin(text: &str) -> Origin {
        text.parse().expect("an origin")
    }

    fn state(servers: &[&str], current: Option<&str>) -> State {
        let mut state = State::default();
        for server in servers {
            let trust = TrustRecord::Pinned { pin: Pin::of_public_key(b"a") };
            state.config.servers.insert(
                origin(server),
                Server { trust, provider: None, keyring: false, succession: None, formerly: Vec::new() },
            );
        }
        state.config.current = current.map(origin);
        state
    }

    #[test]
    fn differing_server_names_are_rejected() {
        let (a, also_a, b) = (origin("a.test"), origin("https://a.test:443"), origin("b.test"));
        let named =
            named_server([("the argument", Some(&a)), ("--server", None), ("INFRA_SERVER", Some(&also_a))]);
        assert_eq!(named.expect("one server"), Some(a.clone()));
        let named =
            named_server([("the argument", Some(&a)), ("--server", Some(&b)), ("INFRA_SERVER", None)]);
        assert_eq!(named.expect_err("two servers").exit(), Exit::Usage);
    }

    #[test]
    fn default_server_is_the_current_or_only_one() {
        assert_eq!(default_server(&state(&[], None)), None);
        assert_eq!(default_server(&state(&["a.test"], None)), Some(origin("a.test")));
        assert_eq!(default_server(&state(&["a.test", "b.test"], None)), None);
        assert_eq!(default_server(&state(&["a.test", "b.test"], Some("b.test"))), Some(origin("b.test")));
        assert_eq!(default_server(&state(&["a.test"], Some("gone.test"))), Some(origin("a.test")));
    }
}
