//! `infrad certificate renew`: a new certificate for the running daemon, now.

use std::process::ExitCode;

use super::Context;
use super::status::{ask_daemon, describe_certificates};
use crate::control::Operation;
use crate::failure::Failure;

pub(super) async fn renew(context: &Context) -> Result<ExitCode, Failure> {
    let config = context.read_config()?;
    context.terminal.say("getting a new certificate; by ACME this may take a minute or two …");
    let status = ask_daemon(&config, Operation::RenewCertificate).await?;
    let text = describe_certificates(&status).join("\n") + "\n";
    context.terminal.data(text).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}
