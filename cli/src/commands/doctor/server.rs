//! Checks a server: the proxy, reachability, its identity and its clock.

use std::time::{Duration, Instant};

use infra_shared::api::{Provider, Server};
use infra_shared::http::{Proxies, Untrusted};
use infra_shared::origin::Origin;
use infra_shared::printable::printable;
use jiff::{SignedDuration, Timestamp};

use super::super::{ClientError, times};
use super::network::run_all;
use super::{Check, Context, TIMEOUT};
use crate::daemon_client::{DaemonError, UNREACHABLE_HINT};
use crate::home::{Session, State, TrustRecord};
use crate::platform::CLOCK_HINT;
use crate::proxy::{self, Route};
use crate::trust::{Connection, binding_pin, check_address};

/// Maximum length of a displayed version.
const MAX_VERSION: usize = 40;
const MAX_ENTRY: usize = 100;
const DATES_HINT: &str = "compare this machine's clock with another: set it by NTP if it is wrong, or else tell the server's operator";
const CERTIFICATE_HINT: &str = "tell the server's operator: `infrad status` names the certificate";
const EXEMPTIONS_HINT: &str = "write names without port, scheme and `*` (`corp.example.com` includes all names below it), addresses, or \
                               networks such as `10.0.0.0/8`; `*` alone exempts everything";

/// Result of contacting a server.
pub(super) struct ServerChecks {
    pub(super) checks: Vec<Check>,
    pub(super) providers: Vec<Provider>,
    /// Whether the server has another time than this machine.
    pub(super) is_clock_wrong: bool,
}

/// A server that responded, its trust record, and the time and duration of the request.
struct ServerResponse {
    record: TrustRecord,
    server: Server,
    before: Timestamp,
    took: Duration,
}

/// Contacts all of `servers` concurrently.
pub(super) fn contact_all(context: &Context, servers: &[Origin], state: &State) -> Vec<ServerChecks> {
    let jobs = servers.iter().map(|origin| {
        let (connection, before) = (context.connect(origin, state), context.now());
        Box::new(move || contact(&connection?, before)) as Box<dyn FnOnce() -> _ + Send>
    });
    let results = run_all(jobs.collect());
    let response = servers.iter().zip(results);
    response
        .map(|(origin, result)| {
            let known = (state.trust(origin), state.sessions.sessions.get(origin));
            server_checks(origin, known, result, context.now())
        })
        .collect()
}

fn contact(connection: &Connection, before: Timestamp) -> Result<ServerResponse, ClientError> {
    let begin = Instant::now();
    let server = connection.client.server().map_err(ClientError::Daemon)?;
    Ok(ServerResponse { record: connection.record().clone(), server, before, took: begin.elapsed() })
}

fn server_checks(
    origin: &Origin,
    (known, stored): (Option<&TrustRecord>, Option<&Session>),
    result: Option<Result<ServerResponse, ClientError>>,
    now: Timestamp,
) -> ServerChecks {
    let subject = || Some(origin.to_string());
    let mut checks = vec![proxy_check(origin)];
    let not_asked = |name| Check::skipped(name, subject(), "not checked: the server cannot be reached");
    let response = match result {
        Some(Ok(response)) => response,
        Some(Err(ClientError::InvalidTrustOptions(failure))) => {
            let hint = failure.hint_text().unwrap_or("correct `INFRA_CA_FILE`, or unset it");
            checks.push(Check::wrong("trust", subject(), failure.to_string(), None, hint));
            return ServerChecks { checks, providers: Vec::new(), is_clock_wrong: false };
        }
        Some(Err(ClientError::Daemon(error))) => {
            checks.extend(match error {
                DaemonError::Untrusted(reason @ (Untrusted::Expired | Untrusted::NotYetValid)) => vec![
                    Check::ok("server", subject(), "it responds"),
                    dates(origin, &reason, stored, now),
                    Check::skipped(
                        "trust",
                        subject(),
                        "not checked: the dates of the certificate come first",
                    ),
                ],
                DaemonError::Untrusted(_) | DaemonError::NoClient(_) => {
                    vec![Check::ok("server", subject(), "it responds"), untrusted(origin, known, &error)]
                }
                DaemonError::Unreachable(_) | DaemonError::HandshakeClosed | DaemonError::Proxy(_) => vec![
                    Check::wrong(
                        "server",
                        subject(),
                        "it cannot be reached",
                        Some(error.to_string()),
                        error.unreachable_hint(origin),
                    ),
                    not_asked("trust"),
                ],
                DaemonError::Problem { .. } | DaemonError::NotADaemon => vec![
                    Check::wrong(
                        "server",
                        subject(),
                        "unexpected response",
                        Some(error.to_string()),
                        "check the address; if it is right, ask the server's operator",
                    ),
                    Check::ok("trust", subject(), "it proved its identity"),
                ],
            });
            return ServerChecks { checks, providers: Vec::new(), is_clock_wrong: false };
        }
        None => {
            let why = format!("no response within {} s", TIMEOUT.as_secs());
            let hint = UNREACHABLE_HINT;
            checks.push(Check::wrong("server", subject(), "it cannot be reached", Some(why), hint));
            checks.push(not_asked("trust"));
            return ServerChecks { checks, providers: Vec::new(), is_clock_wrong: false };
        }
    };
    let ServerResponse { record, server, before, took } = response;
    let version = printable(&server.version, MAX_VERSION);
    checks.push(match check_address(origin, &server) {
        Ok(()) => {
            Check::ok("server", subject(), format!("infrad {version} responds in {} ms", took.as_millis()))
        }
        Err(failure) => {
            let hint = failure.hint_text().unwrap_or_default();
            Check::wrong("server", subject(), failure.to_string(), None, hint)
        }
    });
    let clock = clock(origin, server.now, before, took);
    let is_clock_wrong = clock.is_problem();
    checks.push(clock);
    checks.push(trusted(origin, &record, &server));
    ServerChecks { checks, providers: server.providers, is_clock_wrong }
}

