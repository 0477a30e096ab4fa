//! `infra logout`: revokes the session at the daemon, then deletes it here.

use infra_shared::api::ProblemCode;
use infra_shared::origin::Origin;
use infra_shared::token_text::SessionToken;

use super::{
    ClientError, Context, changed_entry_warning, concurrent, missing_home_note, revoke_own_session,
    suggestions, times,
};
use crate::arguments::Logout;
use crate::daemon_client::{DaemonClient, DaemonError};
use crate::failure::{Exit, Failure};
use crate::home::{PendingLogout, Session, State, Storage};
use crate::keyring::StoredEntry;

const NO_SERVER: &str = "not signed in: no server is known here";

pub(super) fn run(context: &Context, arguments: &Logout) -> Result<Exit, Failure> {
    let state = context.home.read()?;
    if arguments.all || arguments.forget {
        context.expect_undelegated("use `--all` or `--forget`")?;
    }
    if context.settings.token.is_some() && (arguments.all || arguments.forget) {
        return Err(Failure::new(
            Exit::Usage,
            "cannot use `--all` or `--forget` while INFRA_TOKEN is set, because it overrides the stored sessions",
        )
        .hint("unset INFRA_TOKEN"));
    }
    if let Some(parent) = context.missing_home_parent() {
        context.terminal.info(&format!("note: {}", missing_home_note(&parent)));
    }
    if arguments.all {
        let mut exit = Exit::Done;
        let known = state.config.servers.keys();
        let pending = state.sessions.pending_logouts.iter().map(|pending| &pending.server);
        let servers: std::collections::BTreeSet<_> =
            known.chain(state.sessions.sessions.keys()).chain(pending).cloned().collect();
        if servers.is_empty() {
            context.terminal.info(NO_SERVER);
        }
        let servers: Vec<Origin> = servers.into_iter().collect();
        let mut failed: Option<Failure> = None;
        // A failure at one server does not stop the sign-out at the others.
        for result in
            concurrent::for_each(&servers, |origin| log_out(context, origin, &state, arguments.forget))
        {
            match result {
                Ok(Exit::Done) => {}
                Ok(_) => exit = Exit::NotRevoked,
                Err(failure) => {
                    if let Some(before) = failed.replace(failure) {
                        context.terminal.fail(&before);
                    }
                }
            }
        }
        return failed.map_or(Ok(exit), Err);
    }
    let Some(origin) = context.server(arguments.server.as_ref(), &state)? else {
        context.terminal.info(NO_SERVER);
        return Ok(Exit::Done);
    };
    match &context.settings.token {
        Some(token) => {
            let connection = context.connect(&origin, &state).map_err(|error| error.to_failure(&origin))?;
            log_out_environment(context, (&origin, &state), &connection.client, token)
        }
        None => log_out(context, &origin, &state, arguments.forget),
    }
}

/// Signs out of `origin`.
pub(super) fn log_out(
    context: &Context,
    origin: &Origin,
    state: &State,
    forget: bool,
) -> Result<Exit, Failure> {
    let Some(stored) = state.sessions.sessions.get(origin) else {
        return retry_log_out(context, origin, state, forget);
    };
    let error = match context.connect(origin, state) {
        Ok(connection) => match revoke_own_session(&connection.client, &stored.token) {
            Ok(()) => {
                let forgotten = context
                    .retry_logouts(origin, &connection.client, state)
                    .and_then(|_| delete_local(context, origin, Some(stored), forget, None));
                if let Err(failure) = forgotten {
                    context.terminal.warn(&format!(
                        "the session at {origin} was revoked, but its token is still stored here"
                    ));
                    return Err(failure);
                }
                context.store_ca_rollover(origin, &connection);
                context.terminal.info(&format!("signed out of {origin}"));
                report_forgotten(context, origin, state, forget);
                return Ok(Exit::Done);
            }
            Err(error) => error,
        },
        Err(ClientError::Daemon(error)) => error,
        Err(ClientError::InvalidTrustOptions(failure)) => return Err(failure),
    };
    // Nothing is sent to an untrusted server, now or later. With `--forget`, no logout proof is kept.
    let is_untrusted = matches!(error, DaemonError::Untrusted(_));
    let pending = (!is_untrusted && !forget).then(|| PendingLogout::new(origin, stored));
    let is_kept = pending.is_some();
    delete_local(context, origin, Some(stored), forget, pending)?;
    let (ends, latest) = (stored.session.ends_at(), stored.session.expires_at);
    let [ends, latest] = [ends, latest].map(|moment| times::at(moment, context.now()));
    context.terminal.fail(&error.to_failure(origin));
    context.terminal.warn(&if is_kept {
        format!(
            "signed out here, but the sign-out could not be delivered to {origin}; the next `infra status`, `login` or \
             `logout` delivers it, otherwise the session expires {latest} at the latest"
        )
    } else {
        format!(
            "signed out here, but the sign-out was not delivered to {origin}; the session expires {ends}, or later if a \
             service still uses its token"
        )
    });
    report_forgotten(context, origin, state, forget);
    Ok(Exit::NotRevoked)
}

