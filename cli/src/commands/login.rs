//! `infra login`: chooses the server, signs in and stores the session.

mod lock;
mod outcome;
mod rate_limit;

use std::collections::BTreeMap;
use std::time::Instant;

use infra_shared::api::{self, FinishLogin, FinishedLogin, StartLogin};
use infra_shared::command_line::nearest;
use infra_shared::origin::Origin;
use infra_shared::token_text::{SessionID, SessionToken};
use secrecy::ExposeSecret;

use super::status::{CheckMode, Report, State as SessionState, account, check_session, warn_of_newer};
use super::{Context, changed_entry_warning, revoke_session, suggestions, times};
use crate::arguments::Login;
use crate::browser_login::{self, Browser, Setup};
use crate::daemon_client::DaemonClient;
use crate::failure::{Exit, Failure};
use crate::home::{ClockOffset, LoginLock, PendingLogout, Server, Session, State, Storage};
use crate::keyring::{KeyringError, StoredEntry};
use crate::settings::{self, Environment};
use crate::trust::{TrustOffer, VerifiedServer, binding_pin, check_address, check_offer, establish_trust};

pub(super) fn run(context: &Context, arguments: &Login) -> Result<Exit, Failure> {
    if context.settings.token.is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "INFRA_TOKEN stands in for the stored session, and a login would not replace it",
        )
        .hint("unset INFRA_TOKEN"));
    }
    let origin = choose_server(context, arguments)?;
    let seen = stored_session_id(context, &origin)?;
    if has_live_session(context, &origin, arguments, arguments.force)? {
        return Ok(Exit::Done);
    }
    let mut login_lock = lock::acquire(context, arguments.timeout)?;
    // Another process may have signed in meanwhile. That session is new enough even for `--force`.
    if stored_session_id(context, &origin)? != seen && has_live_session(context, &origin, arguments, false)? {
        return Ok(Exit::Done);
    }
    log_in(context, &origin, arguments, &mut login_lock)
}

/// The ID of the stored session.
fn stored_session_id(context: &Context, origin: &Origin) -> Result<Option<SessionID>, Failure> {
    let state = context.home.read()?;
    Ok(state.sessions.sessions.get(origin).map(|session| session.token.id().clone()))
}

/// Returns the named server, or asks for one.
fn choose_server(context: &Context, arguments: &Login) -> Result<Origin, Failure> {
    let state = context.home.read()?;
    if let Some(origin) = context.server(arguments.server.as_ref(), &state)? {
        return Ok(origin);
    }
    let known: Vec<Origin> = state.config.servers.keys().cloned().collect();
    if !context.terminal.interactive {
        let names: Vec<String> = known.iter().map(ToString::to_string).collect();
        let failure = Failure::new(Exit::Usage, "which server?");
        return Err(if names.is_empty() {
            failure.hint("`infra login SERVER`")
        } else {
            failure.hint(format!("`infra login SERVER`, one of {}", names.join(", ")))
        });
    }
    if known.is_empty() {
        let answer = context.terminal.ask("Server (host or host:port)")?;
        return answer
            .parse()
            .map_err(|error| Failure::new(Exit::Usage, "that is not a server").because(&error));
    }
    let names: Vec<String> = known.iter().map(ToString::to_string).collect();
    let chosen = context.terminal.choose("Server", &names)?;
    Ok(known.into_iter().nth(chosen).expect("one of those that were offered"))
}

/// Whether a live session makes a sign-in unnecessary; reports it to the user. Always false with `is_forced`.
fn has_live_session(
    context: &Context,
    origin: &Origin,
    arguments: &Login,
    is_forced: bool,
) -> Result<bool, Failure> {
    let state = context.home.read()?;
    let Some(stored) = state.sessions.sessions.get(origin) else { return Ok(false) };
    // Check trust options even if no new connection needs them.
    let offer = TrustOffer::gather(&arguments.proof, &context.settings)?;
    check_offer(origin, state.trust(origin), state.previous_trust(origin), &offer)?;
    let is_other_provider =
        arguments.provider.as_ref().is_some_and(|provider| *provider != stored.user.provider);
    if is_forced || is_other_provider {
        return Ok(false);
    }
    let report = check_session(context, origin, &state, None, CheckMode::Online);
    match report.state {
        SessionState::Active => {
            report_live(context, origin, &report);
            make_current(context, origin)?;
            Ok(true)
        }
        SessionState::LoggedOut | SessionState::Expired | SessionState::Revoked => Ok(false),
        // A sign-in would fail for the same reason.
        SessionState::Unreachable | SessionState::Untrusted => match report.cause {
            Some(error) => Err(error.to_failure(origin)),
            None => Ok(false),
        },
    }
}

