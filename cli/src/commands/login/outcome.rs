//! Failures of a sign-in, as shown to the user.

use infra_shared::api::{Provider, User};
use infra_shared::origin::Origin;
use infra_shared::printable::printable;

use super::super::times;
use crate::browser_login::{AuthorizationError, LoginError};
use crate::failure::{Exit, Failure};

/// Maximum length of a displayed issuer.
const MAX_CHARACTERS: usize = 256;

pub(super) fn failure(error: LoginError, origin: &Origin, provider: &str) -> Failure {
    match error {
        LoginError::NoRedirectURI => Failure::new(
            Exit::Failed,
            format!("{origin} names no address `http://127.0.0.1:PORT/callback` for `{provider}`"),
        )
        .hint("its operator sets `redirectPorts`"),
        LoginError::PortsTaken(ports) => ports_taken(&ports, origin, provider),
        LoginError::InvalidAuthorizationURL(reason) => Failure::new(
            Exit::Refused,
            format!("the address that {origin} wants the browser to open is not for this login"),
        )
        .because(&reason)
        .hint("tell the operator of the server: it does not do what it should"),
        LoginError::Refused(refusal) => refused(refusal, provider),
        LoginError::OtherIssuer => Failure::new(
            Exit::Refused,
            format!("the response came from another identity provider than `{provider}`, and was not used"),
        )
        .hint("`infra login` again; if it happens again, tell the operator of the server"),
        LoginError::NoBrowser => no_browser_failure("no program that BROWSER names has opened one"),
        LoginError::Handover(error) => Failure::new(
            Exit::Failed,
            "cannot hand the address to a browser: there is no terminal to show it, and no file for the browser",
        )
        .because(&error)
        .hint("`infra login --no-browser` prints the address and waits"),
        LoginError::TimedOut(timeout) => {
            let waited = jiff::SignedDuration::try_from(timeout).unwrap_or_default();
            Failure::new(Exit::Refused, format!("nobody signed in within {}", times::left(waited)))
                .hint(
                    "`infra login` again; `--no-browser` prints the address instead of opening it, and the variable \
                     `BROWSER` names another browser",
                )
        }
        LoginError::Interrupted => Failure::new(Exit::Interrupted, "interrupted: nothing has changed"),
        LoginError::Listener(error) => {
            Failure::new(Exit::Failed, "this machine cannot listen for the browser").because(&error)
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
        "the login was for {} ({}), and the session is one of {} ({})",
        chosen.name,
        printable(&chosen.issuer, MAX_CHARACTERS),
        user.provider,
        printable(&user.issuer, MAX_CHARACTERS)
    );
    Failure::new(
        Exit::Refused,
        format!("cannot use the session that {origin} opened: another identity provider"),
    )
    .because_text(reason)
    .hint("tell the operator of the server")
}

fn ports_taken(ports: &[u16], origin: &Origin, provider: &str) -> Failure {
    let ports = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Failure::new(
        Exit::Failed,
        format!("every port to which `{provider}` may send the browser back is in use on this machine: {ports}"),
    )
    .hint(format!(
        "close the program that has one of them (`ss -ltnp` lists them), or ask the operator of {origin} to register \
         another port"
    ))
}

fn refused(refusal: AuthorizationError, provider: &str) -> Failure {
    match refusal {
        AuthorizationError::AccessDenied => Failure::new(
            Exit::Refused,
            format!("`{provider}` did not sign you in: cancelled, or not allowed"),
        )
        .hint("`infra login` again, or ask who administers the identity provider for access"),
        AuthorizationError::Unavailable => {
            Failure::new(Exit::Unreachable, format!("`{provider}` has a problem of its own at the moment"))
                .hint("`infra login` again in a while")
        }
        AuthorizationError::Other(name) => {
            let failure = Failure::new(Exit::Refused, format!("`{provider}` refused the login"));
            match name {
                Some(name) => {
                    failure.hint(format!("tell the operator of the server: the provider answered `{name}`"))
                }
                None => failure.hint("tell the operator of the server"),
            }
        }
    }
}
