//! `infra sessions revoke`: revokes sessions, the own one last.

use infra_shared::printable::{counted, printable};
use infra_shared::token_text::SessionID;

use super::super::logout;
use super::{Context, MAX_CHARACTERS, SessionAccess};
use crate::arguments::Revoke;
use crate::failure::{Exit, Failure};

pub(super) fn run(
    context: &Context,
    access: &SessionAccess<'_>,
    arguments: &Revoke,
) -> Result<Exit, Failure> {
    let (ended, revokes_own, exit) = if arguments.ids.is_empty() {
        let user = arguments.user.as_deref();
        let others = access.connection.client.revoke_other_sessions(&access.token, user);
        let others = others.map_err(|error| access.failure(&error))?;
        (others.revoked, arguments.all && others.includes_current, Exit::Done)
    } else {
        revoke_named(context, access, &arguments.ids)?
    };
    context.store_ca_rollover(&access.origin, &access.connection);
    if revokes_own {
        let own_exit = revoke_own(context, access)?;
        if own_exit != Exit::Done {
            return Ok(own_exit);
        }
    }
    if ended > 0 {
        let is_other = arguments.ids.is_empty() && arguments.user.is_none();
        let thing = if is_other { "other session" } else { "session" };
        context.terminal.info(&format!("revoked {}", counted(ended, thing)));
    } else if arguments.others {
        context.terminal.info("you have no other session");
    } else if let (Some(user), false) = (&arguments.user, revokes_own) {
        context.terminal.info(&format!(
            "{} has no session at {}",
            printable(user, MAX_CHARACTERS),
            access.origin
        ));
    }
    Ok(exit)
}

/// Revokes these sessions except the own one. Returns how many, whether the own one is among them, and whether all
/// existed.
fn revoke_named(
    context: &Context,
    access: &SessionAccess<'_>,
    ids: &[SessionID],
) -> Result<(usize, bool, Exit), Failure> {
    let own = access.token.id();
    let (mut ended, mut exit) = (0, Exit::Done);
    let mut seen = vec![own];
    for id in ids {
        if seen.contains(&id) {
            continue;
        }
        seen.push(id);
        match access.connection.client.revoke_session_by_id(&access.token, id) {
            Ok(true) => ended += 1,
            Ok(false) => {
                context.terminal.warn(&format!(
                    "there is no session {id} that you may revoke: `infra sessions` lists yours"
                ));
                exit = Exit::Failed;
            }
            Err(error) => {
                let failure = access.failure(&error);
                return Err(if ended == 0 {
                    failure
                } else {
                    failure.note(format!("{} revoked before that", counted(ended, "session")))
                });
            }
        }
    }
    Ok((ended, ids.contains(own), exit))
}

/// As `infra logout`: also deletes the token here.
fn revoke_own(context: &Context, access: &SessionAccess<'_>) -> Result<Exit, Failure> {
    match &context.settings.token {
        Some(token) => {
            let server = (&access.origin, &access.state);
            logout::log_out_environment(context, server, &access.connection.client, token)
        }
        None => logout::log_out(context, &access.origin, &access.state, false),
    }
}
