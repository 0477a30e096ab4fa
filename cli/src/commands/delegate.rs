//! `infra delegate`: runs a command with a session of its own, which is limited to some services and ends with the command.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use infra_shared::api::{DelegationRequest, MAX_DELEGATED_AUDIENCES, ProblemCode, is_label};
use infra_shared::origin::Origin;
use infra_shared::printable::printable;
use jiff::{SignedDuration, Timestamp};

use super::{Context, revoke_own_session, session_token, times};
use crate::arguments::Delegate;
use crate::daemon_client::{DaemonError, DelegatedSession};
use crate::failure::{Exit, Failure};
use crate::home::{State, TrustRecord};
use crate::platform;
use crate::settings;

/// Label of a command whose name has no character of a label.
const UNNAMED: &str = "command";
const MAX_LABEL: usize = 32;
/// Maximum length of displayed names.
const MAX_CHARACTERS: usize = 256;

pub(super) fn run(context: &Context, arguments: &Delegate) -> Result<Exit, Failure> {
    let (program, rest) = arguments.command.split_first().expect("the arguments have a command");
    let (origin, state, token) = session_token::obtain(context, None, SignedDuration::ZERO)?;
    let connection =
        context.connect_and_deliver(&origin, &state).map_err(|error| error.to_failure(&origin))?;
    let request = request(arguments, program)?;
    // Before the session exists, so that no signal leaves it behind.
    let runner = platform::CommandRunner::prepare()
        .map_err(|error| Failure::new(Exit::Failed, "cannot run a command").because(&error))?;
    // Read before the request, so that a slow response never makes the expiry late.
    let before = context.now();
    let delegated = connection
        .client
        .delegate(&token, &request)
        .map_err(|error| request_failure(context, &state, (&origin, &request), &error))?;
    context.store_ca_rollover(&origin, &connection);
    let left = delegated.session.expires_at.duration_since(delegated.now);
    report_shortened(context, &origin, left, SignedDuration::from_secs(request.lifetime_seconds.into()));
    let mut command = Command::new(program);
    command.args(rest);
    set_environment(context, &mut command, &origin, &delegated, connection.record());
    let ran = runner.run(command);
    end(context, &origin, &state, &delegated, before.checked_add(left).unwrap_or(before));
    let error = match ran {
        Ok(status) => platform::exit_as(status),
        Err(error) => error,
    };
    let shown = program.to_string_lossy().into_owned();
    Err(Failure::new(Exit::Failed, format!("cannot run `{shown}`"))
        .because(&error)
        .hint("check the command's name and PATH"))
}

fn request(arguments: &Delegate, program: &OsStr) -> Result<DelegationRequest, Failure> {
    let audiences: Vec<String> =
        arguments.audiences.iter().map(|audience| audience.trim().to_owned()).collect();
    // From an unset variable of a script.
    if audiences.iter().any(String::is_empty) {
        return Err(Failure::new(Exit::Usage, "the name of a service is empty")
            .hint("give `--audience` the services of the command, with commas between them"));
    }
    if audiences.len() > MAX_DELEGATED_AUDIENCES {
        let most = format!("a session can be delegated for {MAX_DELEGATED_AUDIENCES} services at most");
        return Err(Failure::new(Exit::Usage, most).hint("leave out those that the command does not use"));
    }
    Ok(DelegationRequest {
        audiences,
        lifetime_seconds: u32::try_from(arguments.lifetime.as_secs()).unwrap_or(u32::MAX),
        label: arguments.name.clone().unwrap_or_else(|| label_of(program)),
    })
}

/// The name of a program as a label.
fn label_of(program: &OsStr) -> String {
    let name = Path::new(program).file_name().unwrap_or(program).to_string_lossy().to_ascii_lowercase();
    let plain = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
    let label: String = name.chars().map(plain).take(MAX_LABEL).collect();
    let label = label.trim_matches('-');
    if is_label(label) { label.to_owned() } else { UNNAMED.to_owned() }
}

