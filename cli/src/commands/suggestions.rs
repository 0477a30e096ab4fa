//! Hints for a missing session: sign in, perhaps at a server with a similar name, or change `INFRA_TOKEN`.

use infra_shared::command_line::nearest;
use infra_shared::http::Untrusted;
use infra_shared::origin::Origin;
use infra_shared::token_text::SessionToken;

use super::{Context, default_server};
use crate::daemon_client::DaemonError;
use crate::failure::Failure;
use crate::home::State;

/// The known server whose name is most similar to an unknown one, without the scheme.
pub(super) fn similar_server(state: &State, origin: &Origin) -> Option<String> {
    let known: Vec<String> = state.config.servers.keys().map(short_name).collect();
    if state.config.servers.contains_key(origin) {
        return None;
    }
    // A daemon on this machine has several names, none of them similar.
    let mut here = state.config.servers.keys().filter(|known| known.is_loopback() && origin.is_loopback());
    let same_port = here.find(|known| known.port() == origin.port()).map(short_name);
    same_port
        .or_else(|| nearest(&short_name(origin), known.iter().map(String::as_str)).map(ToOwned::to_owned))
}

/// A sign-in would not help, because the variable replaces the stored session.
const OTHER_TOKEN: &str =
    "set INFRA_TOKEN to what `infra token` prints for a live session, or unset it and run `infra login`";

/// The delegated session has ended, or is about to.
const DELEGATE_AGAIN: &str = "end this command; outside of it, sign in with `infra login` if you have to, and start it again with \
                              `infra delegate`";

/// Suggests what to do about an `INFRA_TOKEN` that `origin` never issued: the server has received it, and could use it.
pub(super) fn unknown_token(origin: &Origin, token: &SessionToken) -> String {
    format!(
        "{origin} has received the token: if another server issued it, revoke it there with `infra sessions revoke {}`; \
         otherwise {OTHER_TOKEN}",
        token.id()
    )
}

/// The failure of a call. If nothing is stored about the server, only the environment can prove it: `infra trust` accepts
/// known servers, and `infra login` refuses to run with `INFRA_TOKEN`.
pub(super) fn call_failure(error: &DaemonError, origin: &Origin, is_known: bool) -> Failure {
    let failure = error.to_failure(origin);
    match error {
        DaemonError::Untrusted(
            Untrusted::UnknownAuthority | Untrusted::NoAuthoritySent | Untrusted::OtherPin { .. },
        ) if !is_known => failure.hint(format!(
            "set INFRA_FINGERPRINT to the fingerprint from the operator of {origin}, or INFRA_CA_FILE to the file of its \
             authority; if the variable is right, an attacker may be intercepting your connection"
        )),
        _ => failure,
    }
}

/// Suggests a sign-in at `origin`, or a known server with a similar name.
pub(super) fn login_command(context: &Context, state: &State, origin: &Origin) -> String {
    if context.settings.is_delegated {
        return DELEGATE_AGAIN.to_owned();
    }
    if context.settings.token.is_some() {
        return OTHER_TOKEN.to_owned();
    }
    match similar_server(state, origin) {
        Some(meant) => format!("`{meant}` if you mean that server, otherwise `infra login {origin}`"),
        None if default_server(state).as_ref() == Some(origin) => "`infra login`".to_owned(),
        None => format!("`infra login {origin}`"),
    }
}

/// Adds a similar known server to a failure at an unknown one.
pub(super) fn add_similar(failure: Failure, state: &State, origin: &Origin) -> Failure {
    match similar_server(state, origin) {
        Some(meant) => failure.hint_first(&format!("`infra login {meant}` if you mean that server")),
        None => failure,
    }
}

/// Without the scheme, which users need not type.
fn short_name(origin: &Origin) -> String {
    let whole = origin.to_string();
    whole.strip_prefix("https://").map(ToOwned::to_owned).unwrap_or(whole)
}
