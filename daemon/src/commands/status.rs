//! `infrad status`: shows the state of the running daemon.

use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use infra_shared::clock::{Clock, SystemClock};
use infra_shared::printable::{counted, printable};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::check::root_key_problem;
use super::key::recovery_line;
use super::service_access::unit_of;
use super::{Context, operation, when};
use crate::config::Config;
use crate::control::{self, ControlError, DaemonState, DaemonStatus, Operation};
use crate::failure::Failure;
use crate::jwt::TokenKeyState;
use crate::platform::Unit;
use crate::store::Member;
use crate::tls::{CertificateState, Expiry, Source};

pub(super) async fn run(context: &Context, json: bool) -> Result<ExitCode, Failure> {
    let mut status: DaemonStatus = call_daemon(&context.find_running()?, Operation::Status).await?;
    if status.root_key_problem.is_none() {
        status.root_key_problem = problem_of_source(context);
    }
    degrade(&mut status, SystemClock.now());
    let text = if json {
        serde_json::to_string_pretty(&status).expect("plain JSON") + "\n"
    } else {
        describe(&status, SystemClock.now())
    };
    context.terminal.data(text).map_err(|error| Failure::output(&error))?;
    // The daemon waits for a remote system, which is exit code 4.
    Ok(if status.state == DaemonState::Waiting { ExitCode::from(4) } else { ExitCode::SUCCESS })
}

/// Why the unit would not get its root key at the next start. The daemon cannot read the source of a systemd credential, but
/// root can.
fn problem_of_source(context: &Context) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let unit = unit_of(&context.config_path)?;
    root_key_problem(&Config::read(&context.config_path).ok()?, &unit)
}

/// Runs an operation that only the running daemon can perform.
pub(super) async fn call_daemon<T: DeserializeOwned>(
    data_dir: &Path,
    operation: Operation,
) -> Result<T, Failure> {
    match control::call(data_dir, operation).await {
        Err(ControlError::Unreachable(error)) if error.kind() == ErrorKind::PermissionDenied => {
            Err(operation::unreadable_directory(data_dir, &error))
        }
        Err(ControlError::Unreachable(error)) => {
            let what = format!("no infrad is running with the data in {}", data_dir.display());
            let by_unit = Unit::find().is_some();
            let start = if by_unit { "`systemctl start infrad`" } else { "`infrad serve`" };
            let cause = format!("cannot connect to {}: {error}", data_dir.join("control.sock").display());
            Err(Failure::failed(what).because_text(cause).hint(format!("start it with {start}")))
        }
        status => Ok(status?),
    }
}

fn describe(status: &DaemonStatus, now: Timestamp) -> String {
    let mut lines = vec![
        format!("state         {}", state(status)),
        format!("version       {}", status.version),
        format!("process       {}, started {}", status.pid, when(status.started_at)),
    ];
    if let Some(identity) = &status.identity {
        lines.extend(identity.public_urls.iter().map(|origin| format!("address       {origin}")));
        lines.push(format!("fingerprint   {}", identity.pin));
    }
    lines.extend(describe_certificates(status, now));
    if let Some(sessions) = status.live_sessions {
        lines.push(format!("sessions      {sessions}"));
    }
    if let Some(keys) = &status.keys {
        lines.push(format!("data key      {}, wrapped by {}", keys.data_key_version, keys.root_key));
        if status.root_key_problem.is_some() {
            lines.push("              keep infrad running: docs/runbooks.md#the-root-key-is-lost".to_owned());
        }
        lines.push(recovery_line(keys));
    }
    lines.extend(status.token_keys.iter().map(describe_token_key));
    lines.extend(status.database_server.iter().map(|server| format!("database      {server}")));
    lines.extend(status.members.iter().map(describe_member));
    let reads: Vec<String> =
        status.secret_reads.iter().map(|(reason, count)| format!("{count} for {reason}")).collect();
    lines.push(format!("secret reads  {}", reads.join(", ")));
    lines.join("\n") + "\n"
}

/// The keys that sign audience tokens, in the order in which they sign.
fn describe_token_key(key: &TokenKeyState) -> String {
    let (name, algorithm) = (&key.id, key.algorithm.name());
    let signs_from = when(key.signs_from);
    if key.is_signing {
        format!("token key     {name} ({algorithm}) signs since {signs_from}")
    } else {
        format!("              {name} ({algorithm}) is published, signing from {signs_from}")
    }
}

fn describe_member(member: &Member) -> String {
    let this = if member.is_this { " (this one)" } else { "" };
    let lag = match member.lag {
        0 => String::new(),
        1 => ", 1 change behind".to_owned(),
        changes => format!(", {changes} changes behind"),
    };
    let address = match member.address.as_str() {
        "" => String::new(),
        address => format!(" at {}", printable(address, 100)),
    };
    format!(
        "member        {}{address}{this}, version {}, data key {}, {}{lag}",
        printable(&member.name, 100),
        printable(&member.version, 100),
        member.data_key_version,
        seen(member.unseen_milliseconds / 1000),
    )
}

/// When a member sent its last heartbeat. It sends one every five seconds.
fn seen(seconds_ago: u64) -> String {
    match seconds_ago {
        0..=20 => format!("seen {seconds_ago} s ago"),
        21..=119 => format!("not seen for {seconds_ago} s"),
        120..=7199 => format!("not seen for {} min", seconds_ago / 60),
        _ => format!("not seen for {} h", seconds_ago / 3600),
    }
}

