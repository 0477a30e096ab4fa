//! Determines the state of the session at one server.

use infra_shared::api::{NewerSessions, ProblemCode, Session, User};
use infra_shared::origin::Origin;
use infra_shared::token_text::SessionToken;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::super::{ClientError, Context, suggestions, times};
use crate::daemon_client::DaemonError;
use crate::failure::{Exit, Failure};
use crate::home::{self, ClockOffset, SessionEnd, Storage, TrustRecord};
use crate::terminal::Terminal;
use crate::trust::Connection;

/// Whether to query the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckMode {
    Online,
    Offline,
}

/// State of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Active,
    LoggedOut,
    Expired,
    Revoked,
    /// The daemon could not be reached, so the state is unknown.
    Unreachable,
    /// The server did not prove its identity, so no request was sent.
    Untrusted,
}

/// The state of the session at one server.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) state: State,
    pub(crate) server: Option<Origin>,
    pub(super) trust: Option<&'static str>,
    /// Whether something was stored about the server before.
    is_known: bool,
    pub(crate) user: Option<User>,
    pub(crate) session: Option<Session>,
    pub(super) storage: Option<Storage>,
    pub(crate) checked: CheckMode,
    pub(super) clock_offset_seconds: Option<i64>,
    /// The daemon's time at the check.
    pub(crate) now: Timestamp,
    pub(crate) token: Option<SessionToken>,
    /// Set if the daemon reported before that the session ended.
    ended: Option<SessionEnd>,
    /// Why the daemon could not be queried, or its error.
    pub(in crate::commands) cause: Option<ClientError>,
    /// Sessions of the user that were opened elsewhere since.
    pub(super) newer: Option<NewerSessions>,
    /// Until when sessions may be valid whose sign-out has not reached the daemon, by the local clock.
    pub(super) undelivered: Option<Timestamp>,
    /// The command to sign in there.
    pub(super) login: String,
}

/// Determines the state of the session at `origin`, or of `token` from the environment. Stores what the daemon
/// returns.
pub(crate) fn check_session(
    context: &Context,
    origin: &Origin,
    state: &home::State,
    token: Option<&SessionToken>,
    mode: CheckMode,
) -> Report {
    let report = determine(context, origin, state, token, mode);
    Report { undelivered: undelivered(context, origin, state), ..report }
}

fn determine(
    context: &Context,
    origin: &Origin,
    state: &home::State,
    token: Option<&SessionToken>,
    mode: CheckMode,
) -> Report {
    let report = Report::stored(context, origin, state, token, mode);
    if mode == CheckMode::Offline {
        return report.offline(token.is_some());
    }
    if report.token.is_none() && !state.has_pending_logout(origin) {
        return report;
    }
    let connection = match context.connect_and_deliver(origin, state) {
        Ok(connection) => connection,
        Err(_) if report.token.is_none() => return report,
        Err(ClientError::Daemon(error)) => return report.failed(error),
        Err(error @ ClientError::InvalidTrustOptions(_)) => {
            return Report { state: State::Untrusted, cause: Some(error), ..report };
        }
    };
    let report = match report.token.clone() {
        Some(token) => query_session(context, origin, &connection, &token, report),
        None => report,
    };
    context.store_ca_rollover(origin, &connection);
    report
}

/// Until when a session may be valid whose sign-out is still pending, after `state` was read and deliveries were tried.
fn undelivered(context: &Context, origin: &Origin, state: &home::State) -> Option<Timestamp> {
    if !state.has_pending_logout(origin) {
        return None;
    }
    let (state, now) = (context.home.read().ok()?, context.now());
    let pending = state.sessions.pending_logouts.iter().filter(|pending| pending.server == *origin);
    let left =
        pending.map(|pending| pending.expires_at.duration_since(pending.clock_offset.daemon_time(now)));
    let left = left.filter(|left| *left > SignedDuration::ZERO).max()?;
    now.checked_add(left).ok()
}

/// Queries the daemon about the session of `token`.
fn query_session(
    context: &Context,
    origin: &Origin,
    connection: &Connection,
    token: &SessionToken,
    report: Report,
) -> Report {
    let before = context.now();
    let answer = connection.client.session(token);
    let report = Report { trust: Some(connection.record().name()), ..report };
    match answer {
        Ok(current) => {
            let offset = ClockOffset::measure(current.now, before);
            let stored = store(context, origin, token, |stored| {
                if !stored.clock_offset.is_about(offset) {
                    stored.clock_offset = offset;
                }
                stored.session = current.session.clone();
                stored.ended = None;
            });
            warn_if_not_stored(context, stored);
            Report {
                state: State::Active,
                user: Some(current.user),
                session: Some(current.session),
                newer: current.newer,
                clock_offset_seconds: Some(offset.seconds()),
                now: current.now,
                ..report
            }
        }
        Err(error) => {
            let report = report.failed(error);
            if let Some(end) = report.state.end() {
                warn_if_not_stored(context, store(context, origin, token, |stored| stored.ended = Some(end)));
            }
            report
        }
    }
}

