//! `infra sessions`: lists and revokes a user's sessions on all machines.

mod revoke;

use infra_shared::api::{ListedSession, ListedSessions};
use infra_shared::origin::Origin;
use infra_shared::printable::printable;
use infra_shared::table::align;
use infra_shared::token_text::SessionToken;
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

/// One line for each session, with the user if `with_user` is set.
fn table(context: &Context, listed: &ListedSessions, with_user: bool) -> String {
    let mut head = vec!["ID", "OPENED", "LAST USED", "LEFT", "FROM"];
    if with_user {
        head.insert(1, "USER");
    }
    let head: Vec<String> = head.into_iter().map(ToOwned::to_owned).collect();
    let rows = listed.sessions.iter().map(|session| {
        let mut row = row(context, session, listed.now);
        if with_user {
            row.insert(1, printable(&session.user.label(), MAX_CHARACTERS));
        }
        row
    });
    align(head, rows)
}

fn row(context: &Context, listed: &ListedSession, daemon_now: jiff::Timestamp) -> Vec<String> {
    let now = context.now();
    // In the local clock's time, which the reader uses.
    let here = |moment: jiff::Timestamp| {
        let ago = daemon_now.duration_since(moment);
        times::local(now.checked_sub(ago).unwrap_or(moment), now)
    };
    let left = listed.session.ends_at().duration_since(daemon_now);
    let this = if listed.current { "; this session" } else { "" };
    vec![
        listed.session.id.to_string(),
        here(listed.session.created_at),
        here(listed.last_used_at),
        times::left(left),
        format!("{}{this}", machine(listed)),
    ]
}
