//! Brings the schema up to date by numbered SQL files, each in a transaction of its own.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use super::{StoreError, copy};
use crate::keys::DatabaseKey;

/// In order; the number of those applied is the database's `user_version`.
pub(super) const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_first.sql")];

/// Applies what is new in `migrations`. Before a database that holds something changes its form, a copy of it is kept, for
/// the infrad that wrote it.
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
        // One that was not finished is worth nothing.
        copy::remove(&kept)?;
        copy::export(connection, &kept, key)?;
        tracing::info!(copy = %kept.display(), "a copy of the database is kept in the form that it had");
    }
    for (number, migration) in (1..).zip(migrations) {
        // Taken for writing before the version is read: two daemons that start at once migrate one after the other.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found > known {
            return Err(StoreError::NewerSchema { path: path.display().to_string(), found, known });
        }
        if found < number {
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", number)?;
            transaction.commit()?;
        }
    }
    Ok(())
}

/// Where the copy in the form of `schema` is kept. It does not end like a database: those that no header names are removed.
pub(super) fn copy_before(path: &Path, schema: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".schema-{schema}"));
    name.into()
}

/// Whether this infrad knows the schema.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let known = u32::try_from(MIGRATIONS.len()).expect("few migrations");
    let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > known {
        return Err(StoreError::NewerSchema { path: path.display().to_string(), found, known });
    }
    Ok(())
}
