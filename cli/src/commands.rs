//! Runs the command for each command line.

mod audience;
mod completions;
mod concurrent;
mod delegate;
mod doctor;
mod exec;
mod expiry_notice;
mod helper;
mod kubernetes;
mod login;
mod logout;
mod session_token;
mod sessions;
mod status;
mod suggestions;
mod times;
mod token;
mod trust_server;
mod use_server;
mod workload;

use infra_shared::api::ProblemCode;
use infra_shared::clock::{Clock, SystemClock};
use infra_shared::origin::Origin;
use infra_shared::printable::{counted, printable};
use infra_shared::token_text::{LogoutProof, SessionToken};
use jiff::Timestamp;

use crate::arguments::{Arguments, Command};
use crate::daemon_client::{DaemonClient, DaemonError};
use crate::failure::{Exit, Failure};
use crate::home::{Home, State, TrustRecord};
use crate::keyring::Keyring;
use crate::platform::STALE_EXPORTS;
use crate::settings::Settings;
use crate::terminal::Terminal;
use crate::trust::{self, Connection, TrustOptions, check_trust_options};
use expiry_notice::with_notice;

/// Maximum length of a displayed path.
const MAX_PATH: usize = 200;

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
        Command::Delegate(arguments) => delegate::run(&context()?, &arguments),
        Command::Kubernetes { command } => kubernetes::run(&context()?, &command),
        Command::Helper { command } => helper::run(&context()?, &command),
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
        // The session of the user is not for the command.
        if settings.is_delegated && settings.token.is_none() {
            return Err(Failure::new(
                Exit::LoginNeeded,
                "this program runs within `infra delegate`, but without the delegated session",
            )
            .because_text("INFRA_TOKEN is removed, as by `infra exec`".to_owned())
            .hint("run `infra` outside of `infra exec`, or outside of the command that was delegated"));
        }
        let home = Home::new(settings.home.clone(), terminal);
        Ok(Self { settings, terminal, home, keyring: Keyring::default(), clock: SystemClock, server_option })
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Rejects what would change the user's own sign-ins, servers and trust within `infra delegate`.
    fn expect_undelegated(&self, what: &str) -> Result<(), Failure> {
        if self.settings.is_delegated {
            return Err(Failure::new(Exit::Usage, format!("cannot {what} within `infra delegate`"))
                .hint("do this outside of the command that was delegated"));
        }
        Ok(())
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
            return Err(Failure::new(Exit::Usage, "INFRA_TOKEN is set but INFRA_SERVER is not")
                .hint("set INFRA_SERVER to the server that issued the token, or unset INFRA_TOKEN"));
        }
        if let (Some(token), Some(named)) = (&self.settings.token, &named) {
            self.check_token_server(token, named, state)?;
        }
        Ok(named.or_else(|| default_server(state)))
    }

    /// Rejects an `INFRA_TOKEN` that is stored here for another server than the `named` one, which could use it. One
    /// daemon may have several names, which its identity shows.
    fn check_token_server(&self, token: &SessionToken, named: &Origin, state: &State) -> Result<(), Failure> {
        let mut sessions = state.sessions.sessions.iter();
        let owner = sessions.find(|(_, stored)| stored.token.expose() == token.expose());
        let Some((owner, stored)) = owner.filter(|(owner, _)| *owner != named) else { return Ok(()) };
        let is_given = || {
            let given = TrustOptions::from_environment(named, &self.settings);
            given.is_ok_and(|given| given.is(&stored.trust))
        };
        if is_of_one_daemon(&stored.trust) && (state.trust(named) == Some(&stored.trust) || is_given()) {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Usage,
            format!("INFRA_TOKEN is the session token of {owner}, but {named} is the server of this command"),
        )
        .because_text(format!("{named} could use the token at {owner}, as you"))
        .hint("name the server that issued the token, or unset INFRA_TOKEN"))
    }

    /// The parent directory of `INFRA_HOME` if it does not exist, as after the end of an `infrad dev`.
    fn missing_home_parent(&self) -> Option<String> {
        let parent = self.home.path().parent().filter(|_| self.settings.is_home_set)?;
        matches!(parent.try_exists(), Ok(false)).then(|| printable(&parent.display().to_string(), MAX_PATH))
    }

    /// Adds to `failure` that `INFRA_HOME` cannot have a session.
    fn note_missing_home(&self, failure: Failure) -> Failure {
        match self.missing_home_parent() {
            Some(parent) => failure.note(missing_home_note(&parent)),
            None => failure,
        }
    }

    /// A client for `origin`. The server must prove its stored trust record, which the trust options of the environment
    /// must not contradict. A server without a record must prove those options.
    fn connect(&self, origin: &Origin, state: &State) -> Result<Connection, ClientError> {
        let options = TrustOptions::from_environment(origin, &self.settings)
            .and_then(|options| {
                check_trust_options(origin, state.trust(origin), state.previous_trust(origin), &options)?;
                Ok(options)
            })
            .map_err(ClientError::InvalidTrustOptions)?;
        trust::connect(origin, state.trust_anchors(origin), options).map_err(ClientError::Daemon)
    }

    /// Like [`Self::connect`], and delivers earlier sign-outs. For every command, except those that report a delivery
    /// themselves or change nothing.
    fn connect_and_deliver(&self, origin: &Origin, state: &State) -> Result<Connection, ClientError> {
        let connection = self.connect(origin, state)?;
        let stored = self.retry_logouts(origin, &connection.client, state).map(drop);
        status::warn_if_not_stored(self, stored);
        Ok(connection)
    }

    /// Delivers earlier sign-outs for a command that has no session to use. A failure is retried by the next command.
    fn deliver_logouts(&self, origin: &Origin, state: &State) {
        if state.has_pending_logout(origin) {
            // The command fails for another reason.
            let _ = self.connect_and_deliver(origin, state);
        }
    }

    /// Stores the server's current announcement of a CA rollover, if there is one.
    fn store_ca_rollover(&self, origin: &Origin, connection: &Connection) {
        if let Err(error) =
            trust::store_ca_rollover(&self.home, origin, connection, self.now(), self.terminal)
        {
            self.terminal.warn(&format!("cannot store the CA rollover that {origin} announced: {error}"));
        }
    }

    /// Retries sign-outs that did not reach the daemon. Returns how many it received now, and the first error. Those
    /// that failed are retried by the next command.
    fn retry_logouts(
        &self,
        origin: &Origin,
        client: &DaemonClient,
        state: &State,
    ) -> Result<(usize, Option<DaemonError>), Failure> {
        let pending = state.sessions.pending_logouts.iter().filter(|pending| pending.server == *origin);
        let (mut delivered, mut finished, mut failed) = (0, Vec::new(), None);
        for logout in pending {
            let Some(proof) = LogoutProof::parse(&logout.proof) else {
                let expires = times::at(logout.expires_at, self.now());
                self.terminal.warn(&format!(
                    "cannot deliver an earlier sign-out to {origin}: its stored proof is damaged; the session expires \
                     {expires}"
                ));
                finished.push(logout.id.clone());
                continue;
            };
            match client.log_out_by_proof(&logout.id, &proof) {
                Ok(()) => {
                    delivered += 1;
                    finished.push(logout.id.clone());
                }
                Err(error) => {
                    self.terminal
                        .verbose(&format!("cannot deliver an earlier sign-out to {origin}: {error}"));
                    // Without a response, the next request would only wait for its own timeout.
                    let has_response = error.problem().is_some();
                    failed.get_or_insert(error);
                    if !has_response {
                        break;
                    }
                }
            }
        }
        if !finished.is_empty() {
            let now = self.now();
            self.home.update(|state| {
                state.sessions.pending_logouts.retain(|pending| !finished.contains(&pending.id));
                state.forget_expired_logouts(now);
            })?;
        }
        if delivered > 0 {
            let logouts = counted(delivered, "earlier sign-out");
            self.terminal.verbose(&format!("delivered {logouts} to {origin}"));
        }
        Ok((delivered, failed))
    }
}