/// A certificate that is not valid by the clock of this machine. The server cannot be asked for its time, so what the last
/// command measured decides if the clock is wrong or the certificate.
fn dates(origin: &Origin, reason: &Untrusted, stored: Option<&Session>, now: Timestamp) -> Check {
    let subject = Some(origin.to_string());
    let seen = format!("by the clock of this machine ({}), {reason}", times::dated(now));
    let offset = stored.and_then(|stored| stored.clock_offset.known_seconds());
    let signed_in = stored.map(|stored| stored.session.created_at);
    match (offset, signed_in) {
        (Some(offset), _) if offset.abs() <= times::MIN_SKEW_SHOWN => {
            let why =
                "the clock agreed with the server's when a command last reached it, and was not set since";
            Check::wrong("certificate", subject, seen, Some(why.to_owned()), CERTIFICATE_HINT)
        }
        (Some(offset), _) => {
            let difference = times::left(SignedDuration::from_secs(offset.abs()));
            let why = format!("the clock is {difference} {} the server's", times::direction(offset));
            Check::wrong("clock", subject, seen, Some(why), CLOCK_HINT)
        }
        (None, Some(signed_in)) if now < signed_in => {
            let why = format!("you signed in later than that, {}", times::at(signed_in, now));
            Check::wrong("clock", subject, seen, Some(why), CLOCK_HINT)
        }
        (None, _) => Check::wrong("certificate", subject, seen, None, DATES_HINT),
    }
}

/// Warns about `NO_PROXY` entries that match no server, if a proxy is configured.
pub(super) fn exemptions() -> Option<Check> {
    let proxies = Proxies::from_environment();
    let entries = proxies.ineffective_entries();
    let listed: Vec<String> =
        entries.iter().map(|entry| format!("`{}`", printable(entry, MAX_ENTRY))).collect();
    (!listed.is_empty()).then(|| {
        let what = format!("no server can match these entries of NO_PROXY: {}", listed.join(", "));
        Check::wrong("proxy", None, what, None, EXEMPTIONS_HINT)
    })
}

/// Reports which proxy, if any, leads to the server.
fn proxy_check(origin: &Origin) -> Check {
    let subject = Some(origin.to_string());
    match proxy::route(&origin.url("/")) {
        Route::Direct => Check::ok("proxy", subject, "not used"),
        Route::Through(proxy) => Check::ok("proxy", subject, format!("used: {}", proxy.address())),
        Route::Barred(error) => Check::wrong(
            "proxy",
            subject,
            "the configured proxy cannot be used",
            Some(error.to_string()),
            proxy::hint(&error),
        ),
    }
}

fn untrusted(origin: &Origin, known: Option<&TrustRecord>, error: &DaemonError) -> Check {
    let (what, hint) = match known {
        Some(_) => (
            "its identity is not the one stored here; nothing was sent to it",
            format!(
                "ask its operator through another channel if its fingerprint has changed; if so, run `infra trust {origin} --fingerprint sha256:…`"
            ),
        ),
        None => (
            "it is not known here, and no public certification authority vouches for it",
            format!("`infra login {origin} --fingerprint sha256:…` with the fingerprint from its operator"),
        ),
    };
    Check::wrong("trust", Some(origin.to_string()), what, Some(error.to_string()), hint)
}

fn trusted(origin: &Origin, record: &TrustRecord, server: &Server) -> Check {
    let subject = Some(origin.to_string());
    // Otherwise a sign-in would fail only at its end.
    if let Err(failure) = binding_pin(origin, record, &server.pins) {
        let hint =
            format!("`infra trust {origin} --fingerprint sha256:…` with the fingerprint from its operator");
        return Check::wrong("trust", subject, failure.to_string(), None, hint);
    }
    Check::ok(
        "trust",
        subject,
        match record {
            TrustRecord::System => "the system's certification authorities vouch for it",
            TrustRecord::Pinned { .. } => "it proved its identity by its fingerprint",
            TrustRecord::CaFile { .. } => "the certification authorities of the stored CA file vouch for it",
        },
    )
}

fn clock(origin: &Origin, daemon: Timestamp, before: Timestamp, took: Duration) -> Check {
    let subject = Some(origin.to_string());
    // Assume that the server read its clock halfway through the request.
    let midpoint = SignedDuration::try_from(took / 2).unwrap_or_default();
    let offset = daemon.duration_since(before.checked_add(midpoint).unwrap_or(before)).as_secs();
    let difference = times::left(SignedDuration::from_secs(offset.abs()));
    match offset {
        -1..=1 => Check::ok("clock", subject, "the same as the server's"),
        _ if offset.abs() <= times::MIN_SKEW_SHOWN => Check::ok(
            "clock",
            subject,
            format!("it differs from the server's by {difference}, which is close enough"),
        ),
        _ => Check::wrong(
            "clock",
            subject,
            format!("the clock of this machine is {difference} {} the server's", times::direction(offset)),
            None,
            CLOCK_HINT,
        ),
    }
}
