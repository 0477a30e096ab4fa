//! `infrad status`: how the running daemon is.

use std::process::ExitCode;

use super::Context;
use crate::control::{self, ControlError, DaemonState, DaemonStatus, Operation};
use crate::failure::Failure;

pub(super) async fn run(context: &Context, json: bool) -> Result<ExitCode, Failure> {
    let config = context.read_config()?;
    let status: DaemonStatus = match control::ask(&config.data_dir, Operation::Status).await {
        Err(ControlError::Unreachable(error)) => {
            let what = format!("no infrad runs with the data in {}", config.data_dir.display());
            return Err(Failure::new(what).because(&error).hint("`infrad serve` starts it"));
        }
        status => status?,
    };
    let text = if json {
        serde_json::to_string_pretty(&status).expect("plain JSON") + "\n"
    } else {
        describe(&status)
    };
    context.terminal.data(text).map_err(|error| Failure::output(&error))?;
    // Whoever it waits for is away.
    Ok(if status.state == DaemonState::Ready { ExitCode::SUCCESS } else { ExitCode::from(4) })
}

fn describe(status: &DaemonStatus) -> String {
    let state = match &status.waiting_for {
        None => "ready".to_owned(),
        Some(cause) => format!("waiting: {cause}"),
    };
    let mut lines = vec![
        format!("state         {state}"),
        format!("version       {}", status.version),
        format!("process       {}, since {}", status.process, status.started_at),
    ];
    if let Some(identity) = &status.identity {
        lines.extend(identity.public_urls.iter().map(|origin| format!("address       {origin}")));
        lines.push(format!("fingerprint   {}", identity.pin));
    }
    if let Some(expires_at) = status.certificate_expires_at {
        lines.push(format!("certificate   of its own authority, until {expires_at}"));
    }
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
