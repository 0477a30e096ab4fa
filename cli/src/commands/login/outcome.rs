//! Failures of a sign-in, as shown to the user.

use std::io;

use infra_shared::api::{Provider, User};
use infra_shared::origin::Origin;
use infra_shared::printable::printable;

use super::super::times;
use crate::browser_login::{AuthorizationError, LoginError};
use crate::failure::{Exit, Failure};
use crate::platform;

/// Maximum length of a displayed issuer.
const MAX_CHARACTERS: usize = 256;

pub(super) fn failure(error: LoginError, origin: &Origin, provider: &str) -> Failure {
    match error {
        LoginError::NoRedirectURI => Failure::new(
            Exit::Failed,
            format!("{origin} has no redirect address `http://127.0.0.1:PORT/callback` for `{provider}`"),
        )
        .hint("ask its operator to set `redirectPorts`"),
        LoginError::PortsTaken { ports, reasons } => ports_taken(&ports, &reasons, origin, provider),
        LoginError::InvalidAuthorizationURL(reason) => Failure::new(
            Exit::LoginFailed,
            format!("{origin} returned an address that does not belong to this sign-in"),
        )
        .because(&reason)
        .hint("report this to the server's operator"),
        LoginError::ProviderError(error) => provider_error_failure(error, provider),
        LoginError::OtherIssuer => Failure::new(
            Exit::LoginFailed,
            format!("the response came from another identity provider than `{provider}` and was rejected"),
        )
        .hint("`infra login` again; if it fails again, report this to the server's operator"),
        LoginError::NoBrowser => no_browser_failure("no program in BROWSER opened one"),
        LoginError::Handover(error) => Failure::new(
            Exit::Failed,
            "cannot pass the address to a browser: there is no terminal to show it, and its file cannot be written",
        )
        .because(&error)
        .hint("`infra login --no-browser` prints the address and waits"),
        LoginError::TimedOut(timeout) => {
            let waited = jiff::SignedDuration::try_from(timeout).unwrap_or_default();
            Failure::new(Exit::LoginFailed, format!("the sign-in was not completed within {}", times::left(waited)))
                .hint(
                    "`infra login` again; if the page of the identity provider did not load, `infra doctor` checks the provider; \
                     if no browser opened, use `--no-browser` to print the address, or set `BROWSER` to another browser",
                )
        }
        LoginError::Interrupted => Failure::new(Exit::Interrupted, "interrupted: nothing has changed"),
        LoginError::Listener(error) => {
            Failure::new(Exit::Failed, "cannot listen for the browser").because(&error)
        }
    }
}

/// There is no browser, and no terminal to show the address.
pub(super) fn no_browser_failure(why: &str) -> Failure {
    Failure::new(Exit::Usage, format!("cannot open a browser: there is no terminal, and {why}")).hint(
        "run `infra login` in a terminal (in a container: `docker run -it`, `docker exec -it`); or set BROWSER to a \
         program that opens one; or `infra login --no-browser` prints the address and waits",
    )
}

/// The daemon opened a session for a user of a different provider than the chosen one.
pub(super) fn other_provider_failure(origin: &Origin, chosen: &Provider, user: &User) -> Failure {
    let reason = format!(
        "you chose {} ({}), but the session is from {} ({})",
        chosen.name,
        printable(&chosen.issuer, MAX_CHARACTERS),
        user.provider,
        printable(&user.issuer, MAX_CHARACTERS)
    );
    Failure::new(
        Exit::LoginFailed,
        format!("cannot use the session that {origin} opened: it is from another identity provider"),
    )
    .because_text(reason)
    .hint("report this to the server's operator")
}

fn ports_taken(ports: &[u16], reasons: &[io::Error], origin: &Origin, provider: &str) -> Failure {
    let ports = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let reserved = platform::reserved_ports_hint(reasons);
    let state = if reserved.is_some() { "reserved or in use" } else { "in use" };
    let hint = reserved.map_or_else(
        || format!("close the program that uses one of them (`{}` shows it)", platform::LISTENERS_COMMAND),
        str::to_owned,
    );
    Failure::new(
        Exit::Failed,
        format!("cannot listen for the browser: every port that is registered for `{provider}` is {state}: {ports}"),
    )
    .hint(format!("{hint}, or ask the operator of {origin} to register another port"))
}

fn provider_error_failure(error: AuthorizationError, provider: &str) -> Failure {
    match error {
        AuthorizationError::AccessDenied => Failure::new(
            Exit::LoginFailed,
            format!("`{provider}` denied the sign-in: it was cancelled, or you are not allowed to sign in"),
        )
        .hint("`infra login` again, or ask the administrator of the identity provider for access"),
        AuthorizationError::Unavailable => {
            Failure::new(Exit::Unreachable, format!("`{provider}` is temporarily unavailable"))
                .hint("`infra login` again in a few minutes")
        }
        AuthorizationError::Other(name) => {
            let failure = Failure::new(Exit::LoginFailed, format!("`{provider}` rejected the sign-in"));
            let failure = match name {
                Some(name) => failure.because_text(format!("it returned the error `{name}`")),
                None => failure,
            };
            failure.hint("report this to the server's operator")
        }
    }
}
