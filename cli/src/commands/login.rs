//! `infra login`: chooses the server, signs in and stores the session.

mod lock;
mod outcome;
mod rate_limit;
mod unstored_session;

use std::thread;
use std::time::Instant;

use infra_shared::api;
use infra_shared::command_line::nearest;
use infra_shared::origin::Origin;
use infra_shared::token_text::SessionID;

use super::status::{CheckMode, Report, State as SessionState, account, check_session, warn_of_newer};
use super::{Context, suggestions, times};
use crate::arguments::Login;
use crate::browser_login::{Browser, BrowserLogin, LoginError, Setup};
use crate::failure::{Exit, Failure};
use crate::home::{LoginLock, Server};
use crate::platform::STALE_EXPORTS;
use crate::settings::{self, Environment};
use crate::trust::{
    TrustOptions, VerifiedServer, binding_pin, check_address, check_trust_options, establish_trust,
};
use rate_limit::Retry;
use unstored_session::UnstoredSession;

pub(super) fn run(context: &Context, arguments: &Login) -> Result<Exit, Failure> {
    context.expect_undelegated("sign in")?;
    if context.settings.token.is_some() {
        return Err(Failure::new(
            Exit::Usage,
            "cannot sign in while INFRA_TOKEN is set, because it overrides the stored session",
        )
        .hint("unset INFRA_TOKEN"));
    }
    let origin = choose_server(context, arguments)?;
    let session_before = stored_session_id(context, &origin)?;
    if reuse_live_session(context, &origin, arguments, arguments.force)? {
        return Ok(Exit::Done);
    }
    let Some(parent) = context.missing_home_parent() else {
        return sign_in(context, &origin, arguments, session_before.as_ref());
    };
    // The lock for sign-ins creates the directory.
    match sign_in(context, &origin, arguments, session_before.as_ref()) {
        Ok(exit) => {
            let what = format!("created {parent} for INFRA_HOME, because it did not exist");
            context.terminal.warn(&format!("{what}; {STALE_EXPORTS}"));
            Ok(exit)
        }
        Err(failure) => {
            context.home.remove_unused();
            Err(context.note_missing_home(failure))
        }
    }
}

/// Signs in, unless another process has since `session_before`.
fn sign_in(
    context: &Context,
    origin: &Origin,
    arguments: &Login,
    session_before: Option<&SessionID>,
) -> Result<Exit, Failure> {
    let mut login_lock = lock::acquire(context, arguments.timeout)?;
    // Another process may have signed in meanwhile. That session is new enough even for `--force`.
    if stored_session_id(context, origin)?.as_ref() != session_before
        && reuse_live_session(context, origin, arguments, false)?
    {
        return Ok(Exit::Done);
    }
    log_in(context, origin, arguments, &mut login_lock)
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
        let failure = Failure::new(Exit::Usage, "no server was named");
        return Err(if names.is_empty() {
            failure.hint("`infra login SERVER`")
        } else {
            failure.hint(format!("`infra login SERVER`, one of {}", names.join(", ")))
        });
    }
    if known.is_empty() {
        let answer = context.terminal.ask("Server (host or host:port)")?;
        return answer.parse().map_err(|error| {
            let failure = Failure::new(Exit::Usage, "that is not a server's address").because(&error);
            failure.hint(if answer.trim().contains(char::is_whitespace) {
                "if you pasted a line for your shell here: paste it again, now at the shell's prompt, then `infra login`"
            } else {
                "`infra login SERVER`, with the address from the server's operator"
            })
        });
    }
    let names: Vec<String> = known.iter().map(ToString::to_string).collect();
    let chosen = context.terminal.choose("Server", &names)?;
    Ok(known.into_iter().nth(chosen).expect("one of those that were offered"))
}

/// Whether a live session makes a sign-in unnecessary; reports it to the user. Always false with `is_forced`.
fn reuse_live_session(
    context: &Context,
    origin: &Origin,
    arguments: &Login,
    is_forced: bool,
) -> Result<bool, Failure> {
    let state = context.home.read()?;
    let Some(stored) = state.sessions.sessions.get(origin) else { return Ok(false) };
    // Check trust options even if no new connection needs them.
    let options = TrustOptions::read(&arguments.trust, &context.settings)?;
    check_trust_options(origin, state.trust(origin), state.previous_trust(origin), &options)?;
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
    let account = report.user.as_ref().map(account).unwrap_or_default();
    let left = report.live_for().map(times::left).unwrap_or_default();
    context.terminal.info(&format!(
        "already signed in to {origin} as {account} ({left} left); `infra login --force` replaces this session"
    ));
    report.warn_of_skew(context.terminal);
    warn_of_newer(context, report);
}

