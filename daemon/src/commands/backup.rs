//! `infrad backup` and `infrad restore`.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use infra_shared::clock::{Clock, SystemClock};
use infra_shared::printable::counted;

use super::database::failure_of_store;
use super::operation::{expect_stopped, perform_to_file};
use super::recovery::ask_for_recovery_key;
use super::service_access::expect_inside;
use super::{Context, INTERRUPTED, failure_for_keys, when};
use crate::arguments::BackupCommand;
use crate::assembly::{AssemblyError, lock, open_audit};
use crate::audit::Event;
use crate::config::Config;
use crate::control::Operation;
use crate::failure::Failure;
use crate::keys::{KeyError, Opener, RecoveryKey, is_unused};
use crate::platform::{Account, PlatformError, Unit};
use crate::store::{PostgresDatabase, PostgresSettings};
use crate::upkeep::{self, BackupError, Restored, RollbackGuardFile, open_backup};

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
        return Err(Failure::usage(format!("{name} already exists")).hint("name another file"));
    }
    let failed = |error: &dyn std::error::Error| {
        let user = Account::of_this_process().name;
        Failure::failed(format!("cannot write {name}")).because(error).hint(format!(
            "write to a directory with free space that the user {user} can write to; create one as root: `install -d \
             -o {user} -m 0700 /var/backups/infrad`"
        ))
    };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut beside = tempfile::Builder::new()
        .prefix(".infrad-backup-")
        .permissions(std::fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(|error| failed(&error))?;
    context.terminal.say("creating a backup …");
    perform_to_file(context, &config, Operation::Backup, beside.as_file_mut()).await?;
    give_to_user_of_data(beside.as_file(), folder, &config.data_dir).map_err(|error| failed(&error))?;
    beside.as_file().sync_all().map_err(|error| failed(&error))?;
    // Atomically: the file is complete or absent.
    beside.persist_noclobber(file).map_err(|error| failed(&error))?;
    crate::platform::sync_directory(file).map_err(|error| failed(&error))?;
    context.terminal.say(&format!(
        "{name} is a backup of the store; keep the root key and the recovery key elsewhere, because only they open it"
    ));
    Ok(ExitCode::SUCCESS)
}

/// A backup that root has the running daemon make, into a directory of the daemon's user, is that user's: the commands that
/// read it run as that user.
fn give_to_user_of_data(file: &File, folder: &Path, data_dir: &Path) -> std::io::Result<()> {
    let (folder, data) = (std::fs::metadata(folder)?, std::fs::metadata(data_dir)?);
    if Account::of_this_process().uid == 0 && data.uid() != 0 && folder.uid() == data.uid() {
        fchown(file, Some(data.uid()), Some(data.gid()))?;
    }
    Ok(())
}

