//! Migrates the schema with numbered SQL files, each in its own transaction.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use super::copy;
use crate::keys::DatabaseKey;
use crate::store::StoreError;

/// The migrations in order. `user_version` holds the number of the last one applied.
pub(super) const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_first.sql")];

/// Applies the new `migrations`. First keeps a copy of an existing database, for the infrad that wrote it.
pub(super) fn migrate(
    migrations: &[&str],
    connection: &mut Connection,
    path: &Path,
    key: &DatabaseKey,
) -> Result<(), StoreError> {
    let known = u32::try_from(migrations.len()).expect("few migrations");
    let before: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if (1..known).contains(&before) {
        let kept = copy_before(path, before);
        // Left over from an interrupted migration.
        copy::remove(&kept)?;
        copy::export(connection, &kept, key)?;
        tracing::info!(copy = %kept.display(), "upgrading the database: kept a copy with the old schema");
    }
    for (number, migration) in (1..).zip(migrations) {
        // Lock for writing before reading the version, so that it stays true until it is raised.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found > known {
            return Err(StoreError::NewerSchema { database: path.display().to_string(), found, known });
        }
        if found < number {
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", number)?;
            transaction.commit()?;
        }
    }
    Ok(())
}

/// The path of the copy at version `schema`. It does not end in `.db`, because stray databases are removed.
pub(super) fn copy_before(path: &Path, schema: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".schema-{schema}"));
    name.into()
}

/// Rejects a schema newer than this infrad.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let known = u32::try_from(MIGRATIONS.len()).expect("few migrations");
    let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > known {
        return Err(StoreError::NewerSchema { database: path.display().to_string(), found, known });
    }
    Ok(())
}