/// Also forgets the cached audience tokens: a user whom a service rejects signs in again, and the daemon then says why.
fn make_current(context: &Context, origin: &Origin) -> Result<(), Failure> {
    let (_, had_cached) = context.home.update(|state| {
        if state.config.servers.contains_key(origin) {
            state.config.current = Some(origin.clone());
        }
        let session = state.sessions.sessions.get_mut(origin);
        session.is_some_and(|session| !std::mem::take(&mut session.audience_tokens).is_empty())
    })?;
    if had_cached {
        context.terminal.info(
            "kept tokens for services were dropped: the next `infra token --audience` gets a new one, or prints why not",
        );
    }
    Ok(())
}

/// Makes the server prove itself, chooses the provider, and runs the sign-in.
fn log_in(
    context: &Context,
    origin: &Origin,
    arguments: &Login,
    login_lock: &mut LoginLock,
) -> Result<Exit, Failure> {
    let state = context.home.read()?;
    let known = state.config.servers.get(origin);
    let options = TrustOptions::read(&arguments.trust, &context.settings)?;
    let verified = establish_trust(
        origin,
        state.trust_anchors(origin),
        state.previous_trust(origin),
        options,
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
    run_login(context, &setup, &verified, arguments, with_keyring, login_lock).map_err(|failure| {
        match live_account(context, origin) {
            Some(account) if failure.exit() == Exit::LoginFailed => {
                failure.note(format!("you are still signed in to {origin} as {account}"))
            }
            _ => failure,
        }
    })
}

/// Starts the sign-in at the daemon, waits for the browser, finishes at the daemon and stores the session. The browser
/// and the terminal report success only then.
fn run_login(
    context: &Context,
    setup: &Setup<'_>,
    verified: &VerifiedServer,
    arguments: &Login,
    with_keyring: bool,
    login_lock: &mut LoginLock,
) -> Result<Exit, Failure> {
    let (origin, provider, client) = (setup.origin, setup.provider, &verified.connection.client);
    let failed = |error: LoginError| outcome::failure(error, origin, &provider.name);
    let retry = Retry { origin, terminal: context.terminal, deadline: Instant::now() + setup.timeout };

    let login = BrowserLogin::prepare(setup).map_err(failed)?;
    let request = login.start_request();
    let pause = |wait| {
        thread::sleep(wait);
        Ok(())
    };
    let started = retry.call(|| client.start_login(&request), pause)?;
    if has_no_browser(arguments, setup) {
        return Err(outcome::no_browser_failure("BROWSER is not set"));
    }
    let url = login.check(&started).map_err(failed)?;
    login_lock.share_url(url.as_str());
    let mut pending = login.open(url, started.ticket).map_err(failed)?;
    let request = pending.receive_code().map_err(failed)?;
    let pause = |wait| pending.pause(wait).map_err(failed);
    let finished = retry.call(|| client.finish_login(&request), pause)?;
    let unstored = UnstoredSession::from_response(client, finished, origin, provider)?;
    let account = unstored_session::save(context, origin, with_keyring, verified, unstored)?;
    pending.succeed(account);
    Ok(Exit::Done)
}

/// Whether no browser can complete the sign-in. None can be opened, no user sees the address, and `--no-browser` was
/// not given.
fn has_no_browser(arguments: &Login, setup: &Setup<'_>) -> bool {
    setup.browser == Browser::Elsewhere && !arguments.no_browser && !setup.terminal.interactive
}

/// The account of the stored session, if it is still live as far as known here.
fn live_account(context: &Context, origin: &Origin) -> Option<String> {
    let state = context.home.read().ok()?;
    let stored = state.sessions.sessions.get(origin).filter(|stored| stored.ended.is_none())?;
    let now = stored.clock_offset.daemon_time(context.now());
    (stored.session.ends_at() > now).then(|| account(&stored.user))
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
                        format!(
                            "`--provider {similar}` if you mean that one; the server has: {}",
                            names.join(", ")
                        )
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
            .hint("ask its operator to configure one")),
        (None, several) if context.terminal.interactive => {
            let chosen = context.terminal.choose("Identity provider", &names)?;
            Ok(several.get(chosen).expect("one of those that were offered").clone())
        }
        (None, _) => {
            Err(Failure::new(Exit::Usage, "the server has several identity providers, and none was named")
                .hint(format!("`--provider NAME`, one of: {}", names.join(", "))))
        }
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
