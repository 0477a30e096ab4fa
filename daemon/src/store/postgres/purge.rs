//! Deletes expired rows, in batches that skip rows in use.

use jiff::Timestamp;

use super::Postgres;
use super::statements::parameters;
use crate::store::sessions::expired_before;
use crate::store::{StoreError, time};

/// Rows deleted per transaction.
const BATCH: u16 = 5000;

/// The members take turns, because one is enough.
const LEASE: &str = "purge";

impl Postgres {
    pub(in crate::store) async fn purge(&self, now: Timestamp) -> Result<usize, StoreError> {
        if self.take_lease(LEASE).await?.is_none() {
            return Ok(0);
        }
        // Recorded before anything is deleted, for members whose clock is set back.
        let now = time::from_database(self.raise_latest(self.not_before_latest(now)).await?)?;
        let expired = time::to_database(now);
        for (table, key) in
            [("consumed_tickets", "id"), ("audience_tokens", "id"), ("acme_challenges", "name_key")]
        {
            let delete = format!(
                "DELETE FROM {table} WHERE {key} = ANY (ARRAY \
                 (SELECT {key} FROM {table} WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))"
            );
            self.delete_in_batches(&delete, expired).await?;
        }
        self.purge_refresh_tokens(now).await?;
        self.purge_changes().await?;
        let delete = "DELETE FROM sessions WHERE id = ANY (ARRAY \
                      (SELECT id FROM sessions WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";
        self.delete_in_batches(delete, time::to_database(expired_before(now))).await
    }

    /// Runs `delete` until it finds less than a batch. $1: the time, $2: the size of a batch. Returns the number of rows.
    pub(super) async fn delete_in_batches(&self, delete: &str, before: i64) -> Result<usize, StoreError> {
        let mut count = 0;
        loop {
            let deleted = self.write(delete, parameters![before, i64::from(BATCH)]).await?;
            count += deleted;
            if deleted < usize::from(BATCH) {
                return Ok(count);
            }
        }
    }
}
