//! `infrad sessions`: lists and revokes users' sessions through the running daemon.

use std::path::Path;
use std::process::ExitCode;

use infra_shared::api::{ListedSession, ListedSessions};
use infra_shared::printable::{counted, printable};
use infra_shared::table::align;
use infra_shared::token_text::SessionID;
use jiff::Timestamp;
use serde::Serialize;

use super::status::call_daemon;
use super::{Context, when};
use crate::arguments::SessionsCommand;
use crate::control::Operation;
use crate::failure::Failure;

/// Longest name to print.
const MAX_CHARACTERS: usize = 64;

#[derive(Serialize)]
struct Json<'a> {
    schema: u32,
    #[serde(flatten)]
    sessions: &'a ListedSessions,
}

pub(super) async fn run(context: &Context, command: &SessionsCommand) -> Result<ExitCode, Failure> {
    let data_dir = context.find_running()?;
    match command {
        SessionsCommand::List { user, json } => list(context, &data_dir, user.clone(), *json).await,
        SessionsCommand::Revoke { ids, .. } if !ids.is_empty() => end(context, &data_dir, ids).await,
        SessionsCommand::Revoke { user, .. } => {
            let ended: usize =
                call_daemon(&data_dir, Operation::RevokeSessions { user: user.clone() }).await?;
            match (ended, user) {
                (0, Some(user)) => {
                    context.terminal.warn(&format!(
                        "no live session belongs to a user {}: check the spelling with `infrad sessions list`",
                        printable(user, MAX_CHARACTERS)
                    ));
                    return Ok(ExitCode::FAILURE);
                }
                (0, None) => context.terminal.say("there are no live sessions"),
                _ => context.terminal.say(&summary(ended)),
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn list(
    context: &Context,
    data_dir: &Path,
    user: Option<String>,
    json: bool,
) -> Result<ExitCode, Failure> {
    let mut listed: ListedSessions = call_daemon(data_dir, Operation::Sessions { user }).await?;
    listed.sessions.sort_by(|one, other| {
        let order = |listed: &ListedSession| (listed.user.issuer.clone(), listed.user.subject.clone());
        order(one)
            .cmp(&order(other))
            .then(other.session.created_at.cmp(&one.session.created_at))
            .then(one.session.id.as_str().cmp(other.session.id.as_str()))
    });
    let text = if json {
        serde_json::to_string_pretty(&Json { schema: 1, sessions: &listed }).expect("plain JSON") + "\n"
    } else {
        table(&listed)
    };
    context.terminal.data(text).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}

/// Revokes each session. An unknown ID does not stop the others from being revoked.
async fn end(context: &Context, data_dir: &Path, ids: &[SessionID]) -> Result<ExitCode, Failure> {
    let (mut ended, mut gone) = (0, 0);
    for id in ids {
        if call_daemon(data_dir, Operation::RevokeSession { id: id.clone() }).await? {
            ended += 1;
            continue;
        }
        gone += 1;
        // The ID of an audience token looks the same, and its session is still live.
        let of_token = Operation::SessionOfAudienceToken { id: id.to_string() };
        let session: Option<SessionID> = call_daemon(data_dir, of_token).await?;
        context.terminal.warn(&match session {
            Some(session) => format!(
                "{id} is the ID of an audience token, and its session {session} is live: `infrad sessions revoke {session}`"
            ),
            None => format!("there is no live session {id}, and no live audience token with this ID"),
        });
    }
    context.terminal.say(&summary(ended));
    Ok(if gone == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn summary(ended: usize) -> String {
    format!("revoked {}", counted(ended, "session"))
}

fn table(listed: &ListedSessions) -> String {
    let head = ["ID", "USER", "OPENED", "LAST USED", "LEFT", "FROM"].map(str::to_owned).to_vec();
    let rows = listed.sessions.iter().map(|session| row(session, listed.now));
    align(head, rows)
}

fn row(listed: &ListedSession, now: Timestamp) -> Vec<String> {
    let left = listed.session.ends_at().duration_since(now);
    let minutes = left.as_mins().max(0);
    let delegation = listed.session.delegation.as_ref();
    let delegated = delegation.map(|it| format!("delegated to {} by {}", it.label, it.parent));
    let from = match &delegated {
        Some(_) => [delegated.as_deref(), listed.address.as_deref()],
        None => [listed.device.as_deref(), listed.address.as_deref()],
    };
    vec![
        listed.session.id.to_string(),
        printable(&listed.user.label(), MAX_CHARACTERS),
        when(listed.session.created_at),
        when(listed.last_used_at),
        if minutes < 60 {
            format!("{minutes} min")
        } else {
            format!("{} h {} min", minutes / 60, minutes % 60)
        },
        printable(&from.into_iter().flatten().collect::<Vec<_>>().join(" "), MAX_CHARACTERS),
    ]
}
