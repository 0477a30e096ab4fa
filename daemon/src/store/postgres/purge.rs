//! Deletes expired rows, in batches that skip rows in use.

use jiff::Timestamp;

use super::Postgres;
use super::statements::parameters;
use super::transactions::in_transaction;
use crate::store::leases::{Job, Lease};
use crate::store::sessions::expired_before;
use crate::store::{StoreError, time};

/// Rows deleted per transaction.
const BATCH: u16 = 5000;

impl Postgres {
    /// Deletes nothing while another member does.
    pub(in crate::store) async fn purge(&self, now: Timestamp) -> Result<usize, StoreError> {
        let Some(lease) = self.take_lease(Job::Purge).await? else { return Ok(0) };
        let deleted = self.purge_under(&lease, now).await;
        self.end_lease(&lease).await?;
        deleted
    }

    async fn purge_under(&self, lease: &Lease, now: Timestamp) -> Result<usize, StoreError> {
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
            self.delete_in_batches(lease, &delete, expired).await?;
        }
        self.purge_refresh_tokens(lease, now).await?;
        self.purge_changes(lease).await?;
        let delete = "DELETE FROM sessions WHERE id = ANY (ARRAY \
                      (SELECT id FROM sessions WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED))";
        self.delete_in_batches(lease, delete, time::to_database(expired_before(now))).await
    }

    /// Runs `delete` until it finds less than a batch. $1: the time, $2: the size of a batch. Returns the number of rows.
    pub(super) async fn delete_in_batches(
        &self,
        lease: &Lease,
        delete: &str,
        before: i64,
    ) -> Result<usize, StoreError> {
        let mut count = 0;
        loop {
            let deleted = in_transaction!(self, transaction => {
                self.expect_held(&transaction, lease).await?;
                Ok(transaction.execute_typed(delete, parameters![before, i64::from(BATCH)]).await?)
            })?;
            count += usize::try_from(deleted).map_err(|_| StoreError::UnexpectedRow("a count"))?;
            if deleted < u64::from(BATCH) {
                return Ok(count);
            }
            self.renew_lease(lease).await?;
        }
    }
}
