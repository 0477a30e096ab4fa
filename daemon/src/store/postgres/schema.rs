//! Migrates the schema with numbered SQL files, each in its own transaction.

use super::connections::Connections;
use crate::store::StoreError;

/// The migrations in order. `schema_version` holds the number of the last one applied.
pub(super) const MIGRATIONS: [&str; 2] =
    [include_str!("migrations/0001_first.sql"), include_str!("migrations/0002_recovery.sql")];

/// Held while one member migrates. Released with its transaction.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7311146994100167246)";

/// Limits for everything that this role runs in this database. They hold behind a pooler too, because no session has to set
/// them.
const LIMITS: &str = "DO $$ BEGIN
    EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET statement_timeout = %L', current_database(), '10s');
    EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET lock_timeout = %L', current_database(), '5s');
    EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET idle_in_transaction_session_timeout = %L',
        current_database(), '10s');
END $$";

const VERSION: &str = "CREATE TABLE IF NOT EXISTS schema_version (
    singleton smallint NOT NULL PRIMARY KEY DEFAULT 1 CHECK (singleton = 1), version integer NOT NULL);
    INSERT INTO schema_version (version) VALUES (0) ON CONFLICT DO NOTHING";

/// The namespace with the tables, if the role may not look into it.
pub(super) const HIDDEN: &str = "SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relname = 'schema_version' AND c.relkind = 'r' AND NOT has_schema_privilege(n.oid, 'USAGE') LIMIT 1";

/// What the role lacks for this namespace.
pub(super) fn hidden(namespace: &str) -> String {
    format!("the role lacks USAGE on the schema {namespace}, which has the tables")
}

/// The newest schema that this infrad supports.
pub(in crate::store) fn known() -> u32 {
    u32::try_from(MIGRATIONS.len()).expect("few migrations")
}

/// Returns the schema of the database; 0 if it has none.
async fn version(connections: &Connections) -> Result<u32, StoreError> {
    connections
        .run(async |client| {
            let exists = "SELECT to_regclass('schema_version') IS NOT NULL";
            if !client.query_typed_one(exists, &[]).await?.try_get(0)? {
                return match client.query_typed_opt(HIDDEN, &[]).await? {
                    Some(row) => Err(StoreError::Forbidden(hidden(row.try_get(0)?))),
                    None => Ok(0),
                };
            }
            let row = client.query_typed_one("SELECT version FROM schema_version", &[]).await?;
            number(row.try_get(0)?)
        })
        .await
}

/// Checks that the database has a schema that this infrad can use.
pub(in crate::store) async fn check(connections: &Connections) -> Result<(), StoreError> {
    match version(connections).await? {
        0 => Err(StoreError::NoSchema { database: connections.describe().to_owned() }),
        found if found > known() => Err(newer(connections, found, known())),
        found if found < known() => Err(StoreError::OlderSchema {
            database: connections.describe().to_owned(),
            found,
            known: known(),
        }),
        _ => Ok(()),
    }
}

/// Creates the schema, or applies the migrations that it lacks. Safe to run twice, and on several hosts at the same time.
pub(in crate::store) async fn migrate(connections: &Connections) -> Result<(), StoreError> {
    apply(&MIGRATIONS, connections).await
}

/// Applies those of `migrations` that the database lacks. If one fails, the schema stays as the one before it has left it.
pub(super) async fn apply(migrations: &[&str], connections: &Connections) -> Result<(), StoreError> {
    let known = u32::try_from(migrations.len()).expect("few migrations");
    connections
        .transaction(async |transaction| {
            transaction.batch_execute(LOCK).await?;
            transaction.batch_execute(LIMITS).await?;
            Ok(transaction.batch_execute(VERSION).await?)
        })
        .await?;
    for (number_of_this, migration) in (1..).zip(migrations) {
        connections
            .transaction(async |transaction| {
                // Before the version is read, so that it stays true.
                transaction.batch_execute(LOCK).await?;
                let row = transaction.query_typed_one("SELECT version FROM schema_version", &[]).await?;
                let found = number(row.try_get(0)?)?;
                if found > known {
                    return Err(newer(connections, found, known));
                }
                if found < number_of_this {
                    transaction.batch_execute(migration).await?;
                    let raise = format!("UPDATE schema_version SET version = {number_of_this}");
                    transaction.batch_execute(&raise).await?;
                }
                Ok(())
            })
            .await?;
    }
    Ok(())
}

fn newer(connections: &Connections, found: u32, known: u32) -> StoreError {
    StoreError::NewerSchema { database: connections.describe().to_owned(), found, known }
}

fn number(version: i32) -> Result<u32, StoreError> {
    u32::try_from(version).map_err(|_| StoreError::UnexpectedRow("schema_version"))
}