/// Warns if the result cannot be stored, for example on a full disk or in a read-only home. The result is still valid.
pub(in crate::commands) fn warn_if_not_stored(context: &Context, stored: Result<(), Failure>) {
    if let Err(failure) = stored {
        context.terminal.warn(&format!("cannot store the state of the session: {failure}"));
    }
}

/// Stores what the daemon returned about the session of `token`, if it changed.
pub(super) fn store(
    context: &Context,
    origin: &Origin,
    token: &SessionToken,
    change: impl Fn(&mut home::Session),
) -> Result<(), Failure> {
    let change_own = |stored: Option<&mut home::Session>| {
        if let Some(stored) = stored.filter(|stored| stored.token.expose() == token.expose()) {
            change(stored);
        }
    };
    let daemon_values = |session: &home::Session| {
        (session.session.clone(), session.clock_offset, session.ended, session.last_notified.clone())
    };
    let mut state = context.home.read()?;
    let Some(before) = state.sessions.sessions.get(origin).map(daemon_values) else { return Ok(()) };
    change_own(state.sessions.sessions.get_mut(origin));
    if state.sessions.sessions.get(origin).map(daemon_values) != Some(before) {
        context.home.update(|state| change_own(state.sessions.sessions.get_mut(origin)))?;
    }
    Ok(())
}

impl State {
    /// How an ended session ended.
    fn end(self) -> Option<SessionEnd> {
        match self {
            Self::Expired => Some(SessionEnd::Expired),
            Self::Revoked => Some(SessionEnd::Revoked),
            _ => None,
        }
    }
}

impl Report {
    /// The report if no server is known.
    pub(super) fn without_server() -> Self {
        Self {
            state: State::LoggedOut,
            server: None,
            trust: None,
            is_known: false,
            user: None,
            session: None,
            storage: None,
            checked: CheckMode::Offline,
            clock_offset_seconds: None,
            now: Timestamp::UNIX_EPOCH,
            token: None,
            ended: None,
            cause: None,
            newer: None,
            undelivered: None,
            login: "`infra login SERVER`".to_owned(),
        }
    }

    /// The stored state. `INFRA_TOKEN` replaces the stored session, and only the token itself is known of it.
    fn stored(
        context: &Context,
        origin: &Origin,
        state: &home::State,
        token: Option<&SessionToken>,
        mode: CheckMode,
    ) -> Self {
        let known = state.trust(origin).map(TrustRecord::name);
        let empty = Self {
            server: Some(origin.clone()),
            trust: known,
            is_known: known.is_some(),
            checked: mode,
            now: context.now(),
            newer: None,
            login: suggestions::login_command(context, state, origin),
            ..Self::without_server()
        };
        if let Some(token) = token {
            return Self { token: Some(token.clone()), storage: Some(Storage::Environment), ..empty };
        }
        let Some(stored) = state.sessions.sessions.get(origin) else {
            // There is no session to check.
            return Self { checked: CheckMode::Offline, ..empty };
        };
        Self {
            token: Some(stored.token.clone()),
            ended: stored.ended,
            user: Some(stored.user.clone()),
            session: Some(stored.session.clone()),
            storage: Some(stored.storage),
            clock_offset_seconds: Some(stored.clock_offset.seconds()),
            now: stored.clock_offset.daemon_time(context.now()),
            ..empty
        }
    }

    /// Uses only `expiresAt`. After the stored inactivity limit, a service may still have used the token.
    fn offline(self, from_environment: bool) -> Self {
        let state = match &self.session {
            _ if from_environment => State::Unreachable,
            _ if self.ended == Some(SessionEnd::Revoked) => State::Revoked,
            _ if self.ended == Some(SessionEnd::Expired) => State::Expired,
            Some(session) if self.now >= session.expires_at => State::Expired,
            Some(session) if self.now >= session.idle_expires_at => State::Unreachable,
            Some(_) => State::Active,
            None => State::LoggedOut,
        };
        Self { state, ..self }
    }

