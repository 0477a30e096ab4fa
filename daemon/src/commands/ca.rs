//! `infrad ca`: prints and rotates the daemon's own CA. Works with or without a running daemon.

use std::process::ExitCode;
use std::sync::Arc;

use infra_shared::clock::SystemClock;
use jiff::SignedDuration;

use super::operation::call_holder;
use super::service_access::why_outside;
use super::{Context, when};
use crate::arguments::CaCommand;
use crate::assembly::{AssemblyError, DataDirectory, expected_public_urls};
use crate::config::Config;
use crate::control::{self, AuthorityCertificates, Operation};
use crate::failure::Failure;
use crate::platform::PlatformError;

pub(super) async fn run(context: &Context, command: CaCommand) -> Result<ExitCode, Failure> {
    let config = context.read_config()?;
    match command {
        CaCommand::Print { next } => {
            let certificates = call(context, &config, Operation::Authority).await?;
            let pem = match (next, certificates.next) {
                (false, _) => certificates.certificate_pem,
                (true, Some(next)) => next.certificate_pem,
                (true, None) => {
                    return Err(
                        Failure::failed("there is no next CA").hint("announce one with `infrad ca rotate`")
                    );
                }
            };
            context.terminal.data(pem).map_err(|error| Failure::output(&error))?;
        }
        CaCommand::Rotate { overlap, replace } => {
            let operation = Operation::RotateAuthority { overlap_seconds: overlap, replaces: replace };
            let certificates = call(context, &config, operation).await?;
            context.terminal.say(&describe(&certificates));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(certificates: &AuthorityCertificates) -> String {
    match &certificates.next {
        Some(next) => format!(
            "a new CA takes over at {}\n  fingerprint  {}\nUsers who connect before then learn of it automatically. \
             Add the new certificate (`infrad ca print --next`) to every file with the current one, such as that of \
             `INFRA_CA_FILE`.",
            when(next.takeover_at),
            next.pin
        ),
        None => format!(
            "a new CA has taken over\n  fingerprint  {0}\nTell every user who pinned the previous one to run: `infra \
             trust SERVER --fingerprint {0}`",
            certificates.pin
        ),
    }
}

/// Asks the running daemon, or opens its data directory if none runs.
async fn call(
    context: &Context,
    config: &Config,
    operation: Operation,
) -> Result<AuthorityCertificates, Failure> {
    if why_outside(context, config).is_some() {
        return call_holder(context, config, operation).await;
    }
    let data_directory = match DataDirectory::open(config).await {
        Ok(data_directory) => data_directory,
        Err(AssemblyError::Platform(PlatformError::Locked { .. })) => {
            return Ok(control::call(&config.data_dir, operation).await?);
        }
        Err(error) => return Err(error.into()),
    };
    let authority = data_directory
        .authority(&expected_public_urls(config), data_directory.clock(Arc::new(SystemClock)))
        .await?;
    if let Operation::RotateAuthority { overlap_seconds, replaces } = operation {
        authority
            .rotate(SignedDuration::from_secs(overlap_seconds.into()), replaces)
            .await
            .map_err(|error| Failure::failed("cannot create another CA").because(&error))?;
    }
    Ok(AuthorityCertificates::of(&authority))
}
