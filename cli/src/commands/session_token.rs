//! The session token of a command: from `INFRA_TOKEN` or stored, and valid for long enough.

use infra_shared::api::Session;
use infra_shared::origin::Origin;
use infra_shared::token_text::SessionToken;
use jiff::SignedDuration;

use super::{Context, status, suggestions, times};
use crate::daemon_client::DaemonError;
use crate::failure::{Exit, Failure};
use crate::home::{SessionEnd, State};

/// Returns the token of the session at `server`, which stays valid for at least `min_left`, the server and the stored
/// state.
pub(super) fn obtain(
    context: &Context,
    server: Option<&Origin>,
    min_left: SignedDuration,
) -> Result<(Origin, State, SessionToken), Failure> {
    let state = context.home.read()?;
    let Some(origin) = context.server(server, &state)? else {
        return Err(no_server(context));
    };
    let token = match (&context.settings.token, state.sessions.sessions.get(&origin)) {
        // The user set it, and only the daemon knows how long it is valid.
        (Some(token), _) if min_left.is_zero() => token.clone(),
        (Some(_), _) => confirm_lifetime(context, &origin, &state, min_left)?,
        (None, Some(stored)) if let Some(end) = stored.ended => {
            return Err(ended(context, &state, &origin, end));
        }
        (None, Some(stored)) => {
            let now = stored.clock_offset.daemon_time(context.now());
            let left = |until: jiff::Timestamp| until.duration_since(now);
            if left(stored.session.expires_at) <= SignedDuration::ZERO {
                return Err(ended(context, &state, &origin, SessionEnd::Expired));
            }
            if left(stored.session.expires_at) < min_left {
                let times = (left(stored.session.expires_at), min_left);
                return Err(session_too_short(context, &state, &origin, Some(&stored.session), times));
            }
            let idle_left = left(stored.session.idle_expires_at);
            if idle_left > SignedDuration::ZERO && idle_left >= min_left {
                stored.token.clone()
            } else {
                // Services may have used the token since, so only the daemon knows.
                confirm_lifetime(context, &origin, &state, min_left)?
            }
        }
        (None, None) => {
            context.deliver_logouts(&origin, &state);
            return Err(not_signed_in(context, &state, &origin));
        }
    };
    Ok((origin, state, token))
}

/// Returns the token after the daemon confirmed that it is valid long enough.
fn confirm_lifetime(
    context: &Context,
    origin: &Origin,
    state: &State,
    min_left: SignedDuration,
) -> Result<SessionToken, Failure> {
    let report = status::check_session(
        context,
        origin,
        state,
        context.settings.token.as_ref(),
        status::CheckMode::Online,
    );
    let live = report.live_for().ok_or_else(|| report.failure())?;
    if live < min_left {
        return Err(session_too_short(context, state, origin, report.session.as_ref(), (live, min_left)));
    }
    report.token.ok_or_else(|| not_signed_in(context, state, origin))
}

pub(super) fn no_server(context: &Context) -> Failure {
    let failure = Failure::new(Exit::LoginNeeded, "no server is known here").hint("`infra login SERVER`");
    context.note_missing_home(failure)
}

pub(super) fn not_signed_in(context: &Context, state: &State, origin: &Origin) -> Failure {
    let failure = Failure::new(Exit::LoginNeeded, format!("you are not signed in to {origin}"))
        .hint(suggestions::login_command(context, state, origin));
    context.note_missing_home(failure)
}

/// The failure of a call with the session token. If the daemon rejected the token, asks how its session ended, which only
/// that request reveals.
pub(super) fn failed_call(context: &Context, state: &State, origin: &Origin, error: &DaemonError) -> Failure {
    if error.exit() != Exit::LoginNeeded {
        return suggestions::call_failure(error, origin, state.trust(origin).is_some());
    }
    let token = context.settings.token.as_ref();
    let report = status::check_session(context, origin, state, token, status::CheckMode::Online);
    if report.token.is_some() && report.exit() == Exit::LoginNeeded {
        return report.failure();
    }
    error.to_failure(origin).hint(suggestions::login_command(context, state, origin))
}

fn ended(context: &Context, state: &State, origin: &Origin, end: SessionEnd) -> Failure {
    let how = match end {
        SessionEnd::Expired => "has expired",
        SessionEnd::Revoked => "was revoked",
    };
    Failure::new(Exit::LoginNeeded, format!("the session at {origin} {how}"))
        .hint(suggestions::login_command(context, state, origin))
}

/// Like [`too_short`], for a session token, which also expires if it is not used.
fn session_too_short(
    context: &Context,
    state: &State,
    origin: &Origin,
    session: Option<&Session>,
    (left, min_left): (SignedDuration, SignedDuration),
) -> Failure {
    let failure = too_short(context, state, origin, session, (left, min_left));
    // Also the session as it was stored before: the less it had been used, the more exactly it shows the timeout.
    let stored = state.sessions.sessions.get(origin).map(|stored| &stored.session);
    let stored = stored.filter(|stored| session.is_some_and(|session| session.id == stored.id));
    let timeout = session.into_iter().chain(stored).filter_map(longest_inactivity).min();
    match timeout.filter(|timeout| min_left >= *timeout && failure.exit() == Exit::LoginNeeded) {
        Some(timeout) => {
            let (wanted, timeout) = times::distinct(min_left, timeout);
            Failure::new(
                Exit::Usage,
                format!("no unused session at {origin} lasts {wanted}: each expires within {timeout} of its last use"),
            )
            .hint(format!(
                "a `--min-left` below {timeout}; or ask the server's operator for a longer `sessions.inactivityTimeout`"
            ))
        }
        None => failure,
    }
}

/// An upper bound of the server's inactivity timeout, exact for a session that was not used since its start. `None` if the
/// lifetime ends first.
fn longest_inactivity(session: &Session) -> Option<SignedDuration> {
    let is_idle_first = session.idle_expires_at < session.expires_at;
    is_idle_first.then(|| session.idle_expires_at.duration_since(session.created_at))
}

/// The session is valid for `left`, less than `min_left`. If no session lasts that long, a sign-in does not help.
pub(super) fn too_short(
    context: &Context,
    state: &State,
    origin: &Origin,
    session: Option<&Session>,
    (left, min_left): (SignedDuration, SignedDuration),
) -> Failure {
    let lifetime = session.map(|session| session.expires_at.duration_since(session.created_at));
    if let Some(lifetime) = lifetime.filter(|lifetime| min_left >= *lifetime) {
        let (lifetime, wanted) = (times::left(lifetime), times::left(min_left));
        return Failure::new(
            Exit::Usage,
            format!("no session at {origin} lasts {wanted}: each expires {lifetime} after the sign-in"),
        )
        .hint(format!(
            "a `--min-left` below {lifetime}, with another `infra token` later; or ask the server's operator for longer \
             sessions (`sessions.lifetime`)"
        ));
    }
    let (shown, wanted) = times::distinct(left, min_left);
    let what = format!("the session at {origin} is valid for {shown}, less than the {wanted} of --min-left");
    let failure = Failure::new(Exit::LoginNeeded, what);
    failure.hint(match (context.settings.token.is_some(), session) {
        (true, _) => suggestions::login_command(context, state, origin),
        (false, Some(session)) if session.idle_expires_at < session.expires_at => {
            "`infra login --force`; an unused session expires after the server's `sessions.inactivityTimeout`"
                .to_owned()
        }
        (false, _) => "`infra login --force`".to_owned(),
    })
}