async fn verify(context: &Context, file: &Path, recovery: bool) -> Result<ExitCode, Failure> {
    let config = context.read_config()?;
    expect_inside(context, &config)?;
    let Some(key) = recovery_key(context, recovery).await? else { return Ok(ExitCode::from(INTERRUPTED)) };
    let opener = key.as_ref().map_or(Opener::RootKeys(&config.root_keys), Opener::Recovery);
    context.terminal.say("reading the backup …");
    let directory = tempfile::tempdir()
        .map_err(|error| Failure::failed("cannot create a temporary directory").because(&error))?;
    let backup = open_backup(file, opener, &config.data_dir, directory.path()).await.map_err(|error| {
        let command = format!("infrad backup verify {}", file.display());
        failure("cannot open the backup", &error, &config.data_dir, &command)
    })?;
    let (created_at, version) = (backup.description.created_at, &backup.description.version);
    context
        .terminal
        .say(&format!("the backup is complete: created {} by infrad {version}", when(created_at)));
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn restore(context: &Context, file: &Path, recovery: bool) -> Result<ExitCode, Failure> {
    let config = context.read_config()?;
    expect_inside(context, &config)?;
    expect_stopped(&config)?;
    let Some(key) = recovery_key(context, recovery).await? else { return Ok(ExitCode::from(INTERRUPTED)) };
    let opener = key.as_ref().map_or(Opener::RootKeys(&config.root_keys), Opener::Recovery);
    let _lock = lock(&config)?;
    let (name, place) = (file.display(), place_of_store(&config));
    let explained = |error: &BackupError| {
        failure("cannot restore the backup", error, &config.data_dir, &format!("infrad restore {name}"))
    };
    // Before the line that speaks of replacing the store.
    upkeep::expect_backup(file).map_err(|error| explained(&error))?;
    let audit = open_audit(config.audit.as_ref(), Arc::new(SystemClock)).map_err(AssemblyError::from)?;
    context.terminal.say(&if config.database.is_none() && matches!(is_unused(&config.data_dir), Ok(true)) {
        format!("verifying {name}, then restoring it to {place}, which is empty …")
    } else {
        format!("verifying {name}, then replacing the store in {place} with it …")
    });
    let restored = Box::pin(restore_to(&config, file, opener)).await;
    let outcome = if restored.is_ok() { "succeeded" } else { "failed" };
    audit.record(&Event::KeyOperation { operation: "restore", outcome });
    let restored = restored.map_err(|error| explained(&error))?;
    context.terminal.say(&format!(
        "restored the store of {} to {place} and revoked its {}: your users must sign in again",
        when(restored.description.created_at),
        counted(restored.revoked, "session")
    ));
    let start = if Unit::find().is_some() { "systemctl start infrad" } else { "infrad serve" };
    context.terminal.say(&format!("start the daemon: `{start}`"));
    Ok(ExitCode::SUCCESS)
}

/// Where this configuration keeps the store.
fn place_of_store(config: &Config) -> String {
    let database = config.database.as_ref().map(PostgresSettings::describe);
    database.unwrap_or_else(|| config.data_dir.display().to_string())
}

async fn restore_to(config: &Config, file: &Path, opener: Opener<'_>) -> Result<Restored, BackupError> {
    let (data_dir, root_keys, now) = (&config.data_dir, &config.root_keys, SystemClock.now());
    let Some(settings) = &config.database else {
        let rollback_guard_file = RollbackGuardFile::new(config.rollback_guard_file.clone());
        return upkeep::restore(file, opener, data_dir, root_keys, &rollback_guard_file, now).await;
    };
    let database = PostgresDatabase::new(settings)?;
    database.create_schema().await?;
    upkeep::restore_to_database(file, opener, data_dir, database, root_keys, now).await
}

/// The recovery key if one is needed. Returns `None` after an interrupt.
async fn recovery_key(context: &Context, is_needed: bool) -> Result<Option<Option<RecoveryKey>>, Failure> {
    if !is_needed {
        return Ok(Some(None));
    }
    Ok(ask_for_recovery_key(context).await?.map(Some))
}

/// Where the root key of a backup belongs on this host. The one that a store here uses stays in its place.
fn place_of_root_key(data_dir: &Path) -> String {
    if !matches!(is_unused(data_dir), Ok(true)) {
        return "check the paths in `keys`, and add the root key of the backup there (docs/keys.md#root-keys)".to_owned();
    }
    let passed = Unit::find().and_then(|unit| {
        let (_, source) = *unit.credentials().iter().find(|(name, _)| *name == "root.key")?;
        Some(source.to_owned())
    });
    passed.map_or_else(
        || "add the root key of the backup to `keys`".to_owned(),
        |source| match Path::new(&source).symlink_metadata() {
            Err(_) => format!("put the root key of the backup into {source}"),
            Ok(_) => format!(
                "put the root key of the backup into {source}, and keep the file that is there under another name"
            ),
        },
    )
}

/// `command` is the one that opens the backup with its recovery key.
fn failure(what: &str, error: &BackupError, data_dir: &Path, command: &str) -> Failure {
    let key = if let BackupError::Key(key) = error { Some(key) } else { None };
    if let BackupError::Platform(PlatformError::Io { path, source }) = error
        && source.kind() == ErrorKind::PermissionDenied
    {
        let user = Account::of_this_process().name;
        return Failure::failed(what)
            .because(error)
            .hint(format!("give the file to that user: `chown {user}: {path}`, as root"));
    }
    if key.is_some_and(KeyError::can_be_recovered) {
        return Failure::failed(what).because(error).hint(format!(
            "{}; if it is lost for good, use the recovery key: `{command} --recovery`",
            place_of_root_key(data_dir)
        ));
    }
    if let BackupError::Store(error) = error {
        return failure_of_store(what, error);
    }
    failure_for_keys(what, error, key)
}
