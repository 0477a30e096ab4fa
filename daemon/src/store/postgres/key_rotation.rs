//! Key rows, and the steps of a rotation.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::Postgres;
use super::database::{insert_key, number, read_keys, replace_wrappings};
use super::statements::{count, parameters};
use super::transactions::in_transaction;
use crate::keys::{KeyRow, RowPlace, SealedRow, StoredKeys};
use crate::store::key_rotation::MembersBehind;
use crate::store::{Lease, StoreError, time};

/// Rows sealed again per transaction. All of the largest size fit in one answer.
const BATCH: i64 = 100;

/// A table of sealed rows, and the SQL expressions of what the seal of each row binds.
struct SealedTable {
    name: &'static str,
    id: &'static str,
    token_mac: &'static str,
    user_key: &'static str,
    created_at: &'static str,
    expires_at: &'static str,
}

const NAMED: SealedTable = SealedTable {
    name: "",
    id: "name_key",
    token_mac: "''::bytea",
    user_key: "''::bytea",
    created_at: "0::bigint",
    expires_at: "0::bigint",
};

/// All tables with sealed rows except `members`, whose rows are written again with each heartbeat.
const TABLES: [SealedTable; 9] = [
    SealedTable {
        name: "sessions",
        id: "convert_to(id, 'UTF8')",
        token_mac: "token_mac",
        user_key: "user_key",
        created_at: "created_at",
        expires_at: "expires_at",
    },
    SealedTable {
        name: "audience_tokens",
        id: "convert_to(id, 'UTF8')",
        token_mac: "token_mac",
        user_key: "convert_to(session_id, 'UTF8')",
        created_at: "created_at",
        expires_at: "expires_at",
    },
    SealedTable {
        name: "refresh_tokens",
        id: "convert_to(session_id, 'UTF8')",
        user_key: "provider_key",
        ..NAMED
    },
    SealedTable { name: "providers", user_key: "convert_to(member_id, 'UTF8')", ..NAMED },
    SealedTable { name: "provider_endpoints", id: "provider_key", ..NAMED },
    SealedTable { name: "certificates", ..NAMED },
    SealedTable { name: "acme_accounts", id: "directory_key", ..NAMED },
    SealedTable { name: "acme_successes", id: "directory_key", ..NAMED },
    SealedTable { name: "acme_challenges", expires_at: "expires_at", ..NAMED },
];

impl Postgres {
    pub(in crate::store) async fn stored_keys(&self) -> Result<StoredKeys, StoreError> {
        in_transaction!(self, transaction => {
            read_keys(&transaction).await?.ok_or(StoreError::UnexpectedRow("store"))
        })
    }

    pub(in crate::store) async fn add_data_key(
        &self,
        row: &KeyRow,
        now: Timestamp,
        lease: &Lease,
    ) -> Result<(), StoreError> {
        let now = time::to_database(now);
        in_transaction!(self, transaction => {
            self.expect_held(&transaction, lease).await?;
            insert_key(&transaction, row, now).await
        })
    }

    pub(in crate::store) async fn rewrap_keys(
        &self,
        rows: &[KeyRow],
        lease: &Lease,
    ) -> Result<(), StoreError> {
        in_transaction!(self, transaction => {
            self.expect_held(&transaction, lease).await?;
            replace_wrappings(&transaction, rows).await
        })
    }

    /// A member's own row is sealed with the key that it seals with.
    pub(in crate::store) async fn members_behind(&self, version: u32) -> Result<MembersBehind, StoreError> {
        let select = "SELECT count(*) FILTER (WHERE newest_key < $1), count(*) FILTER (WHERE key_version < $1) \
                      FROM members WHERE seen_at > now() - interval '15 s'";
        let row = self.read_one(select, parameters![number(version)?]).await?;
        let row = row.ok_or(StoreError::UnexpectedRow("a count"))?;
        Ok(match (count(row.try_get(0)?)?, count(row.try_get(1)?)?) {
            (0, 0) => MembersBehind::None,
            (0, sealing) => MembersBehind::Sealing(sealing),
            (reading, _) => MembersBehind::Reading(reading),
        })
    }

