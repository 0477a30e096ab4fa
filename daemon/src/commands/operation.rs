//! Runs an operation in the process that holds the data directory: the running daemon, or this command if no daemon
//! runs.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use infra_shared::clock::SystemClock;
use serde::de::DeserializeOwned;

use super::service_access::{self, why_outside};
use super::{Context, failure_of_operation, stopping};
use crate::assembly::{
    AssemblyError, DataDirectory, Operations, StartOverrides, check_new_store, open_audit,
};
use crate::config::Config;
use crate::control::{self, ControlError, Operation, OperationResult};
use crate::failure::Failure;
use crate::platform::{self, PlatformError};

/// Runs an operation that returns JSON.
pub(super) async fn perform<T: DeserializeOwned>(
    context: &Context,
    config: &Config,
    operation: Operation,
) -> Result<T, Failure> {
    match perform_locally(context, config, operation.clone()).await? {
        Some(OperationResult::Json(value)) => {
            serde_json::from_value(value).map_err(|_| ControlError::Unexpected.into())
        }
        Some(OperationResult::Failed(failure)) => Err(failure_of_operation("the operation failed", &failure)),
        Some(OperationResult::File(_)) => Err(ControlError::Unexpected.into()),
        None => call_holder(context, config, operation).await,
    }
}

/// Runs an operation that returns a file and writes it to `to`.
pub(super) async fn perform_to_file(
    context: &Context,
    config: &Config,
    operation: Operation,
    to: &mut File,
) -> Result<(), Failure> {
    match perform_locally(context, config, operation.clone()).await? {
        Some(OperationResult::File(mut from)) => {
            copy(from.as_mut(), to).map_err(|error| ControlError::Write(error).into())
        }
        Some(OperationResult::Failed(failure)) => Err(failure_of_operation("the operation failed", &failure)),
        Some(OperationResult::Json(_)) => Err(ControlError::Unexpected.into()),
        None => control::call_for_file(&config.data_dir, operation, to)
            .await
            .map_err(|error| failure_of_holder(context, config, error)),
    }
}

fn copy(from: &mut dyn Read, to: &mut impl Write) -> std::io::Result<()> {
    std::io::copy(from, to).map(drop)
}

/// Asks the daemon that holds the data directory.
pub(super) async fn call_holder<T: DeserializeOwned>(
    context: &Context,
    config: &Config,
    operation: Operation,
) -> Result<T, Failure> {
    let answer = control::call(&config.data_dir, operation).await;
    answer.map_err(|error| failure_of_holder(context, config, error))
}

/// If no daemon answers, this command would have to run the operation. It cannot do so unless it runs as the service.
fn failure_of_holder(context: &Context, config: &Config, error: ControlError) -> Failure {
    match (&error, why_outside(context, config)) {
        (ControlError::Unreachable(_), Some(cause)) => service_access::failure(cause),
        _ => error.into(),
    }
}

/// Fails if there is no store, because read-only commands must not create one.
pub(super) fn expect_store(config: &Config) -> Result<(), Failure> {
    if config.database.is_some() {
        return Ok(());
    }
    match config.data_dir.join("keys.json").try_exists() {
        Ok(true) => return Ok(()),
        // A volume that is not mounted looks like a store that was never made.
        Ok(false) => drop(check_new_store(config, StartOverrides::default())?),
        Err(error) => return Err(unreadable_directory(&config.data_dir, &error)),
    }
    Err(Failure::failed(format!("there is no store in {} yet", config.data_dir.display()))
        .hint("create one with `infrad serve`, or restore a backup with `infrad restore FILE`; for another store, add `--config FILE`"))
}

/// Fails if a daemon uses the data directory, before the command asks for anything.
pub(super) fn expect_stopped(config: &Config) -> Result<(), Failure> {
    match platform::lock_holder(&config.data_dir) {
        Ok(Some(process)) => Err(is_running(&config.data_dir, &process)),
        // Taking the lock reports other errors.
        _ => Ok(()),
    }
}

/// The failure of a command that needs the data directory for itself.
fn is_running(data_dir: &Path, process: &str) -> Failure {
    Failure::failed("cannot use the data directory while infrad is running")
        .because_text(format!("{} is in use by another infrad (process {process})", data_dir.display()))
        .hint(format!("stop it with {}, then run the same command again", stopping(process)))
}

/// Reports an inaccessible directory, which may or may not contain a store.
pub(super) fn unreadable_directory(data_dir: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("cannot read {}: {error}", data_dir.display()))
        .hint("run the same command as root, or as the user that infrad runs as")
}

/// Runs the operation in this process. Returns `None` if a daemon holds the data directory.
async fn perform_locally(
    context: &Context,
    config: &Config,
    operation: Operation,
) -> Result<Option<OperationResult>, Failure> {
    if why_outside(context, config).is_some() {
        return Ok(None);
    }
    expect_store(config)?;
    match DataDirectory::open(config).await {
        Ok(data_directory) => {
            let clock = Arc::new(SystemClock);
            let audit = open_audit(config.audit.as_ref(), clock.clone()).map_err(AssemblyError::from)?;
            let clock = data_directory.clock(clock);
            let operations = Operations::new(&data_directory, context.config_path.clone(), clock, audit);
            Ok(operations.perform(operation).await)
        }
        Err(AssemblyError::Platform(PlatformError::Locked { .. })) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
