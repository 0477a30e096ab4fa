//! ACME accounts and orders, shared by all members.

use infra_shared::random;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::Transaction;

use super::Postgres;
use super::named_rows::NamedRow;
use super::statements::parameters;
use super::transactions::in_transaction;
use crate::keys::Sealed;
use crate::store::acme::{LONGEST_PAUSE, spent_until};
use crate::store::time::{from_database, to_database};
use crate::store::{BegunOrder, Lease, OrderID, StoreError};

pub(super) const ACCOUNTS: NamedRow = NamedRow { table: "acme_accounts", key: "directory_key" };
/// When each directory last issued a certificate.
pub(super) const SUCCESSES: NamedRow = NamedRow { table: "acme_successes", key: "directory_key" };

impl Postgres {
    pub(in crate::store) async fn find_acme_account(
        &self,
        directory: &str,
    ) -> Result<Option<Sealed>, StoreError> {
        let credentials = ACCOUNTS.find(self, directory).await?;
        Ok(credentials.map(|credentials| Sealed::from_store(credentials.to_vec())))
    }

    pub(in crate::store) async fn save_acme_account(
        &self,
        directory: String,
        credentials: Sealed,
        lease: &Lease,
    ) -> Result<(), StoreError> {
        let keys = &*self.rows;
        in_transaction!(self, transaction => {
            self.expect_held(&transaction, lease).await?;
            ACCOUNTS.save(&transaction, keys, &directory, credentials.as_bytes()).await
        })
    }

    pub(in crate::store) async fn forget_acme_account(
        &self,
        directory: String,
        lease: &Lease,
    ) -> Result<(), StoreError> {
        let keys = &*self.rows;
        in_transaction!(self, transaction => {
            self.expect_held(&transaction, lease).await?;
            ACCOUNTS.delete(&transaction, keys, &directory).await
        })
    }

    pub(in crate::store) async fn begin_order(
        &self,
        now: Timestamp,
        limit: u32,
        window: SignedDuration,
        lease: &Lease,
    ) -> Result<BegunOrder, StoreError> {
        in_transaction!(self, transaction => {
            self.expect_held(&transaction, lease).await?;
            begin_order(&transaction, now, limit, window).await
        })
    }

    pub(in crate::store) async fn release_order(&self, OrderID(id): OrderID) -> Result<(), StoreError> {
        self.write("DELETE FROM acme_orders WHERE id = $1", parameters![id]).await.map(|_| ())
    }

    pub(in crate::store) async fn settle_orders(
        &self,
        directory: String,
        now: Timestamp,
        lease: &Lease,
    ) -> Result<(), StoreError> {
        let keys = &*self.rows;
        in_transaction!(self, transaction => {
            self.expect_held(&transaction, lease).await?;
            settle(&transaction).await?;
            SUCCESSES.save(&transaction, keys, &directory, &to_database(now).to_be_bytes()).await
        })
    }

    pub(in crate::store) async fn find_obtained_at(
        &self,
        directory: &str,
    ) -> Result<Option<Timestamp>, StoreError> {
        let obtained_at = SUCCESSES.find(self, directory).await?;
        obtained_at.map(|contents| from_database(read_obtained_at(&contents)?)).transpose()
    }

    pub(in crate::store) async fn pause_orders(&self, until: Timestamp) -> Result<(), StoreError> {
        let update = "UPDATE acme_pause SET until = greatest(until, $1)";
        self.write(update, parameters![to_database(until)]).await.map(|_| ())
    }
}

async fn begin_order(
    transaction: &Transaction<'_>,
    now: Timestamp,
    limit: u32,
    window: SignedDuration,
) -> Result<BegunOrder, StoreError> {
    // Locks the row until the commit, so that members begin orders one by one. Caps the pause: it may have been stored when
    // a clock was ahead.
    let pause = "UPDATE acme_pause SET until = least(until, $1) RETURNING until";
    let row = transaction.query_typed_one(pause, parameters![to_database(now + LONGEST_PAUSE)]).await?;
    let until = from_database(row.try_get(0)?)?;
    if until > now {
        return Ok(BegunOrder::Paused { until });
    }
    // Orders in the future were started before the clock was set back: count them from now.
    let set_back = "UPDATE acme_orders SET begun_at = $1 WHERE begun_at > $1";
    transaction.execute_typed(set_back, parameters![to_database(now)]).await?;
    let since = to_database(now - window);
    let select = "SELECT begun_at FROM acme_orders WHERE begun_at > $1 ORDER BY begun_at DESC LIMIT $2";
    let rows = transaction.query_typed(select, parameters![since, i64::from(limit)]).await?;
    let recent: Vec<Timestamp> =
        rows.iter().map(|row| from_database(row.try_get(0)?)).collect::<Result<_, _>>()?;
    if let Some(until) = spent_until(&recent, limit, window) {
        return Ok(BegunOrder::Spent { until });
    }
    let delete = "DELETE FROM acme_orders WHERE begun_at <= $1";
    transaction.execute_typed(delete, parameters![since]).await?;
    let id = i64::from_be_bytes(random::bytes());
    let insert = "INSERT INTO acme_orders (id, begun_at) VALUES ($1, $2)";
    transaction.execute_typed(insert, parameters![id, to_database(now)]).await?;
    Ok(BegunOrder::Begun(OrderID(id)))
}

pub(super) fn read_obtained_at(contents: &[u8]) -> Result<i64, StoreError> {
    let bytes = contents.try_into().map_err(|_| StoreError::UnexpectedRow(SUCCESSES.table))?;
    Ok(i64::from_be_bytes(bytes))
}

async fn settle(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    // First, as each order does.
    transaction.execute_typed("UPDATE acme_pause SET until = 0", &[]).await?;
    transaction.execute_typed("DELETE FROM acme_orders", &[]).await?;
    Ok(())
}
