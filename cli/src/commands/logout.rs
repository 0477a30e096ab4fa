//! `infra logout`: ends the session at the daemon, then forgets it here.

use infra_shared::origin::Origin;

use super::{Context, Ended, end_session, times};
use crate::arguments::Logout;
use crate::daemon_client::DaemonError;
use crate::failure::{Exit, Failure};
use crate::home::{PendingLogout, Session, State, Storage};
use crate::keyring;

pub(super) fn run(context: &Context, arguments: &Logout) -> Result<Exit, Failure> {
    let state = context.home.read()?;
    if arguments.all {
        let mut exit = Exit::Done;
        let known = state.config.servers.keys();
        let servers: std::collections::BTreeSet<_> =
            known.chain(state.sessions.sessions.keys()).cloned().collect();
        for origin in servers {
            // One that could not be told does not keep the others signed in.
            if log_out(context, &origin, &state, arguments.forget)? != Exit::Done {
                exit = Exit::NotTold;
            }
        }
        return Ok(exit);
    }
    match context.server(arguments.server.as_ref(), &state)? {
        Some(_) if context.settings.token.is_some() => log_out_environment(context, arguments, &state),
        Some(origin) => log_out(context, &origin, &state, arguments.forget),
        None => {
            context.terminal.say("not signed in: no server is known here");
            Ok(Exit::Done)
        }
    }
}

/// Ends the stored session at `origin`.
fn log_out(context: &Context, origin: &Origin, state: &State, forget: bool) -> Result<Exit, Failure> {
    let Some(stored) = state.sessions.sessions.get(origin) else {
        context.terminal.say(&format!("not signed in to {origin}"));
        forget_here(context, origin, None, forget, None)?;
        return Ok(Exit::Done);
    };
    let ended = match context.client(origin, state) {
        Ok(client) => {
            let ended = end_session(&client, &stored.token);
            if matches!(ended, Ended::AtDaemon) {
                context.settle_logouts(origin, &client, state)?;
            }
            Ok(ended)
        }
        // Whom nobody can prove, nobody is sent to.
        Err(failure) => Err(failure),
    };
    let until = || {
        let ends = stored.session.expires_at.min(stored.session.idle_expires_at);
        times::local(ends, context.now())
    };
    match ended {
        Ok(Ended::AtDaemon) => {
            forget_here(context, origin, Some(stored), forget, None)?;
            context.terminal.say(&format!("logged out of {origin}"));
            Ok(Exit::Done)
        }
        Ok(Ended::NotTold(DaemonError::Untrusted(reason))) => {
            forget_here(context, origin, Some(stored), forget, None)?;
            context.terminal.warn(&format!(
                "logged out here, but {origin} was not told: it did not prove its identity ({reason})\n  \
                 the session ends by itself at {}, unless a service still uses its token",
                until()
            ));
            Ok(Exit::NotTold)
        }
        Ok(Ended::NotTold(error)) => {
            let pending = pending(origin, stored);
            forget_here(context, origin, Some(stored), forget, Some(pending))?;
            context.terminal.warn(&format!(
                "logged out here, but {origin} could not be told: {error}\n  \
                 the next `infra` command for it tells it; else the session ends by itself at {}",
                until()
            ));
            Ok(Exit::NotTold)
        }
        Err(failure) => {
            forget_here(context, origin, Some(stored), forget, None)?;
            context.terminal.warn(&format!("logged out here; the session ends by itself at {}", until()));
            failure.tell(context.terminal);
            Ok(Exit::NotTold)
        }
    }
}

/// Ends the session of `INFRA_TOKEN`. There is nothing here to forget.
fn log_out_environment(context: &Context, arguments: &Logout, state: &State) -> Result<Exit, Failure> {
    let origin = context.server(arguments.server.as_ref(), state)?.expect("INFRA_TOKEN names its server");
    let token = context.settings.token.as_ref().expect("it was there a moment ago");
    match end_session(&context.client(&origin, state)?, token) {
        Ended::AtDaemon => {
            context.terminal.say(&format!("the session of INFRA_TOKEN at {origin} is ended"));
            Ok(Exit::Done)
        }
        Ended::NotTold(error) => Err(error.into_failure(&origin)),
    }
}

/// Forgets the session, and with `forget` the server; keeps the proof for a daemon that could not be told.
fn forget_here(
    context: &Context,
    origin: &Origin,
    stored: Option<&Session>,
    forget: bool,
    pending: Option<PendingLogout>,
) -> Result<(), Failure> {
    let now = context.now();
    context.home.update(|state| {
        // A login that came in between stays.
        let is_the_same =
            |current: &Session| stored.is_some_and(|stored| stored.token.id() == current.token.id());
        if state.sessions.sessions.get(origin).is_some_and(is_the_same) {
            state.sessions.sessions.remove(origin);
        }
        state.sessions.pending_logouts.extend(pending);
        state.forget_expired_logouts(now);
        if forget {
            state.config.servers.remove(origin);
            state.sessions.pending_logouts.retain(|pending| pending.server != *origin);
            if state.config.current.as_ref() == Some(origin) {
                state.config.current = None;
            }
        }
    })?;
    if stored.is_some_and(|stored| stored.storage == Storage::FileAndKeyring)
        && let Err(error) = keyring::forget(origin)
    {
        context.terminal.warn(&format!("the copy of the token in the keyring stays: {error}"));
    }
    Ok(())
}

fn pending(origin: &Origin, stored: &Session) -> PendingLogout {
    PendingLogout {
        server: origin.clone(),
        id: stored.token.id().clone(),
        proof: stored.token.logout_proof().to_text(),
        expires_at: stored.session.expires_at,
    }
}
