//! `infra sessions revoke`: ends sessions, the own one last.

use infra_shared::token_text::SessionID;

use super::super::{Ended, end_session, logout};
use super::{Asking, Context};
use crate::arguments::Revoke;
use crate::failure::{Exit, Failure};

pub(super) fn run(context: &Context, asking: &Asking, arguments: &Revoke) -> Result<Exit, Failure> {
    let ids = chosen(asking, arguments)?;
    let own = asking.token.id();
    let (mut ended, mut exit) = (0, Exit::Done);
    for id in ids.iter().filter(|id| *id != own) {
        match asking.reach.client.end_session(&asking.token, id) {
            Ok(true) => ended += 1,
            // Listed a moment ago, it has ended meanwhile; named, it may be a mistake.
            Ok(false) if arguments.ids.is_empty() => {}
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
    context.heed(&asking.origin, &asking.reach);
    if ids.contains(own) {
        let own_exit = end_own(context, asking)?;
        if own_exit != Exit::Done {
            return Ok(own_exit);
        }
    }
    if ended > 0 {
        context.terminal.say(&told(ended));
    } else if arguments.others {
        context.terminal.say("there is no other session");
    }
    Ok(exit)
}

/// What is to be ended, each once.
fn chosen(asking: &Asking, arguments: &Revoke) -> Result<Vec<SessionID>, Failure> {
    let mut ids = arguments.ids.clone();
    if ids.is_empty() {
        let listed = asking.list(arguments.user.as_deref())?.sessions.into_iter();
        ids = listed
            .filter(|listed| arguments.all || !listed.current)
            .map(|listed| listed.session.id)
            .collect();
    }
    let mut seen = Vec::new();
    for id in ids {
        if !seen.contains(&id) {
            seen.push(id);
        }
    }
    Ok(seen)
}

/// As `infra logout` does: the token is dropped here, too.
fn end_own(context: &Context, asking: &Asking) -> Result<Exit, Failure> {
    if context.settings.token.is_none() {
        return logout::log_out(context, &asking.origin, &asking.state, false);
    }
    match end_session(&asking.reach.client, &asking.token) {
        Ended::AtDaemon => {
            context.terminal.say(&format!("the session of INFRA_TOKEN at {} is ended", asking.origin));
            Ok(Exit::Done)
        }
        Ended::NotTold(error) => Err(asking.failure(&error)),
    }
}

fn told(ended: usize) -> String {
    if ended == 1 { "ended 1 other session".to_owned() } else { format!("ended {ended} other sessions") }
}
