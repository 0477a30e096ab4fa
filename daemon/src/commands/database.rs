//! `infrad database`: prepares the PostgreSQL database of several daemons, and moves the store there or back.

use std::process::ExitCode;
use std::sync::Arc;

use infra_shared::clock::{Clock, SystemClock};
use infra_shared::printable::counted;

use super::operation::expect_stopped;
use super::service_access::expect_inside;
use super::{Context, failure_for_keys, failure_with};
use crate::arguments::DatabaseCommand;
use crate::assembly::{AssemblyError, lock, open_audit};
use crate::audit::Event;
use crate::config::Config;
use crate::failure::Failure;
use crate::keys::{KeyError, SharedKeys, StoredKeys};
use crate::platform::Unit;
use crate::store::{PostgresDatabase, PostgresSettings, StoreError, StoreState};
use crate::upkeep::{BackupError, Move, MoveError, MoveOutcome, RollbackGuardFile};

pub(super) async fn run(context: &Context, command: DatabaseCommand) -> Result<ExitCode, Failure> {
    match command {
        DatabaseCommand::Create => create(context).await,
        DatabaseCommand::Move { to_file } => Box::pin(move_store(context, to_file)).await,
    }
}

fn settings<'a>(config: &'a Config, what: &str) -> Result<&'a PostgresSettings, Failure> {
    config.database.as_ref().ok_or_else(|| {
        Failure::usage(what)
            .because_text(
                "the configuration has no `database` section, so the store is a file in `dataDir`".to_owned(),
            )
            .hint("add `database`: docs/several-daemons.md")
    })
}

async fn create(context: &Context) -> Result<ExitCode, Failure> {
    const WHAT: &str = "cannot create the database";
    let config = context.read_config()?;
    expect_inside(context, &config)?;
    let settings = settings(&config, WHAT)?;
    let failed = |error: StoreError| failure_of_database(WHAT, &error);
    let failed_key = |error: KeyError| failure_for_keys(WHAT, &error, Some(&error));
    let database = PostgresDatabase::new(settings).map_err(failed)?;
    let schema = database.create_schema().await.map_err(failed)?;
    let open = async |stored: StoredKeys| {
        let opened = SharedKeys::open(stored, database.describe(), &config.root_keys, &config.data_dir).await;
        opened.map_err(failed_key)
    };
    let stored = if let Some(stored) = database.keys().await.map_err(failed)? {
        stored
    } else {
        let first = StoredKeys::create(&config.root_keys, &config.data_dir).await.map_err(failed_key)?;
        let row_keys = open(first.clone()).await?.row_keys();
        database.add_first_keys(&first, &row_keys, SystemClock.now()).await.map_err(failed)?
    };
    let status = open(stored).await?.status();
    if let Some((_, state)) = database.state().await.map_err(failed)?.filter(|it| it.1 != StoreState::Ready) {
        return Err(failed(StoreError::NotReady { database: database.describe().to_owned(), state }));
    }
    context.terminal.say(&format!(
        "{} is ready: schema {schema}, store {}, data key {}, wrapped by the root key {}",
        database.describe(),
        status.store,
        status.data_key_version,
        status.root_key
    ));
    Ok(ExitCode::SUCCESS)
}

