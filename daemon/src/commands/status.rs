//! `infrad status`: shows the state of the running daemon.

use std::io::ErrorKind;
use std::process::ExitCode;

use infra_shared::printable::counted;
use serde::de::DeserializeOwned;

use super::{Context, operation};
use crate::config::Config;
use crate::control::{self, ControlError, DaemonState, DaemonStatus, Operation};
use crate::failure::Failure;
use crate::platform::Unit;
use crate::tls::{CertificateState, Source};

pub(super) async fn run(context: &Context, json: bool) -> Result<ExitCode, Failure> {
    let config = context.read_config()?;
    let status: DaemonStatus = ask_daemon(&config, Operation::Status).await?;
    let text = if json {
        serde_json::to_string_pretty(&status).expect("plain JSON") + "\n"
    } else {
        describe(&status)
    };
    context.terminal.data(text).map_err(|error| Failure::output(&error))?;
    // The daemon waits for a remote system, which is exit code 4.
    Ok(if status.state == DaemonState::Ready { ExitCode::SUCCESS } else { ExitCode::from(4) })
}

/// Runs an operation that only the running daemon can perform.
pub(super) async fn ask_daemon<T: DeserializeOwned>(
    config: &Config,
    operation: Operation,
) -> Result<T, Failure> {
    match control::ask(&config.data_dir, operation).await {
        Err(ControlError::Unreachable(error)) if error.kind() == ErrorKind::PermissionDenied => {
            Err(operation::cannot_look(&config.data_dir, &error))
        }
        Err(ControlError::Unreachable(error)) => {
            let what = format!("no infrad runs with the data in {}", config.data_dir.display());
            let by_unit = Unit::find().is_some();
            let hint =
                if by_unit { "`systemctl start infrad` starts it" } else { "`infrad serve` starts it" };
            Err(Failure::new(what).because(&error).hint(hint))
        }
        status => Ok(status?),
    }
}

fn describe(status: &DaemonStatus) -> String {
    let state = match &status.waiting_for {
        None => "ready".to_owned(),
        Some(cause) => format!("waiting: {cause}"),
    };
    let mut lines = vec![
        format!("state         {state}"),
        format!("version       {}", status.version),
        format!("process       {}, since {}", status.pid, status.started_at),
    ];
    if let Some(identity) = &status.identity {
        lines.extend(identity.public_urls.iter().map(|origin| format!("address       {origin}")));
        lines.push(format!("fingerprint   {}", identity.pin));
    }
    lines.extend(describe_certificates(status));
    if let Some(sessions) = status.live_sessions {
        lines.push(format!("sessions      {sessions}"));
    }
    if let Some(keys) = &status.keys {
        lines.push(format!("data key      {}, wrapped by {}", keys.data_key_version, keys.root_key));
        lines.push(match keys.recovery_key_created_at {
            Some(created_at) => format!("recovery key  made {created_at}"),
            None => "recovery key  none: `infrad key recovery create` makes one".to_owned(),
        });
    }
    let reads: Vec<String> =
        status.secret_reads.iter().map(|(reason, count)| format!("{count} for {reason}")).collect();
    lines.push(format!("secret reads  {}", reads.join(", ")));
    lines.join("\n") + "\n"
}

/// One line per certificate, followed by its errors or what it waits for.
pub(super) fn describe_certificates(status: &DaemonStatus) -> Vec<String> {
    let mut lines: Vec<String> = status.certificates.iter().flat_map(describe_certificate).collect();
    if let Some(next) = &status.next_authority {
        lines.push(format!(
            "              from {} on, an authority with another fingerprint:",
            next.takeover_at
        ));
        lines.push(format!("              {}", next.pin));
    }
    lines
}

fn describe_certificate(state: &CertificateState) -> Vec<String> {
    let source = match state.source {
        Source::OwnAuthority => "of its own authority",
        Source::Acme => "by ACME",
        Source::Files => "from files",
    };
    let names =
        if state.names.is_empty() { "clients that pinned it".to_owned() } else { state.names.join(", ") };
    let until = match (state.expires_at, state.days_left) {
        (Some(expires_at), Some(days)) => {
            let since = state.issued_at.map(|issued_at| format!("since {issued_at} ")).unwrap_or_default();
            format!("{since}until {expires_at} ({} left)", counted(days.max(0), "day"))
        }
        _ => "none yet".to_owned(),
    };
    let mut lines = vec![format!("certificate   {source}, {until}, for {names}")];
    if let Some(what) = &state.waiting_for {
        lines.push(format!("              waiting: {what}"));
    }
    if let (Some(error), Some(at)) = (&state.last_error, state.last_error_at) {
        lines.push(format!(
            "              failed at {at}, {} since the start: {error}",
            counted(state.failures, "time")
        ));
    }
    lines
}