fn report_shortened(context: &Context, origin: &Origin, left: SignedDuration, wanted: SignedDuration) {
    // Expiry times are whole seconds.
    if left + SignedDuration::from_secs(2) < wanted {
        let (left, wanted) = times::distinct(left, wanted);
        context.terminal.info(&format!(
            "the delegated session lasts {left} instead of {wanted}: it ends with your session at {origin}, or at the \
             server's `sessions.lifetime`"
        ));
    }
}

/// Makes every `infra` that the command runs use the delegated session and nothing else.
fn set_environment(
    context: &Context,
    command: &mut Command,
    origin: &Origin,
    delegated: &DelegatedSession,
    trust: &TrustRecord,
) {
    for other in settings::OTHER_CREDENTIALS.into_iter().chain([settings::AUDIENCE_TOKEN]) {
        command.env_remove(other);
    }
    command.env(settings::TOKEN, delegated.token.expose()).env(settings::SERVER, origin.to_string());
    if let Some(delegation) = &delegated.session.delegation {
        command.env(settings::DELEGATED, &delegation.label);
    }
    let is_trust_given = context.settings.fingerprint.is_some() || context.settings.ca_file.is_some();
    if let (TrustRecord::Pinned { pin }, false) = (trust, is_trust_given) {
        // For a container, which has no `~/.infra`.
        command.env(settings::FINGERPRINT, pin.to_string());
    }
}

/// Ends the delegated session. `expires_at` is by the local clock.
fn end(
    context: &Context,
    origin: &Origin,
    state: &State,
    delegated: &DelegatedSession,
    expires_at: Timestamp,
) {
    // The command may have taken hours, in which the server's identity may have changed.
    let current = context.home.read();
    let connection = context.connect(origin, current.as_ref().unwrap_or(state));
    let ended = connection.map_err(|error| error.to_failure(origin)).and_then(|connection| {
        revoke_own_session(&connection.client, &delegated.token).map_err(|error| error.to_failure(origin))
    });
    if let Err(failure) = ended {
        let id = &delegated.session.id;
        context.terminal.warn(&format!(
            "cannot end the delegated session {id} at {origin}: {failure}; it expires {}, or end it with \
             `infra sessions revoke {id}`",
            times::at(expires_at, context.now())
        ));
    }
}

fn request_failure(
    context: &Context,
    state: &State,
    (origin, request): (&Origin, &DelegationRequest),
    error: &DaemonError,
) -> Failure {
    let services = printable(&request.audiences.join(", "), MAX_CHARACTERS);
    match error.problem() {
        Some(ProblemCode::NotFound) => Failure::new(
            error.exit(),
            format!("{origin} has no service with one of these names: {services}"),
        )
        .because(error)
        .hint(
            "check the spelling: each must be the audience or the name that the service's operator gave you",
        ),
        Some(ProblemCode::Forbidden) => Failure::new(
            error.exit(),
            format!("{origin} does not admit you to one of these services: {services}"),
        )
        .because(error)
        .hint(format!("ask the operator of {origin} for access, and show this message")),
        Some(ProblemCode::TooManyRequests) => Failure::new(
            Exit::Unreachable,
            format!("{origin} opens no more delegated sessions now: your session has too many live ones"),
        )
        .because(error)
        .hint("`infra sessions` lists them: end one with `infra sessions revoke ID`"),
        _ => session_token::failed_call(context, state, origin, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_of_program_is_always_a_label() {
        for (program, label) in [
            ("claude", "claude"),
            ("./nightly_report.sh", "nightly-report-sh"),
            ("/opt/Agent 2/bin/Agent", "agent"),
            ("--help", "help"),
            ("é", UNNAMED),
            ("", UNNAMED),
            ("/", UNNAMED),
        ] {
            assert_eq!(label_of(OsStr::new(program)), label, "{program:?}");
            assert!(is_label(label));
        }
        assert!(is_label(&label_of(OsStr::new(&"a".repeat(100)))));
    }
}
