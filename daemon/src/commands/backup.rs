//! `infrad backup` and `infrad restore`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use infra_shared::clock::{Clock, SystemClock};
use infra_shared::printable::counted;

use super::key::ask_for_recovery_key;
use super::operation::perform_to_file;
use super::outside::expect_inside;
use super::{Context, failure_for_keys};
use crate::arguments::BackupCommand;
use crate::assembly::{AssemblyError, lock, open_audit};
use crate::audit::Event;
use crate::control::Operation;
use crate::failure::Failure;
use crate::keys::{KeyError, Opener};
use crate::platform::Account;
use crate::upkeep::{self, BackupError, RollbackGuardFile, open_backup};

pub(super) async fn run(
    context: &Context,
    file: Option<&Path>,
    command: Option<&BackupCommand>,
) -> Result<ExitCode, Failure> {
    match (file, command) {
        (_, Some(BackupCommand::Verify { file, recovery })) => verify(context, file, *recovery).await,
        (Some(file), None) => write(context, file).await,
        (None, None) => Err(Failure::usage("name the file to write: `infrad backup FILE`")),
    }
}

async fn write(context: &Context, file: &Path) -> Result<ExitCode, Failure> {
    let name = file.display();
    let config = context.read_config()?;
    if file.symlink_metadata().is_ok() {
        return Err(Failure::usage(format!("{name} is there already")).hint("name another file"));
    }
    let failed = |error: &dyn std::error::Error| {
        let user = Account::of_this_process().name;
        Failure::new(format!("{name} cannot be written")).because(error).hint(format!(
            "a directory that the user {user} may write, with room in it: `install -d -o {user} -m 0700 \
             /var/backups/infrad`, as root"
        ))
    };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut beside = tempfile::Builder::new()
        .prefix(".infrad-backup-")
        .permissions(std::fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(|error| failed(&error))?;
    context.terminal.say("making a backup …");
    perform_to_file(context, &config, Operation::Backup, beside.as_file_mut()).await?;
    beside.as_file().sync_all().map_err(|error| failed(&error))?;
    // Atomically: the file is complete or absent.
    beside.persist_noclobber(file).map_err(|error| failed(&error))?;
    crate::platform::sync_directory(file).map_err(|error| failed(&error))?;
    context.terminal.say(&format!(
        "{name} is a backup of the store; it opens with the root key or the recovery key, neither of which is in it"
    ));
    Ok(ExitCode::SUCCESS)
}

async fn verify(context: &Context, file: &Path, recovery: bool) -> Result<ExitCode, Failure> {
    let config = context.read_config()?;
    expect_inside(context, &config)?;
    let key = recovery.then(|| ask_for_recovery_key(context)).transpose()?;
    let opener = key.as_ref().map_or(Opener::RootKeys(&config.root_keys), Opener::Recovery);
    context.terminal.say("reading the backup …");
    let directory = tempfile::tempdir()
        .map_err(|error| Failure::new("there is no place for temporary files").because(&error))?;
    let backup = open_backup(file, opener, &config.data_dir, directory.path()).await.map_err(|error| {
        failure("the backup cannot be opened", &error, &format!("infrad backup verify {}", file.display()))
    })?;
    let (created_at, version) = (backup.description.created_at, &backup.description.version);
    context.terminal.say(&format!("the backup is whole: made {created_at} by infrad {version}"));
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn restore(context: &Context, file: &Path, recovery: bool) -> Result<ExitCode, Failure> {
    let config = context.read_config()?;
    expect_inside(context, &config)?;
    let key = recovery.then(|| ask_for_recovery_key(context)).transpose()?;
    let opener = key.as_ref().map_or(Opener::RootKeys(&config.root_keys), Opener::Recovery);
    let _lock = lock(&config)?;
    let audit = open_audit(config.audit.as_ref(), Arc::new(SystemClock)).map_err(AssemblyError::from)?;
    context.terminal.say("verifying the backup, then restoring it …");
    let rollback_guard_file = RollbackGuardFile::new(config.rollback_guard_file.clone());
    let now = SystemClock.now();
    let restored =
        upkeep::restore(file, opener, &config.data_dir, &config.root_keys, &rollback_guard_file, now).await;
    let outcome = if restored.is_ok() { "succeeded" } else { "failed" };
    audit.record(&Event::KeyOperation { operation: "restore", outcome });
    let restored = restored.map_err(|error| {
        failure("the backup was not restored", &error, &format!("infrad restore {}", file.display()))
    })?;
    context.terminal.say(&format!(
        "restored the store as it was at {}; ended {} in it: users sign in again",
        restored.description.created_at,
        counted(restored.revoked, "session")
    ));
    Ok(ExitCode::SUCCESS)
}

/// `command` is the one that opens the backup with its recovery key.
fn failure(what: &str, error: &BackupError, command: &str) -> Failure {
    let key = if let BackupError::Key(key) = error { Some(key) } else { None };
    if key.is_some_and(KeyError::can_be_recovered) {
        return Failure::new(what).because(error).hint(format!(
            "name the root key of the backup under `keys`; if it is lost for good, the recovery key: `{command} --recovery`"
        ));
    }
    failure_for_keys(what, error, key)
}