    fn failed(self, error: DaemonError) -> Self {
        let state = match (&error, error.problem()) {
            (DaemonError::Untrusted(_) | DaemonError::NoClient(_), _) => State::Untrusted,
            (_, Some(ProblemCode::SessionExpired)) => State::Expired,
            (_, Some(ProblemCode::SessionRevoked)) => State::Revoked,
            // The daemon does not know the session: it was deleted after expiry, or revoked before.
            (_, Some(ProblemCode::NotAuthenticated)) => match &self.session {
                Some(session) if self.now < session.expires_at => State::Revoked,
                Some(_) => State::Expired,
                // Nothing else is known about `INFRA_TOKEN`: the daemon may never have issued it.
                None => State::LoggedOut,
            },
            // Its lifetime has passed, independent of the daemon's response.
            _ if self.session.as_ref().is_some_and(|session| self.now >= session.expires_at) => {
                State::Expired
            }
            _ => State::Unreachable,
        };
        let login = match (&self.server, &self.token) {
            (Some(server), Some(token)) if state == State::LoggedOut => {
                suggestions::unknown_token(server, token)
            }
            _ => self.login.clone(),
        };
        Self { state, cause: Some(ClientError::Daemon(error)), login, ..self }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self.state {
            State::Active => Exit::Done,
            State::LoggedOut | State::Expired | State::Revoked => Exit::LoginNeeded,
            State::Unreachable => Exit::Unreachable,
            State::Untrusted => Exit::Untrusted,
        }
    }

    /// How long the session stays valid without use, or `None` if it is not known to be live.
    pub(crate) fn live_for(&self) -> Option<SignedDuration> {
        self.session.as_ref().filter(|_| self.state == State::Active).map(|session| self.left(session))
    }

    /// The failure if the session is not live.
    pub(crate) fn failure(&self) -> Failure {
        let server = self.server.as_ref().map(ToString::to_string).unwrap_or_default();
        let failure = match self.state {
            // The remedy is the same for every command.
            State::Untrusted if let (Some(server), Some(cause)) = (&self.server, &self.cause) => {
                return match cause {
                    ClientError::Daemon(error) => suggestions::call_failure(error, server, self.is_known),
                    ClientError::InvalidTrustOptions(failure) => failure.clone(),
                };
            }
            State::Active => Failure::new(Exit::Failed, format!("you are signed in to {server}")),
            State::LoggedOut if self.cause.is_some() => {
                Failure::new(self.exit(), format!("the token of INFRA_TOKEN is not valid at {server}"))
            }
            State::LoggedOut if server.is_empty() => {
                Failure::new(self.exit(), "you are not signed in, and no server is known here")
            }
            State::LoggedOut => Failure::new(self.exit(), format!("you are not signed in to {server}")),
            State::Expired => {
                Failure::new(self.exit(), format!("{} at {server} has expired", self.session_by_name()))
            }
            State::Revoked => {
                Failure::new(self.exit(), format!("{} at {server} was revoked", self.session_by_name()))
            }
            State::Unreachable => Failure::new(self.exit(), format!("cannot check the session at {server}")),
            State::Untrusted => Failure::new(self.exit(), format!("{server} did not prove its identity")),
        };
        match (&self.cause, &self.server) {
            _ if self.exit() == Exit::LoginNeeded => failure.hint(&self.login),
            (Some(ClientError::Daemon(cause)), Some(server)) => {
                failure.because(cause).hint(cause.unreachable_hint(server))
            }
            _ => failure,
        }
    }

    pub(super) fn session_by_name(&self) -> &'static str {
        if self.storage == Some(Storage::Environment) { "the session of INFRA_TOKEN" } else { "the session" }
    }

    /// Warns about a wrong local clock.
    pub(crate) fn warn_of_skew(&self, terminal: Terminal) {
        if let Some(offset) = self.clock_offset_seconds {
            times::warn_of_skew(offset, terminal);
        }
    }

    /// Time until the earlier of both limits, by the daemon's clock.
    pub(super) fn left(&self, session: &Session) -> SignedDuration {
        session.ends_at().duration_since(self.now).max(SignedDuration::ZERO)
    }

    /// Time since the session ended, if it was not used.
    pub(super) fn unused_for(&self, session: &Session) -> SignedDuration {
        self.now.duration_since(session.idle_expires_at)
    }

    /// Time since an expired session's lifetime ended, or `None` if it ended earlier at an unknown time.
    pub(super) fn expired_for(&self) -> Option<SignedDuration> {
        let session = self.session.as_ref().filter(|_| self.state == State::Expired)?;
        let over = self.now.duration_since(session.expires_at);
        (over >= SignedDuration::ZERO).then_some(over)
    }
}
