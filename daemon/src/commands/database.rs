//! `infrad database`: prepares the PostgreSQL database of several daemons.

use std::process::ExitCode;

use infra_shared::clock::{Clock, SystemClock};

use super::service_access::expect_inside;
use super::{Context, failure_for_keys, failure_with};
use crate::arguments::DatabaseCommand;
use crate::failure::Failure;
use crate::keys::{KeyError, SharedKeys, StoredKeys};
use crate::store::{PostgresDatabase, StoreError};

pub(super) async fn run(context: &Context, command: DatabaseCommand) -> Result<ExitCode, Failure> {
    match command {
        DatabaseCommand::Create => create(context).await,
    }
}

async fn create(context: &Context) -> Result<ExitCode, Failure> {
    const WHAT: &str = "cannot create the database";
    let config = context.read_config()?;
    expect_inside(context, &config)?;
    let Some(settings) = &config.database else {
        return Err(Failure::usage(WHAT)
            .because_text(
                "the configuration has no `database` section, so the store is a file in `dataDir`".to_owned(),
            )
            .hint("add `database`: docs/several-daemons.md"));
    };
    let failed = |error: StoreError| failure_with(WHAT, &error, error.is_transient(), hint(&error));
    let failed_key = |error: KeyError| failure_for_keys(WHAT, &error, Some(&error));
    let database = PostgresDatabase::new(settings).map_err(failed)?;
    let schema = database.create_schema().await.map_err(failed)?;
    let stored = if let Some(stored) = database.keys().await.map_err(failed)? {
        stored
    } else {
        let keys = StoredKeys::create(&config.root_keys, &config.data_dir).await.map_err(failed_key)?;
        database.add_first_keys(&keys, SystemClock.now()).await.map_err(failed)?
    };
    let keys = SharedKeys::open(stored, database.describe(), &config.root_keys, &config.data_dir).await;
    let status = keys.map_err(failed_key)?.status();
    context.terminal.say(&format!(
        "{} is ready: schema {schema}, store {}, data key {}, wrapped by the root key {}",
        database.describe(),
        status.store,
        status.data_key_version,
        status.root_key
    ));
    Ok(ExitCode::SUCCESS)
}

fn hint(error: &StoreError) -> Option<&'static str> {
    match error {
        StoreError::Unavailable { problem, .. } => Some(problem.hint()),
        StoreError::Database(_) | StoreError::Forbidden(_) => Some(
            "the role needs a database that it owns, and may create tables in its schema: `createdb --owner=ROLE NAME`, or `GRANT \
             USAGE, CREATE ON SCHEMA public TO ROLE`, as an administrator of PostgreSQL",
        ),
        _ => None,
    }
}
