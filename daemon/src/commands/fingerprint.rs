//! `infrad fingerprint`: prints the daemon's fingerprint. Works with or without a running daemon.

use std::process::ExitCode;
use std::sync::Arc;

use infra_shared::clock::SystemClock;
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;

use super::operation::call_holder;
use super::service_access::why_outside;
use super::{Context, user_instructions};
use crate::assembly::{AssemblyError, DataDirectory, expected_public_urls};
use crate::control::{self, Identity, Operation};
use crate::failure::Failure;
use crate::platform::PlatformError;

/// Asks the running daemon, or opens its data directory if none runs.
///
/// Creates the CA of a daemon that never ran, so that users can get the fingerprint before the first start.
pub(super) async fn run(context: &Context) -> Result<ExitCode, Failure> {
    let config = context.read_config()?;
    if why_outside(context, &config).is_some() {
        let identity: Identity = call_holder(context, &config, Operation::Identity).await?;
        return print(context, &identity.public_urls, identity.pin);
    }
    let (public_urls, pin) = match DataDirectory::open(&config).await {
        Ok(data_directory) => {
            let public_urls = expected_public_urls(&config);
            let authority =
                data_directory.authority(&public_urls, data_directory.clock(Arc::new(SystemClock))).await?;
            (public_urls, authority.pin())
        }
        Err(AssemblyError::Platform(PlatformError::Locked { .. })) => {
            let identity: Identity = control::call(&config.data_dir, Operation::Identity).await?;
            (identity.public_urls, identity.pin)
        }
        Err(error) => return Err(error.into()),
    };
    print(context, &public_urls, pin)
}

fn print(context: &Context, public_urls: &[Origin], pin: Pin) -> Result<ExitCode, Failure> {
    let introduction = user_instructions::of(public_urls, pin);
    context.terminal.data(format!("{introduction}\n")).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}
