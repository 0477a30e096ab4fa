//! A database before its keys are open: creates the schema, and reads and adds key rows.

use jiff::Timestamp;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

use super::authorities::Authorities;
use super::connections::Connections;
use super::schema;
use super::settings::PostgresSettings;
use super::statements::parameters;
use crate::keys::{KeyKind, KeyRow, RowKeys, StoredKeys};
use crate::store::{StoreError, time};

pub struct PostgresDatabase {
    pub(super) connections: Connections,
}

impl PostgresDatabase {
    /// Opens no connection yet.
    pub fn new(settings: &PostgresSettings) -> Result<Self, StoreError> {
        Ok(Self { connections: Connections::new(settings)? })
    }

    pub(super) fn into_connections(self) -> Connections {
        self.connections
    }

    /// The database and its hosts, for errors and reports.
    pub fn describe(&self) -> &str {
        self.connections.describe()
    }

    /// Creates the schema or applies the migrations that it lacks. Returns its number.
    pub async fn create_schema(&self) -> Result<u32, StoreError> {
        schema::migrate(&self.connections).await?;
        Ok(schema::known())
    }

    /// Reads the key rows. `None` if the schema is there but no keys are.
    pub async fn keys(&self) -> Result<Option<StoredKeys>, StoreError> {
        schema::check(&self.connections).await?;
        self.connections.transaction(async |transaction| read_keys(transaction).await).await
    }

    /// Stores the first keys, and that there is no CA yet, unless another member was faster. Returns the keys that are
    /// stored. `row_keys` are those of `keys`.
    pub async fn add_first_keys(
        &self,
        keys: &StoredKeys,
        row_keys: &RowKeys,
        now: Timestamp,
    ) -> Result<StoredKeys, StoreError> {
        self.connections
            .transaction(async |transaction| {
                let (version, now) = (number(keys.current)?, time::to_database(now));
                let added = transaction
                    .execute_typed(
                        "INSERT INTO store (id, data_key_version, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                        &[(&keys.store, Type::TEXT), (&version, Type::INT4), (&now, Type::INT8)],
                    )
                    .await?;
                if added == 1 {
                    for row in &keys.rows {
                        insert_key(transaction, row, now).await?;
                    }
                    Authorities::default().save(transaction, row_keys).await?;
                }
                read_keys(transaction).await?.ok_or(StoreError::UnexpectedRow("store"))
            })
            .await
    }
}

pub(super) async fn read_keys(client: &Transaction<'_>) -> Result<Option<StoredKeys>, StoreError> {
    let store = client.query_typed_opt("SELECT id, data_key_version FROM store", &[]).await?;
    let Some(store) = store else { return Ok(None) };
    let rows = client
        .query_typed(
            "SELECT kind, version, root_key, wrapped, check_mac, \
             CASE WHEN octet_length(recovery) <= 16384 THEN recovery END FROM keys \
             WHERE octet_length(root_key) <= 4096 AND octet_length(wrapped) <= 16384 ORDER BY kind, version LIMIT 1000",
            &[],
        )
        .await?;
    Ok(Some(StoredKeys {
        store: store.try_get(0)?,
        current: version(store.try_get(1)?)?,
        rows: rows.iter().map(key_row).collect::<Result<_, _>>()?,
    }))
}

pub(super) async fn insert_key(
    transaction: &Transaction<'_>,
    row: &KeyRow,
    now: i64,
) -> Result<(), StoreError> {
    let (kind, version) = (row.kind.as_str(), number(row.version)?);
    transaction
        .execute_typed(
            "INSERT INTO keys (kind, version, root_key, wrapped, check_mac, created_at, recovery) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &[
                (&kind, Type::TEXT),
                (&version, Type::INT4),
                (&row.root_key, Type::TEXT),
                (&row.wrapped, Type::BYTEA),
                (&row.check.as_slice(), Type::BYTEA),
                (&now, Type::INT8),
                (&row.recovery, Type::BYTEA),
            ],
        )
        .await?;
    Ok(())
}

/// Stores other wrappings of the same keys. Leaves out keys that are no longer there.
pub(super) async fn replace_wrappings(
    transaction: &Transaction<'_>,
    rows: &[KeyRow],
) -> Result<(), StoreError> {
    // The check value identifies the key, which no wrapping changes.
    let update = "UPDATE keys SET root_key = $4, wrapped = $5, recovery = $6 \
                  WHERE kind = $1 AND version = $2 AND check_mac = $3";
    for row in rows {
        let (kind, version, check) = (row.kind.as_str(), number(row.version)?, row.check.as_slice());
        let parameters = parameters![kind, version, check, row.root_key, row.wrapped, row.recovery];
        transaction.execute_typed(update, parameters).await?;
    }
    Ok(())
}

fn key_row(row: &Row) -> Result<KeyRow, StoreError> {
    let unexpected = || StoreError::UnexpectedRow("keys");
    Ok(KeyRow {
        kind: KeyKind::parse(row.try_get(0)?).ok_or_else(unexpected)?,
        version: version(row.try_get(1)?)?,
        root_key: row.try_get(2)?,
        wrapped: row.try_get(3)?,
        check: row.try_get::<_, &[u8]>(4)?.try_into().map_err(|_| unexpected())?,
        recovery: row.try_get(5)?,
    })
}

fn version(number: i32) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| StoreError::UnexpectedRow("a key version"))
}

pub(super) fn number(version: u32) -> Result<i32, StoreError> {
    i32::try_from(version).map_err(|_| StoreError::UnexpectedRow("a key version"))
}
