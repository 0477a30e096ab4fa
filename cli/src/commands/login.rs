//! `infra login`: from the question which server, to the session that is stored.

mod outcome;
mod turn;

use infra_shared::api::{self, FinishLogin, FinishedLogin, StartLogin};
use infra_shared::origin::Origin;
use infra_shared::token_text::SessionToken;

use super::status::{Look, Report, State as SessionState, account, look};
use super::{Context, Ended, end_session, times};
use crate::arguments::Login;
use crate::browser_login::{self, Browser, Setup, SignedIn};
use crate::failure::{Exit, Failure};
use crate::home::{LoginLock, Server, Session, State, Storage};
use crate::keyring;
use crate::trust::{Offered, Proven, binding_pin, meet};

pub(super) fn run(context: &Context, arguments: &Login) -> Result<Exit, Failure> {
    if context.settings.token.is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "INFRA_TOKEN stands in for the stored session, and a login would not replace it",
        )
        .hint("unset INFRA_TOKEN"));
    }
    let origin = choose_server(context, arguments)?;
    if is_told_live(context, &origin, arguments)? {
        return Ok(Exit::Done);
    }
    let (mut turn, waited) = turn::take(context, arguments.timeout)?;
    // While this one waited, another may have signed in.
    if waited && is_told_live(context, &origin, arguments)? {
        return Ok(Exit::Done);
    }
    log_in(context, &origin, arguments, &mut turn)
}

/// The server, asked for where nobody said.
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

/// Whether there is a live session that makes a login needless; the user is told of it.
fn is_told_live(context: &Context, origin: &Origin, arguments: &Login) -> Result<bool, Failure> {
    let state = context.home.read()?;
    let Some(stored) = state.sessions.sessions.get(origin) else { return Ok(false) };
    let is_other_provider =
        arguments.provider.as_ref().is_some_and(|provider| *provider != stored.user.provider);
    if arguments.force || is_other_provider {
        return Ok(false);
    }
    let report = look(context, origin, &state, Look::Online)?;
    match report.state {
        SessionState::Active => {
            tell_live(context, origin, &report);
            make_current(context, origin)?;
            Ok(true)
        }
        SessionState::LoggedOut | SessionState::Expired | SessionState::Revoked => Ok(false),
        // A login would meet the same server, and fail for the same reason.
        SessionState::Unreachable | SessionState::Untrusted => match report.cause {
            Some(error) => Err(error.into_failure(origin)),
            None => Ok(false),
        },
    }
}

fn tell_live(context: &Context, origin: &Origin, report: &Report) {
    let who = report.user.as_ref().map(account).unwrap_or_default();
    let left = report.live_for().map(times::left).unwrap_or_default();
    context.terminal.say(&format!("already signed in to {origin} as {who} ({left} left)"));
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
    turn: &mut LoginLock,
) -> Result<Exit, Failure> {
    let state = context.home.read()?;
    let known = state.config.servers.get(origin);
    let offered = Offered::gather(&arguments.proof, &context.settings)?;
    let proven = meet(origin, known.map(|server| &server.trust), offered, context.terminal)?;
    context.settle_logouts(origin, &proven.client, &state)?;
    let provider = choose_provider(context, arguments, known, &proven.server)?;
    let pin = binding_pin(&proven.record, &proven.server.pins);

    let setup = Setup {
        origin,
        pin: pin.as_ref(),
        provider: &provider,
        browser: browser(context, arguments),
        patience: arguments.timeout,
        terminal: context.terminal,
    };
    let start =
        |request: StartLogin| proven.client.start_login(&request).map_err(|error| error.into_failure(origin));
    let finish = |request: FinishLogin| {
        let finished = proven.client.finish_login(&request).map_err(|error| error.into_failure(origin))?;
        save(context, origin, arguments, &proven, finished)
    };
    browser_login::run(&setup, start, |url| turn.note(url), finish)
        .map(|_| Exit::Done)
        .map_err(|error| outcome::failure(error, origin, &provider.name))
}

/// The provider that was named, the last one that was used here, the only one, or the one that a human chooses.
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
            Failure::new(Exit::Usage, format!("the server has no identity provider `{name}`"))
                .hint(format!("one of: {}", names.join(", ")))
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

/// How the browser is opened. Without a terminal nobody expects one, unless `BROWSER` names it.
fn browser(context: &Context, arguments: &Login) -> Browser {
    let settings = &context.settings;
    match &settings.browser {
        _ if arguments.no_browser => Browser::Elsewhere,
        Some(named) => Browser::Named(named.clone()),
        None if settings.is_remote || !settings.has_desktop || !context.terminal.interactive => {
            Browser::Elsewhere
        }
        None => Browser::Desktop,
    }
}

/// Stores the session, makes the server current, and ends the session that was there before.
fn save(
    context: &Context,
    origin: &Origin,
    arguments: &Login,
    proven: &Proven,
    finished: FinishedLogin,
) -> Result<SignedIn, Failure> {
    use secrecy::ExposeSecret;

    let token = SessionToken::parse(finished.token.expose_secret())
        .ok_or_else(|| Failure::new(Exit::Failed, format!("{origin} sent no session token")))?;
    let mirror = mirror_wanted(context, origin, arguments)?;
    let storage =
        if mirror && is_mirrored(context, origin, &token) { Storage::FileAndKeyring } else { Storage::File };
    let session = Session {
        token: token.clone(),
        session: finished.session,
        user: finished.user.clone(),
        clock_offset_seconds: times::offset(finished.now, context.now()),
        storage,
    };
    let server = Server {
        trust: proven.record.clone(),
        provider: Some(finished.user.provider.clone()),
        keyring: mirror,
    };
    let store = |state: &mut State| {
        state.config.servers.insert(origin.clone(), server);
        state.config.current = Some(origin.clone());
        state.sessions.sessions.insert(origin.clone(), session)
    };
    let (_, before) = match context.home.update(store) {
        Ok(stored) => stored,
        Err(error) => {
            // A session that nobody can use must not go on.
            let _ = end_session(&proven.client, &token);
            return Err(error.into());
        }
    };
    if let Some(before) = before {
        leave(context, origin, proven, &before, &finished.user);
    }
    Ok(SignedIn { account: account(&finished.user) })
}

/// Ends the session that this login replaced, and says so when it was somebody else's.
fn leave(context: &Context, origin: &Origin, proven: &Proven, before: &Session, user: &api::User) {
    if let Ended::NotTold(error) = end_session(&proven.client, &before.token) {
        let ends = times::local(before.session.expires_at, context.now());
        context.terminal.warn(&format!("the session before could not be ended: {error}; it ends at {ends}"));
    }
    if (&before.user.issuer, &before.user.subject) != (&user.issuer, &user.subject) {
        context.terminal.say(&format!("before, {} was signed in to {origin}", account(&before.user)));
    }
}

/// What the options say of the keyring, or what was so at the last login.
fn mirror_wanted(context: &Context, origin: &Origin, arguments: &Login) -> Result<bool, Failure> {
    if arguments.keyring || arguments.no_keyring {
        return Ok(arguments.keyring);
    }
    Ok(context.home.read()?.config.servers.get(origin).is_some_and(|server| server.keyring))
}

fn is_mirrored(context: &Context, origin: &Origin, token: &SessionToken) -> bool {
    match keyring::store(origin, token) {
        Ok(()) => true,
        Err(error) => {
            context.terminal.warn(&format!("the token is kept in the file alone: {error}"));
            false
        }
    }
}
