//! The numbered list of changed and ended sessions, which tells the other members what to drop from their caches.
//!
//! A change is written in the transaction that makes it. The lock of the counter's row orders numbers by commit, so a member
//! that knows number 7 knows everything up to 7; a sequence would not.

use tokio_postgres::Transaction;

use super::Postgres;
use super::statements::parameters;
use crate::store::freshness::Change;
use crate::store::{Lease, StoreError};

/// Call it last in the transaction: until the commit, it delays all other changes.
///
/// Succeeds for every value in these tables, because an attacker with write access must not prevent a sign-out: a number at
/// its end starts again, and a number that exists gets another mark. Members notice both.
const RECORD: &str = "WITH next AS (INSERT INTO counter AS c (singleton, value, origin) VALUES (1, 1, '') \
    ON CONFLICT (singleton) DO UPDATE SET value = CASE WHEN c.value BETWEEN 0 AND 1000000000000000000 THEN c.value + 1 \
    ELSE 1 END RETURNING value) \
    INSERT INTO changes AS c (number, session_ids, is_all) SELECT value, $1, $2 FROM next \
    ON CONFLICT (number) DO UPDATE SET session_ids = excluded.session_ids, is_all = excluded.is_all, \
    mark = excluded.mark, at = excluded.at RETURNING number, mark::text";

/// Where the tables were created. A replica and its primary have the same; a restored dump has another than it says.
pub(super) const ORIGIN: &str =
    "(SELECT system_identifier || ' ' || 'counter'::regclass::oid FROM pg_control_system())";

/// Records that these sessions changed.
pub(super) async fn record(transaction: &Transaction<'_>, ids: &[&str]) -> Result<Change, StoreError> {
    insert(transaction, ids.to_vec(), false).await
}

/// Records that any session may have changed.
pub(super) async fn record_all(transaction: &Transaction<'_>) -> Result<Change, StoreError> {
    insert(transaction, Vec::new(), true).await
}

async fn insert(transaction: &Transaction<'_>, ids: Vec<&str>, is_all: bool) -> Result<Change, StoreError> {
    let row = transaction.query_typed_one(RECORD, parameters![ids, is_all]).await?;
    Ok(Change { number: row.try_get("number")?, mark: row.try_get("mark")? })
}

impl Postgres {
    /// Deletes changes that every running member has seen long ago, except the newest: members compare its mark. A member
    /// that has not seen them clears its cache.
    pub(super) async fn purge_changes(&self, lease: &Lease) -> Result<(), StoreError> {
        let delete = "DELETE FROM changes WHERE number = ANY (ARRAY \
                      (SELECT number FROM changes WHERE at < now() - interval '10 minutes' \
                       AND number < (SELECT value FROM counter) LIMIT $2))";
        // The clock of the database decides, not a parameter.
        self.delete_in_batches(lease, delete, 0).await.map(|_| ())
    }
}