/// Why no client could be created, or a request failed.
#[derive(Debug)]
enum ClientError {
    /// The trust options in the environment are invalid, or contradict the stored record.
    InvalidTrustOptions(Failure),
    Daemon(DaemonError),
}

impl ClientError {
    fn to_failure(&self, origin: &Origin) -> Failure {
        match self {
            Self::InvalidTrustOptions(failure) => failure.clone(),
            Self::Daemon(error) => error.to_failure(origin),
        }
    }
}

/// Revokes the session of a stored token at the daemon. If the daemon knows no live session, there is nothing to
/// revoke.
fn revoke_own_session(client: &DaemonClient, token: &SessionToken) -> Result<(), DaemonError> {
    match client.log_out(token) {
        Err(error) if error.problem() == Some(ProblemCode::NotAuthenticated) => Ok(()),
        result => result,
    }
}

/// The warning that an entry in the keyring was changed by another program and is kept.
fn changed_entry_warning(origin: &Origin) -> String {
    format!(
        "the keyring entry of {origin} is kept, because another program has changed it; if nothing needs it, remove it in \
         your desktop's password manager (service `infra`)"
    )
}

/// Whether only one daemon can prove `trust`. Public authorities and those of an organisation certify many servers.
fn is_of_one_daemon(trust: &TrustRecord) -> bool {
    matches!(trust, TrustRecord::Pinned { .. } | TrustRecord::CaFile { pin: Some(_), .. })
}

fn missing_home_note(parent: &str) -> String {
    format!("INFRA_HOME is in {parent}, which does not exist; {STALE_EXPORTS}")
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
                    format!("{first_source} names {first}, but {source} names {origin}"),
                )
                .hint(if source == "INFRA_SERVER" {
                    format!("name only one server: unset INFRA_SERVER to use {first}")
                } else {
                    "name only one server".to_owned()
                }));
            }
        }
    }
    Ok(chosen.map(|(_, origin)| origin.clone()))
}

#[cfg(test)]
mod tests {
    use infra_shared::pin::Pin;

    use super::*;
    use crate::home::Server;

    fn origin(text: &str) -> Origin {
        text.parse().expect("an origin")
    }

    fn state(servers: &[&str], current: Option<&str>) -> State {
        let mut state = State::default();
        for server in servers {
            let trust = TrustRecord::Pinned { pin: Pin::of_public_key(b"a") };
            state.config.servers.insert(
                origin(server),
                Server {
                    trust,
                    provider: None,
                    keyring: false,
                    ca_rollover: None,
                    previous_trust: Vec::new(),
                },
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
        let named =
            named_server([("the argument", Some(&a)), ("--server", None), ("INFRA_SERVER", Some(&b))]);
        let hint = format!("{:?}", named.expect_err("two servers"));
        assert!(hint.contains("unset INFRA_SERVER"), "{hint}");
    }

    #[test]
    fn only_a_pin_identifies_one_daemon() {
        let pin = Pin::of_public_key(b"a");
        let file = |pin| TrustRecord::CaFile { certificates: String::new(), pin };
        for (trust, is_one) in [
            (TrustRecord::Pinned { pin }, true),
            (file(Some(pin)), true),
            (file(None), false),
            (TrustRecord::System, false),
        ] {
            assert_eq!(is_of_one_daemon(&trust), is_one, "{trust:?}");
        }
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