fn report_live(context: &Context, origin: &Origin, report: &Report) {
    let who = report.user.as_ref().map(account).unwrap_or_default();
    let left = report.live_for().map(times::left).unwrap_or_default();
    context.terminal.info(&format!("already signed in to {origin} as {who} ({left} left)"));
    report.warn_of_skew(context.terminal);
    warn_of_newer(context, report);
}

fn make_current(context: &Context, origin: &Origin) -> Result<(), Failure> {
    context.home.update(|state| {
        if state.config.servers.contains_key(origin) {
            state.config.current = Some(origin.clone());
        }
    })?;
    Ok(())
}

fn log_in(
    context: &Context,
    origin: &Origin,
    arguments: &Login,
    login_lock: &mut LoginLock,
) -> Result<Exit, Failure> {
    let state = context.home.read()?;
    let known = state.config.servers.get(origin);
    let offer = TrustOffer::gather(&arguments.proof, &context.settings)?;
    let verified = establish_trust(
        origin,
        state.trust_anchors(origin),
        state.previous_trust(origin),
        offer,
        context.terminal,
    )
    .map_err(|failure| suggestions::add_similar(failure, &state, origin))?;
    context.retry_logouts(origin, &verified.connection.client, &state)?;
    check_address(origin, &verified.server)?;
    let provider = choose_provider(context, arguments, known, &verified.server)?;
    let pin = binding_pin(origin, verified.connection.record(), &verified.server.pins)?;
    let with_keyring = match (arguments.keyring, arguments.no_keyring) {
        (false, false) => known.is_some_and(|server| server.keyring),
        (keyring, _) => keyring,
    };
    let environment = settings::environment();

    let setup = Setup {
        origin,
        pin: pin.as_ref(),
        provider: &provider,
        browser: browser(context, arguments.no_browser, context.terminal.interactive, &environment),
        environment,
        path: context.settings.path.clone(),
        home: context.home.path(),
        timeout: arguments.timeout,
        terminal: context.terminal,
    };
    let (client, deadline) = (&verified.connection.client, Instant::now() + arguments.timeout);
    let output = (origin, context.terminal);
    let start = |request: StartLogin| {
        let started = rate_limit::repeat(output, deadline, || client.start_login(&request))
            .map_err(|error| error.to_failure(origin))?;
        if has_no_browser(arguments, &setup) {
            return Err(outcome::no_browser_failure("BROWSER is not set"));
        }
        Ok(started)
    };
    let finish = |request: FinishLogin| {
        let finished = rate_limit::repeat(output, deadline, || client.finish_login(&request))
            .map_err(|error| error.to_failure(origin))?;
        let token = SessionToken::parse(finished.token.expose_secret())
            .ok_or_else(|| Failure::new(Exit::Failed, format!("{origin} sent no session token")))?;
        // Drop revokes the session unless it is stored.
        let opened = OpenedSession { client, token, finished, is_stored: false };
        let user = &opened.finished.user;
        if (user.provider.as_str(), user.issuer.as_str())
            != (provider.name.as_str(), provider.issuer.as_str())
        {
            return Err(outcome::other_provider_failure(origin, &provider, user));
        }
        Ok(opened)
    };
    let save = |opened: OpenedSession<'_>| save(context, origin, with_keyring, &verified, opened);
    browser_login::run(&setup, start, |url| login_lock.note(url), finish, save).map(|()| Exit::Done).map_err(
        |error| {
            let failure = outcome::failure(error, origin, &provider.name);
            match still_signed_in(context, origin) {
                Some(account) if failure.exit() == Exit::Refused => {
                    failure.note(format!("you are still signed in to {origin} as {account}"))
                }
                _ => failure,
            }
        },
    )
}

