//! `infra sessions revoke`: revokes sessions, the own one last.

use infra_shared::printable::{counted, printable};
use infra_shared::token_text::SessionID;

use super::super::{Ended, end_session, logout, unknown_token};
use super::{Asking, Context, MAX_CHARACTERS};
use crate::arguments::Revoke;
use crate::failure::{Exit, Failure};

pub(super) fn run(context: &Context, asking: &Asking<'_>, arguments: &Revoke) -> Result<Exit, Failure> {
    let (ended, ends_own, exit) = if arguments.ids.is_empty() {
        let user = arguments.user.as_deref();
        let others = asking.connection.client.end_other_sessions(&asking.token, user);
        let others = others.map_err(|error| asking.failure(&error))?;
        (others.ended, arguments.all && others.includes_current, Exit::Done)
    } else {
        end_named(context, asking, &arguments.ids)?
    };
    context.record_announcement(&asking.origin, &asking.connection);
    if ends_own {
        let own_exit = end_own(context, asking)?;
        if own_exit != Exit::Done {
            return Ok(own_exit);
        }
    }
    if ended > 0 {
        context.terminal.say(&told(ended));
    } else if arguments.others {
        context.terminal.say("there is no other session");
    } else if let (Some(user), false) = (&arguments.user, ends_own) {
        context.terminal.say(&format!(
            "there is no session of {} at {}",
            printable(user, MAX_CHARACTERS),
            asking.origin
        ));
    }
    Ok(exit)
}

/// Revokes these sessions except the own one. Returns how many, whether the own one is among them, and whether all
/// existed.
fn end_named(
    context: &Context,
    asking: &Asking<'_>,
    ids: &[SessionID],
) -> Result<(usize, bool, Exit), Failure> {
    let own = asking.token.id();
    let (mut ended, mut exit) = (0, Exit::Done);
    let mut seen = vec![own];
    for id in ids {
        if seen.contains(&id) {
            continue;
        }
        seen.push(id);
        match asking.connection.client.end_session(&asking.token, id) {
            Ok(true) => ended += 1,
            Ok(false) => {
                context.terminal.warn(&format!(
                    "there is no live session {id} that you may end: `infra sessions` lists yours"
                ));
                exit = Exit::Failed;
            }
            Err(error) => {
                let failure = asking.failure(&error);
                return Err(if ended == 0 {
                    failure
                } else {
                    failure.hint(format!("{} before that", told(ended)))
                });
            }
        }
    }
    Ok((ended, ids.contains(own), exit))
}

/// As `infra logout`: also deletes the token here.
fn end_own(context: &Context, asking: &Asking<'_>) -> Result<Exit, Failure> {
    if context.settings.token.is_none() {
        return logout::log_out(context, &asking.origin, &asking.state, false);
    }
    match end_session(&asking.connection.client, &asking.token) {
        Ended::AtDaemon => {
            context.terminal.say(&format!("the session of INFRA_TOKEN at {} is ended", asking.origin));
            Ok(Exit::Done)
        }
        Ended::Unknown => Err(unknown_token(&asking.origin)),
        Ended::NotTold(error) => Err(asking.failure(&error)),
    }
}

fn told(ended: usize) -> String {
    format!("ended {}", counted(ended, "other session"))
}