fn state(status: &DaemonStatus) -> String {
    match (&status.waiting_for, &status.reason) {
        (Some(cause), _) => format!("waiting: {cause}"),
        (None, Some(reason)) => format!("degraded: {reason}"),
        (None, None) => "ready".to_owned(),
    }
}

/// Degrades the state by what needs the operator, although the daemon itself is ready.
fn degrade(status: &mut DaemonStatus, now: Timestamp) {
    if status.state != DaemonState::Ready {
        return;
    }
    let root_key = status
        .root_key_problem
        .iter()
        .map(|problem| format!("{problem}; infrad cannot start again: keep it running"));
    let certificates = status.certificates.iter().filter_map(|certificate| {
        let (from, at) = (origin(certificate.source), certificate.expires_at.map(when).unwrap_or_default());
        match certificate.expiry(now)? {
            Expiry::Past => Some(format!("the certificate {from} expired on {at}, and clients reject it")),
            Expiry::Soon => Some(format!("the certificate {from} expires on {at}")),
            Expiry::Later => None,
        }
    });
    let causes: Vec<String> = root_key.chain(certificates).collect();
    if !causes.is_empty() {
        (status.state, status.reason) = (DaemonState::Degraded, Some(causes.join("; ")));
    }
}

/// One line per certificate, followed by its errors or what it waits for.
pub(super) fn describe_certificates(status: &DaemonStatus, now: Timestamp) -> Vec<String> {
    let mut lines: Vec<String> =
        status.certificates.iter().flat_map(|certificate| describe_certificate(certificate, now)).collect();
    if let Some(next) = &status.next_authority {
        lines.push(format!(
            "              from {} on, a CA with another fingerprint:",
            when(next.takeover_at)
        ));
        lines.push(format!("              {}", next.pin));
    }
    lines
}

/// Where a certificate comes from.
fn origin(source: Source) -> &'static str {
    match source {
        Source::OwnAuthority => "of the daemon's own CA",
        Source::Acme => "from ACME",
        Source::Files => "from files",
    }
}

fn describe_certificate(state: &CertificateState, now: Timestamp) -> Vec<String> {
    let names =
        if state.names.is_empty() { "clients that pinned it".to_owned() } else { state.names.join(", ") };
    let until = match (state.expires_at, state.days_left) {
        (Some(expires_at), _) if expires_at <= now => format!("expired {}", when(expires_at)),
        (Some(expires_at), Some(days)) => {
            format!("valid until {} ({} left)", when(expires_at), counted(days.max(0), "day"))
        }
        _ => "none yet".to_owned(),
    };
    let mut lines = vec![format!("certificate   {}, {until}, for {names}", origin(state.source))];
    if state.source == Source::Files && matches!(state.expiry(now), Some(Expiry::Soon | Expiry::Past)) {
        lines.push(
            "              replace the files in `tls.files`: the daemon loads them within seconds".to_owned(),
        );
    }
    if let Some(what) = &state.waiting_for {
        lines.push(format!("              waiting: {what}"));
    }
    if let (Some(error), Some(at)) = (&state.last_error, state.last_error_at) {
        lines.push(format!(
            "              failed {} since the start, last on {}: {error}",
            counted(state.failures, "time"),
            when(at)
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(expires_at: &str) -> DaemonStatus {
        serde_json::from_value(serde_json::json!({
            "schema": 1, "state": "ready", "waitingFor": null, "version": "1.0.0", "pid": 1,
            "startedAt": "2026-01-01T00:00:00Z", "identity": null, "nextCA": null, "keys": null,
            "liveSessions": 0, "secretReads": {},
            "certificates": [{
                "source": "files", "names": ["infra.test"], "issuedAt": "2026-01-01T00:00:00Z", "expiresAt": expires_at,
                "daysLeft": 1, "failures": 0, "lastError": null, "lastErrorAt": null, "waitingFor": null,
            }],
        }))
        .expect("a status")
    }

    #[test]
    fn member_without_heartbeat_is_not_seen() {
        for (seconds_ago, expected) in [
            (20, "seen 20 s ago"),
            (21, "not seen for 21 s"),
            (2040, "not seen for 34 min"),
            (9000, "not seen for 2 h"),
        ] {
            assert_eq!(seen(seconds_ago), expected);
        }
    }

    #[test]
    fn certificate_degrades_state_from_threshold_of_alert_on() {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().expect("a time");
        // Twelve of 72 days.
        let described = |expires_at| {
            let mut status = status(expires_at);
            degrade(&mut status, now);
            (status.state, describe(&status, now))
        };
        let (state, valid) = described("2026-03-14T12:00:00Z");
        assert_eq!(state, DaemonState::Ready);
        assert!(valid.starts_with("state         ready\n"), "{valid}");
        assert!(!valid.contains("replace the files"), "{valid}");

        for (expires_at, words) in [
            (
                "2026-03-12T00:00:00Z",
                [
                    "state         degraded: the certificate from files expires on 2026-03-12 00:00 UTC\n",
                    "from files, valid until 2026-03-12 00:00 UTC (1 day left), for infra.test",
                ],
            ),
            (
                "2026-03-01T12:00:00Z",
                [
                    "state         degraded: the certificate from files expired on 2026-03-01 12:00 UTC, and clients reject it\n",
                    "certificate   from files, expired 2026-03-01 12:00 UTC, for infra.test",
                ],
            ),
        ] {
            let (state, described) = described(expires_at);
            assert_eq!(state, DaemonState::Degraded);
            for words in words.into_iter().chain(["replace the files in `tls.files`"]) {
                assert!(described.contains(words), "{words}: {described}");
            }
        }
    }
}