/// Whether no browser can complete the sign-in. None can be opened, no user sees the address, and `--no-browser` was
/// not given.
fn has_no_browser(arguments: &Login, setup: &Setup<'_>) -> bool {
    setup.browser == Browser::Elsewhere && !arguments.no_browser && !setup.terminal.interactive
}

/// The account of the stored session, if it is still live as far as known here.
fn still_signed_in(context: &Context, origin: &Origin) -> Option<String> {
    let state = context.home.read().ok()?;
    let stored = state.sessions.sessions.get(origin).filter(|stored| stored.ended.is_none())?;
    let now = stored.clock_offset.daemon_time(context.now());
    let ends = stored.session.expires_at.min(stored.session.idle_expires_at);
    (ends > now).then(|| account(&stored.user))
}

/// The named provider, else the last used one, else the only one, else the user's choice.
fn choose_provider(
    context: &Context,
    arguments: &Login,
    known: Option<&Server>,
    server: &api::Server,
) -> Result<api::Provider, Failure> {
    let find = |name: &str| server.providers.iter().find(|provider| provider.name == name).cloned();
    let names: Vec<String> = server.providers.iter().map(|provider| provider.name.clone()).collect();
    if let Some(name) = &arguments.provider {
        return find(name).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("the server has no identity provider `{name}`")).hint(
                match nearest(name, names.iter().map(String::as_str)) {
                    Some(similar) => {
                        format!("`--provider {similar}`, if that is meant; it has: {}", names.join(", "))
                    }
                    None => format!("`--provider NAME`, one of: {}", names.join(", ")),
                },
            )
        });
    }
    let last = known.and_then(|server| server.provider.as_deref()).and_then(find);
    match (last, server.providers.as_slice()) {
        (Some(last), _) => Ok(last),
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(Failure::new(Exit::Failed, "the server has no identity provider")
            .hint("its operator configures one")),
        (None, several) if context.terminal.interactive => {
            let chosen = context.terminal.choose("Identity provider", &names)?;
            Ok(several.get(chosen).expect("one of those that were offered").clone())
        }
        (None, _) => Err(Failure::new(Exit::Usage, "which identity provider?")
            .hint(format!("`--provider NAME`, one of: {}", names.join(", ")))),
    }
}

/// How to open the browser. Without a terminal none is opened, unless `BROWSER` names one.
pub(super) fn browser(
    context: &Context,
    no_browser: bool,
    interactive: bool,
    environment: &Environment,
) -> Browser {
    let settings = &context.settings;
    match &settings.browser {
        _ if no_browser => Browser::Elsewhere,
        Some(named) => Browser::Named(named.clone()),
        None if !interactive => Browser::Elsewhere,
        None => match environment {
            Environment::Remote(_) => Browser::Elsewhere,
            Environment::WSL => Browser::Windows,
            _ if settings.has_desktop => Browser::Desktop,
            _ => Browser::Elsewhere,
        },
    }
}

/// A session that the daemon has opened. Drop revokes it unless it was stored, because it would be unusable.
struct OpenedSession<'a> {
    client: &'a DaemonClient,
    token: SessionToken,
    finished: FinishedLogin,
    is_stored: bool,
}

