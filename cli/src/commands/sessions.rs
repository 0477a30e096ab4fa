//! `infra sessions`: lists and revokes a user's sessions on all machines.

mod revoke;

use infra_shared::api::{Delegation, ListedSession, ListedSessions};
use infra_shared::origin::Origin;
use infra_shared::printable::printable;
use infra_shared::table::align;
use infra_shared::token_text::{SessionID, SessionToken};
use serde::Serialize;

use super::status::machine;
use super::{Context, session_token, times};
use crate::arguments::{Sessions, SessionsCommand};
use crate::daemon_client::DaemonError;
use crate::failure::{Exit, Failure};
use crate::home::State;
use crate::trust::Connection;

/// Maximum length of a displayed name.
const MAX_CHARACTERS: usize = 64;
/// Maximum length of the displayed audiences of a session.
const MAX_AUDIENCES: usize = 256;

/// Output of `infra sessions --json`, schema 1.
#[derive(Serialize)]
struct Json<'a> {
    schema: u32,
    server: &'a Origin,
    #[serde(flatten)]
    listed: &'a ListedSessions,
}

pub(super) fn run(context: &Context, arguments: &Sessions) -> Result<Exit, Failure> {
    if arguments.command.is_some() && (arguments.user.is_some() || arguments.json) {
        return Err(Failure::new(Exit::Usage, "`--user` and `--json` cannot be used before `revoke`")
            .hint("`infra sessions revoke --all --user USER`"));
    }
    let access = SessionAccess::begin(context)?;
    if let Some(SessionsCommand::Revoke(arguments)) = &arguments.command {
        return revoke::run(context, &access, arguments);
    }
    let listed = access.list(arguments.user.as_deref())?;
    if arguments.json {
        context.terminal.json(&Json { schema: 1, server: &access.origin, listed: &listed })?;
    } else if let (true, Some(user)) = (listed.sessions.is_empty(), &arguments.user) {
        context.terminal.info(&format!(
            "{} has no session at {}",
            printable(user, MAX_CHARACTERS),
            access.origin
        ));
    } else {
        context.terminal.data(&table(context, &listed, arguments.user.is_some()))?;
    }
    context.store_ca_rollover(&access.origin, &access.connection);
    Ok(Exit::Done)
}

/// A server and the session token to authenticate with.
struct SessionAccess<'a> {
    context: &'a Context,
    origin: Origin,
    token: SessionToken,
    connection: Connection,
    state: State,
}

impl<'a> SessionAccess<'a> {
    fn begin(context: &'a Context) -> Result<Self, Failure> {
        let state = context.home.read()?;
        let origin = context.server(None, &state)?.ok_or_else(|| session_token::no_server(context))?;
        let stored = || state.sessions.sessions.get(&origin).map(|session| session.token.clone());
        let token = context.settings.token.clone().or_else(stored);
        let Some(token) = token else {
            context.deliver_logouts(&origin, &state);
            return Err(session_token::not_signed_in(context, &state, &origin));
        };
        let connection =
            context.connect_and_deliver(&origin, &state).map_err(|error| error.to_failure(&origin))?;
        Ok(Self { context, origin, token, connection, state })
    }

    fn list(&self, user: Option<&str>) -> Result<ListedSessions, Failure> {
        self.connection.client.sessions(&self.token, user).map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &DaemonError) -> Failure {
        session_token::failed_call(self.context, &self.state, &self.origin, error)
    }
}

/// One line for each session, delegated ones under their parents, with the user if `with_user` is set.
fn table(context: &Context, listed: &ListedSessions, with_user: bool) -> String {
    let mut head = vec!["ID", "OPENED", "LAST USED", "LEFT", "FROM"];
    if with_user {
        head.insert(1, "USER");
    }
    let head: Vec<String> = head.into_iter().map(ToOwned::to_owned).collect();
    let rows = families(&listed.sessions).into_iter().map(|session| {
        let mut row = row(context, session, listed.now);
        if with_user {
            row.insert(1, printable(&session.user.label(), MAX_CHARACTERS));
        }
        row
    });
    align(head, rows)
}

/// The sessions in their order, each followed by those that it delegated. One without its parent stays where it is.
fn families(sessions: &[ListedSession]) -> Vec<&ListedSession> {
    let parent = |listed: &ListedSession| listed.session.delegation.as_ref().map(|it| it.parent.clone());
    let is_listed = |id: &SessionID| sessions.iter().any(|listed| listed.session.id == *id);
    let first = sessions.iter().filter(|listed| parent(listed).is_none_or(|parent| !is_listed(&parent)));
    let family = |first: &ListedSession| {
        let id = first.session.id.clone();
        sessions.iter().filter(move |listed| parent(listed).as_ref() == Some(&id))
    };
    first.flat_map(|first| std::iter::once(first).chain(family(first))).collect()
}

fn row(context: &Context, listed: &ListedSession, daemon_now: jiff::Timestamp) -> Vec<String> {
    let now = context.now();
    // In the local clock's time, which the reader uses.
    let here = |moment: jiff::Timestamp| {
        let ago = daemon_now.duration_since(moment);
        times::local(now.checked_sub(ago).unwrap_or(moment), now)
    };
    let left = listed.session.ends_at().duration_since(daemon_now);
    let delegation = listed.session.delegation.as_ref();
    let this = if listed.current { "; this session" } else { "" };
    vec![
        format!("{}{}", if delegation.is_some() { "  " } else { "" }, listed.session.id),
        here(listed.session.created_at),
        here(listed.last_used_at),
        times::left(left),
        format!("{}{this}", delegation.map_or_else(|| machine(listed), delegated)),
    ]
}

/// The command that has the session, and the services that it may use.
fn delegated(Delegation { parent: _, audiences, label }: &Delegation) -> String {
    let audiences = printable(&audiences.join(", "), MAX_AUDIENCES);
    format!("delegated to {} for {audiences}", printable(label, MAX_CHARACTERS))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listed(id: &str, parent: Option<&str>) -> ListedSession {
        let delegation =
            parent.map(|parent| json!({"parent": parent, "audiences": ["wiki"], "label": "agent"}));
        let time = "2026-11-23T08:00:00Z";
        let session = json!({
            "id": id, "createdAt": time, "expiresAt": time, "idleExpiresAt": time, "delegation": delegation,
            "lastUsedAt": time, "device": null, "loginMethod": "browser", "address": null, "current": false,
            "user": {"name": null, "email": null, "provider": "okta", "issuer": "https://okta.test",
                     "subject": "00u1"},
        });
        serde_json::from_value(session).expect("a session")
    }

    #[test]
    fn delegated_sessions_follow_their_parents() {
        let [one, two, absent] = ["1111111111", "2222222222", "3333333333"];
        let sessions = [
            listed("aaaaaaaaaa", Some(two)),
            listed("bbbbbbbbbb", Some(one)),
            listed("cccccccccc", Some(absent)),
            listed(one, None),
            listed("dddddddddd", Some(one)),
            listed(two, None),
        ];
        let ids: Vec<&str> =
            families(&sessions).into_iter().map(|listed| listed.session.id.as_str()).collect();
        assert_eq!(ids, ["cccccccccc", one, "bbbbbbbbbb", "dddddddddd", two, "aaaaaaaaaa"]);
    }
}