    pub(in crate::store) async fn use_data_key(&self, version: u32, lease: &Lease) -> Result<(), StoreError> {
        let update = "UPDATE store SET data_key_version = $1 WHERE NOT EXISTS \
                      (SELECT FROM members WHERE newest_key < $1 AND seen_at > now() - interval '15 s')";
        let version = number(version)?;
        let updated = in_transaction!(self, transaction => {
            self.expect_held(&transaction, lease).await?;
            Ok(transaction.execute_typed(update, parameters![version]).await?)
        })?;
        // A member that has just started.
        if updated == 1 { Ok(()) } else { Err(StoreError::Busy) }
    }

    pub(in crate::store) async fn reseal_some(&self, lease: &Lease) -> Result<usize, StoreError> {
        for table in &TABLES {
            let resealed = self.reseal_some_of(table, lease).await?;
            if resealed > 0 {
                return Ok(resealed);
            }
        }
        Ok(0)
    }

    /// Rows in use are left for the next call.
    async fn reseal_some_of(&self, table: &SealedTable, lease: &Lease) -> Result<usize, StoreError> {
        let SealedTable { name, id, token_mac, user_key, created_at, expires_at } = table;
        let select = format!(
            "SELECT ctid::text, key_version, \
             CASE WHEN octet_length(sealed) <= 262144 THEN sealed END, {id}, {token_mac}, {user_key}, {created_at}, {expires_at} \
             FROM {name} WHERE key_version < $1 LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED"
        );
        let update = format!(
            "UPDATE {name} t SET key_version = $1, sealed = coalesce(u.sealed, t.sealed) \
             FROM unnest($2, $3) AS u (place, sealed) WHERE t.ctid = u.place::tid"
        );
        let version = number(self.rows.current_version())?;
        in_transaction!(self, transaction => {
            self.expect_held(&transaction, lease).await?;
            let rows = transaction.query_typed(&select, parameters![version, BATCH]).await?;
            let (mut places, mut sealed) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
            for row in &rows {
                places.push(row.try_get::<_, String>(0)?);
                sealed.push(self.reseal(name, row)?);
            }
            // Not the number of rows: what keeps a row from being changed would keep a rotation from ending.
            let resealed = transaction.execute_typed(&update, parameters![version, places, sealed]).await?;
            usize::try_from(resealed).map_err(|_| StoreError::UnexpectedRow("a count"))
        })
    }

    /// A row that does not open, or is larger than any of infrad, is of no use to anyone and keeps its seal: `None`.
    fn reseal(&self, table: &'static str, row: &Row) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(bytes) = row.try_get(2)? else { return Ok(None) };
        let sealed = SealedRow { key_version: row.try_get(1)?, bytes };
        let place = RowPlace {
            table,
            id: row.try_get(3)?,
            token_mac: row.try_get(4)?,
            user_key: row.try_get(5)?,
            created_at: row.try_get(6)?,
            expires_at: row.try_get(7)?,
        };
        if let Ok(opened) = self.rows.open(&place, &sealed) {
            return Ok(Some(self.rows.seal(&place, &opened).bytes));
        }
        tracing::error!(table, "left a row as it was that infrad did not write like this");
        Ok(None)
    }

    /// A member that was paused or killed delays this until its row is forgotten, because it may still seal with an older
    /// key.
    pub(in crate::store) async fn drop_replaced_data_keys(&self, lease: &Lease) -> Result<bool, StoreError> {
        let current = "(SELECT data_key_version FROM store)";
        let tables = TABLES.iter().map(|table| table.name).chain(["members"]);
        let unused: Vec<String> = tables
            .map(|table| format!("NOT EXISTS (SELECT FROM {table} WHERE key_version < {current})"))
            .collect();
        let delete = format!(
            "DELETE FROM keys WHERE kind = 'data' AND version < {current} AND {}",
            unused.join(" AND ")
        );
        let deleted = in_transaction!(self, transaction => {
            self.expect_held(&transaction, lease).await?;
            Ok(transaction.execute_typed(&delete, &[]).await?)
        })?;
        Ok(deleted > 0)
    }
}