async fn move_store(context: &Context, to_file: bool) -> Result<ExitCode, Failure> {
    const WHAT: &str = "cannot move the store";
    let config = context.read_config()?;
    expect_inside(context, &config)?;
    let settings = settings(&config, WHAT)?;
    expect_stopped(&config)?;
    let _lock = lock(&config)?;
    let failed = |error: StoreError| failure_of_database(WHAT, &error);
    let database = PostgresDatabase::new(settings).map_err(failed)?;
    database.create_schema().await.map_err(failed)?;
    let audit = open_audit(config.audit.as_ref(), Arc::new(SystemClock)).map_err(AssemblyError::from)?;
    let (file, shared) = (config.data_dir.display().to_string(), database.describe().to_owned());
    let (from, to) = if to_file { (&shared, &file) } else { (&file, &shared) };
    context.terminal.say(&format!("copying the store in {from} to {to}, then comparing every row …"));
    let guard = RollbackGuardFile::new(config.default_rollback_guard_file.clone());
    // The configuration of the file may have had another one.
    let rollback_guard_file = if guard.check_access().is_ok() { guard } else { RollbackGuardFile::new(None) };
    let moving = Move {
        data_dir: &config.data_dir,
        root_keys: &config.root_keys,
        rollback_guard_file,
        now: SystemClock.now(),
    };
    let moved = if to_file { moving.to_file(database).await } else { moving.to_database(database).await };
    let outcome = if moved.is_ok() { "succeeded" } else { "failed" };
    audit.record(&Event::KeyOperation { operation: "move", outcome });
    match moved.map_err(|error| failure_of_move(WHAT, &error))? {
        MoveOutcome::MovedBefore => {
            context.terminal.say(&format!("an earlier run has moved the store to {to}"));
        }
        MoveOutcome::Moved(copied) => {
            context.terminal.say(&format!(
                "moved the store to {to}, with {}; users who are signing in at this moment run `infra login` again",
                counted(copied.live, "live session")
            ));
            if copied.left_out > 0 {
                context.terminal.warn(&format!(
                    "left out {} that infrad did not write: find out who can write to the database",
                    counted(copied.left_out, "row")
                ));
            }
            if copied.corrected > 0 {
                context.terminal.warn(&format!(
                    "corrected {} with values that infrad never writes: find out who can write to the store",
                    counted(copied.corrected, "row")
                ));
            }
        }
    }
    let start = if Unit::find().is_some() { "systemctl start infrad" } else { "infrad serve" };
    context.terminal.say(&if to_file {
        format!(
            "remove `database` from the configuration, then start the daemon: `{start}`; {shared} keeps its rows, and \
             daemons refuse it"
        )
    } else {
        format!(
            "start the daemons: `{start}`; {file} keeps its data, and a daemon without `database` in its configuration \
             refuses it"
        )
    });
    Ok(ExitCode::SUCCESS)
}

fn failure_of_move(what: &str, error: &MoveError) -> Failure {
    match error {
        MoveError::Copy(BackupError::Store(store)) => failure_of_store(what, store),
        MoveError::Copy(BackupError::Key(key)) => failure_for_keys(what, key, Some(key)),
        MoveError::Copy(other) => failure_with(what, other, false, None),
        MoveError::NoStore { .. } => {
            failure_with(what, error, false, Some("check `dataDir` and `database` in the configuration"))
        }
        MoveError::MovedBefore { .. } => failure_with(
            what,
            error,
            false,
            Some("name this database in `database`, or restore a backup with `infrad restore FILE`"),
        ),
        MoveError::RolledBack { .. } => failure_with(what, error, false, None),
    }
}

/// A failure of the database, with advice.
pub(super) fn failure_of_store(what: &str, error: &StoreError) -> Failure {
    failure_with(what, error, error.is_transient(), hint(error))
}

/// The first use of a database, which may have the wrong rights.
fn failure_of_database(what: &str, error: &StoreError) -> Failure {
    const OWNER: &str = "the role needs a database that it owns, and may create tables in its schema: `createdb --owner=ROLE NAME`, or \
                         `GRANT USAGE, CREATE ON SCHEMA public TO ROLE`, as an administrator of PostgreSQL";
    let advice = matches!(error, StoreError::Database(_) | StoreError::Forbidden(_)).then_some(OWNER);
    failure_with(what, error, error.is_transient(), advice.or_else(|| hint(error)))
}

fn hint(error: &StoreError) -> Option<&'static str> {
    match error {
        StoreError::Unavailable { problem, .. } => Some(problem.hint()),
        StoreError::InUse { .. } => Some(
            "stop every daemon that uses it, then run the same command again; one that was killed counts for 15 s",
        ),
        StoreError::HasSessions { .. } => Some(
            "check which of the two stores is in use; to replace this one, start a daemon with it and run `infrad sessions \
             revoke --all`, then stop it",
        ),
        StoreError::NoSchema { .. } => Some("create it once, on one host: `infrad database create`"),
        StoreError::OlderSchema { .. } => Some("upgrade it once, on one host: `infrad database create`"),
        StoreError::OtherStore { .. } => Some("use an empty database, or an empty `dataDir`"),
        StoreError::CopyDiffers { .. } => Some("run the same command again; it starts the copy again"),
        StoreError::NotReady { state, .. } => state.hint(),
        _ => None,
    }
}