/// Stores the session, makes the server current and revokes the previous session. Returns the account name.
///
/// The file is written before the keyring, so that interrupting a blocked keyring does not lose the session. The file
/// records the keyring copy before it exists, so that every copy is known and can be removed.
fn save(
    context: &Context,
    origin: &Origin,
    with_keyring: bool,
    verified: &VerifiedServer,
    mut opened: OpenedSession<'_>,
) -> Result<String, Failure> {
    let FinishedLogin { session, user, now, .. } = &opened.finished;
    let offset = ClockOffset::measure(*now, context.now());
    let session = Session {
        token: opened.token.clone(),
        session: session.clone(),
        user: user.clone(),
        trust: verified.connection.record().clone(),
        clock_offset: offset,
        storage: if with_keyring { Storage::FileAndKeyring } else { Storage::File },
        ended: None,
        last_notified: None,
        audience_tokens: BTreeMap::new(),
    };
    let (trust, provider) = (verified.connection.record().clone(), Some(user.provider.clone()));
    let (state, before) = context.home.update(|state| {
        // Adopt first, because the server may have proved itself by an announced record.
        state.adopt(origin, &trust);
        let known = state.config.servers.remove(origin).filter(|known| known.trust == trust);
        let (ca_rollover, previous_trust) =
            known.map(|known| (known.ca_rollover, known.previous_trust)).unwrap_or_default();
        let server = Server { trust, provider, keyring: with_keyring, ca_rollover, previous_trust };
        state.config.servers.insert(origin.clone(), server);
        state.config.current = Some(origin.clone());
        let before = state.sessions.sessions.insert(origin.clone(), session);
        // Keep the logout proof until the daemon has revoked the session, because its token is deleted now.
        state
            .sessions
            .pending_logouts
            .extend(before.as_ref().map(|before| PendingLogout::new(origin, before)));
        before
    })?;
    let account = account(user);
    opened.is_stored = true;
    times::warn_of_skew(offset.seconds(), context.terminal);
    context.record_announcement(origin, &verified.connection);
    let is_copied = with_keyring && copy_to_keyring(context, origin, &opened.token)?;
    if let Some(before) = before {
        revoke_previous(context, origin, verified, &state, &before, is_copied)?;
    }
    Ok(account)
}

/// Revokes the session that this sign-in replaced, and reports it if it belonged to a different user.
fn revoke_previous(
    context: &Context,
    origin: &Origin,
    verified: &VerifiedServer,
    state: &State,
    before: &Session,
    is_copied: bool,
) -> Result<(), Failure> {
    if let (_, Some(error)) = context.retry_logouts(origin, &verified.connection.client, state)? {
        let ends = times::at(before.session.expires_at, context.now());
        context.terminal.warn(&format!(
            "the session before could not be ended: {error}; the next command tries again, and it ends {ends}"
        ));
    }
    if before.storage == Storage::FileAndKeyring && !is_copied {
        match context.keyring.forget(origin, &before.token) {
            Ok(StoredEntry::Token | StoredEntry::Missing) => {}
            Ok(StoredEntry::Other) => context.terminal.warn(&changed_entry_warning(origin)),
            Err(error) => {
                context.terminal.warn(&format!("the copy of the token before stays in the keyring: {error}"));
            }
        }
    }
    let user = state.sessions.sessions.get(origin).map(|session| &session.user);
    if user.is_some_and(|user| (&before.user.issuer, &before.user.subject) != (&user.issuer, &user.subject)) {
        context.terminal.info(&format!("before, {} was signed in to {origin}", account(&before.user)));
    }
    Ok(())
}

impl Drop for OpenedSession<'_> {
    fn drop(&mut self) {
        if !self.is_stored {
            // If the daemon is unreachable, the session expires unused.
            let _ = revoke_session(self.client, &self.token);
        }
    }
}

/// Copies the token to the keyring. If there is certainly no copy, the file records that. Otherwise a sign-out removes
/// the copy.
fn copy_to_keyring(context: &Context, origin: &Origin, token: &SessionToken) -> Result<bool, Failure> {
    let error = match context.keyring.store(origin, token) {
        Ok(()) => return Ok(true),
        Err(error @ KeyringError::Unconfirmed) => {
            context.terminal.warn(&format!("{error}: `infra status` shows if it holds a copy of the token"));
            return Ok(true);
        }
        Err(error) => error,
    };
    context.home.update(|state| {
        let stored = state.sessions.sessions.get_mut(origin);
        if let Some(session) = stored.filter(|session| session.token.id() == token.id()) {
            session.storage = Storage::File;
        }
    })?;
    context.terminal.warn(&format!("the token is kept in the file alone: {error}; {}", error.hint()));
    Ok(false)
}
