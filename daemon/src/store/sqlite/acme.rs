//! ACME accounts and orders.

use infra_shared::random;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension, params};

use super::Sqlite;
use crate::keys::Sealed;
use crate::store::acme::{LONGEST_PAUSE, spent_until};
use crate::store::time::{from_database, to_database};
use crate::store::{BegunOrder, Lease, OrderID, StoreError};

impl Sqlite {
    pub(in crate::store) async fn find_acme_account(
        &self,
        directory: &str,
    ) -> Result<Option<Sealed>, StoreError> {
        self.connections
            .look_up(|reader| {
                let mut select =
                    reader.prepare("SELECT credentials FROM acme_accounts WHERE directory = ?1")?;
                Ok(select.query_row([directory], |row| Ok(Sealed::from_store(row.get(0)?))).optional()?)
            })
            .await
    }

    pub(in crate::store) async fn save_acme_account(
        &self,
        directory: String,
        credentials: Sealed,
        _: &Lease,
    ) -> Result<(), StoreError> {
        self.connections
            .write(move |transaction| {
                transaction.execute(
                    "INSERT INTO acme_accounts (directory, credentials) VALUES (?1, ?2)
                     ON CONFLICT (directory) DO UPDATE SET credentials = excluded.credentials",
                    params![directory, credentials.as_bytes()],
                )?;
                Ok(())
            })
            .await
    }

    pub(in crate::store) async fn forget_acme_account(
        &self,
        directory: String,
        _: &Lease,
    ) -> Result<(), StoreError> {
        self.connections
            .write(move |transaction| {
                transaction.execute("DELETE FROM acme_accounts WHERE directory = ?1", [directory])?;
                Ok(())
            })
            .await
    }

    pub(in crate::store) async fn begin_order(
        &self,
        now: Timestamp,
        limit: u32,
        window: SignedDuration,
        _: &Lease,
    ) -> Result<BegunOrder, StoreError> {
        self.connections
            .write(move |transaction| {
                // Cap the pause: it may have been stored when the clock was ahead.
                transaction
                    .execute("UPDATE acme_pause SET until = min(until, ?1)", [to_database(now + LONGEST_PAUSE)])?;
                let pause: Option<i64> = transaction
                    .query_row("SELECT until FROM acme_pause WHERE until > ?1", [to_database(now)], |row| {
                        row.get(0)
                    })
                    .optional()?;
                if let Some(until) = pause {
                    return Ok(BegunOrder::Paused { until: from_database(until)? });
                }
                // Orders in the future were started before the clock was set back: count them from now.
                transaction
                    .execute("UPDATE acme_orders SET begun_at = ?1 WHERE begun_at > ?1", [to_database(now)])?;
                let since = to_database(now - window);
                let recent: Vec<Timestamp> = transaction
                    .prepare("SELECT begun_at FROM acme_orders WHERE begun_at > ?1 ORDER BY begun_at DESC LIMIT ?2")?
                    .query_and_then(params![since, limit], |row| from_database(row.get(0)?))?
                    .collect::<Result<_, _>>()?;
                if let Some(until) = spent_until(&recent, limit, window) {
                    return Ok(BegunOrder::Spent { until });
                }
                transaction.execute("DELETE FROM acme_orders WHERE begun_at <= ?1", [since])?;
                let id = i64::from_be_bytes(random::bytes());
                transaction.execute(
                    "INSERT INTO acme_orders (id, begun_at) VALUES (?1, ?2)",
                    params![id, to_database(now)],
                )?;
                Ok(BegunOrder::Begun(OrderID(id)))
            })
            .await
    }

    pub(in crate::store) async fn release_order(&self, OrderID(id): OrderID) -> Result<(), StoreError> {
        self.connections
            .write(move |transaction| {
                transaction.execute("DELETE FROM acme_orders WHERE id = ?1", [id])?;
                Ok(())
            })
            .await
    }

    pub(in crate::store) async fn settle_orders(
        &self,
        directory: String,
        now: Timestamp,
        _: &Lease,
    ) -> Result<(), StoreError> {
        self.connections
            .write(move |transaction| {
                transaction.execute("DELETE FROM acme_orders", [])?;
                transaction.execute("DELETE FROM acme_pause", [])?;
                transaction.execute(
                    "INSERT INTO acme_successes (directory, obtained_at) VALUES (?1, ?2)
                     ON CONFLICT (directory) DO UPDATE SET obtained_at = excluded.obtained_at",
                    params![directory, to_database(now)],
                )?;
                Ok(())
            })
            .await
    }

    pub(in crate::store) async fn find_obtained_at(
        &self,
        directory: &str,
    ) -> Result<Option<Timestamp>, StoreError> {
        self.connections
            .look_up(|reader| {
                let mut select =
                    reader.prepare("SELECT obtained_at FROM acme_successes WHERE directory = ?1")?;
                let obtained_at: Option<i64> = select.query_row([directory], |row| row.get(0)).optional()?;
                obtained_at.map(from_database).transpose()
            })
            .await
    }

    pub(in crate::store) async fn pause_orders(&self, until: Timestamp) -> Result<(), StoreError> {
        self.connections
            .write(move |transaction| {
                transaction.execute(
                    "INSERT INTO acme_pause (only, until) VALUES (1, ?1)
                     ON CONFLICT (only) DO UPDATE SET until = max(until, excluded.until)",
                    [to_database(until)],
                )?;
                Ok(())
            })
            .await
    }
}
