//! What to try where there is no session: a login, at the server that is probably meant; or another token in `INFRA_TOKEN`.

use infra_shared::command_line::nearest;
use infra_shared::origin::Origin;

use super::{Context, usual_server};
use crate::daemon_client::DaemonError;
use crate::failure::{Exit, Failure};
use crate::home::State;

/// The known server whose name is nearly that of an unknown one, as it is typed.
pub(super) fn server(state: &State, origin: &Origin) -> Option<String> {
    let known: Vec<String> = state.config.servers.keys().map(typed).collect();
    if state.config.servers.contains_key(origin) {
        return None;
    }
    nearest(&typed(origin), known.iter().map(String::as_str)).map(ToOwned::to_owned)
}

/// A login would not help: the variable stands in for the stored session.
const OTHER_TOKEN: &str =
    "set INFRA_TOKEN to a token that `infra token` prints for a live session, or unset it and `infra login`";

/// A call with the session's token that failed.
pub(super) fn failed_call(context: &Context, state: &State, origin: &Origin, error: &DaemonError) -> Failure {
    let failure = error.to_failure(origin);
    if error.exit() == Exit::LoginNeeded { failure.hint(login(context, state, origin)) } else { failure }
}

/// How to get a session at `origin`, or the question whether another server is meant.
pub(super) fn login(context: &Context, state: &State, origin: &Origin) -> String {
    if context.settings.token.is_some() {
        return OTHER_TOKEN.to_owned();
    }
    match server(state, origin) {
        Some(meant) => format!("`{meant}`, if that is meant; else `infra login {origin}`"),
        None if usual_server(state).as_ref() == Some(origin) => "`infra login`".to_owned(),
        None => format!("`infra login {origin}`"),
    }
}

/// A failure at an unknown server may be one of spelling.
pub(super) fn asked(failure: Failure, state: &State, origin: &Origin) -> Failure {
    match server(state, origin) {
        Some(meant) => failure.hint_first(&format!("`infra login {meant}`, if that is meant")),
        None => failure,
    }
}

/// Without the scheme, which nobody needs to type.
fn typed(origin: &Origin) -> String {
    let whole = origin.to_string();
    whole.strip_prefix("https://").map(ToOwned::to_owned).unwrap_or(whole)
}