/// Confirms what `--forget` deleted besides the session.
fn report_forgotten(context: &Context, origin: &Origin, state: &State, forget: bool) {
    if forget && (state.config.servers.contains_key(origin) || state.has_pending_logout(origin)) {
        context.terminal.info(&format!("forgot {origin}: nothing about it is stored here now"));
    }
}

/// There is no session here, but there may be a sign-out that the daemon has not received.
fn retry_log_out(context: &Context, origin: &Origin, state: &State, forget: bool) -> Result<Exit, Failure> {
    let (delivered, error) = if state.has_pending_logout(origin) {
        match context.connect(origin, state) {
            Ok(connection) => context.retry_logouts(origin, &connection.client, state)?,
            Err(ClientError::Daemon(error)) => (0, Some(error)),
            Err(ClientError::InvalidTrustOptions(failure)) => return Err(failure),
        }
    } else {
        (0, None)
    };
    if forget {
        delete_local(context, origin, None, forget, None)?;
    }
    let exit = match error {
        None => {
            context.terminal.info(&if delivered > 0 {
                format!("not signed in to {origin}; the earlier sign-out has now been delivered")
            } else {
                match suggestions::similar_server(state, origin) {
                    Some(similar) => format!(
                        "not signed in to {origin}, which is not known here; did you mean `{similar}`?"
                    ),
                    None => format!("not signed in to {origin}"),
                }
            });
            Exit::Done
        }
        Some(error) => {
            context.terminal.fail(&error.to_failure(origin));
            context.terminal.warn(&format!("the earlier sign-out could still not be delivered to {origin}"));
            Exit::NotRevoked
        }
    };
    report_forgotten(context, origin, state, forget);
    Ok(exit)
}

/// Revokes the session of `token`, which `INFRA_TOKEN` holds. A token that the daemon does not know is an error, because
/// a leaked one may still be valid elsewhere.
pub(super) fn log_out_environment(
    context: &Context,
    (origin, state): (&Origin, &State),
    client: &DaemonClient,
    token: &SessionToken,
) -> Result<Exit, Failure> {
    let what = match client.log_out(token) {
        Ok(()) => "was revoked",
        Err(error) if error.problem() == Some(ProblemCode::NotAuthenticated) => {
            // Only this request tells an ended session from an unknown token.
            match client.session(token).map_err(|error| error.problem()) {
                Err(Some(ProblemCode::SessionRevoked)) => "had already been revoked",
                Err(Some(ProblemCode::SessionExpired)) => "had already expired",
                Err(Some(ProblemCode::NotAuthenticated)) => return Err(unknown_token_failure(origin)),
                _ => return Err(error.to_failure(origin)),
            }
        }
        Err(error) => {
            return Err(suggestions::call_failure(&error, origin, state.trust(origin).is_some()));
        }
    };
    context.terminal.info(&format!("the session of INFRA_TOKEN at {origin} {what}"));
    Ok(Exit::Done)
}

fn unknown_token_failure(origin: &Origin) -> Failure {
    Failure::new(Exit::Failed, "the daemon does not know this token: no session was revoked").because_text(
        format!("{origin} never issued INFRA_TOKEN, it was changed, or its session ended long ago"),
    )
}

/// Deletes the session, and with `forget` the server. Stores `pending` for a later attempt.
fn delete_local(
    context: &Context,
    origin: &Origin,
    stored: Option<&Session>,
    forget: bool,
    pending: Option<PendingLogout>,
) -> Result<(), Failure> {
    let now = context.now();
    context.home.update(|state| {
        // A session from a concurrent sign-in stays.
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
    if let Some(stored) = stored.filter(|stored| stored.storage == Storage::FileAndKeyring) {
        match context.keyring.forget(origin, &stored.token) {
            Ok(StoredEntry::Token | StoredEntry::Missing) => {}
            Ok(StoredEntry::Other) => context.terminal.warn(&changed_entry_warning(origin)),
            Err(error) => context.terminal.warn(&format!(
                "cannot remove the copy of the token from the keyring: {error}; remove the entry `infra` of {origin} in \
                 your desktop's password manager"
            )),
        }
    }
    Ok(())
}
