//! Accounts at certification authorities, and how often they may be asked: kept, so that a restart forgets nothing.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{OptionalExtension, params};

use super::time::{from_database, to_database};
use super::{Store, StoreError};
use crate::keys::Sealed;

const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);

/// An order that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderID(i64);

/// Whether an order may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BegunOrder {
    /// It counts as one that failed until [`Store::settle_orders`] or [`Store::release_order`] says otherwise.
    Begun(OrderID),
    /// So many brought nothing of late.
    Spent { until: Timestamp },
    /// The authority asked to be left alone.
    Paused { until: Timestamp },
}

impl Store {
    /// The sealed credentials of the account at the authority with this directory.
    pub fn find_acme_account(&self, directory: &str) -> Result<Option<Sealed>, StoreError> {
        self.connections.read(|reader| {
            let mut select = reader.prepare("SELECT credentials FROM acme_accounts WHERE directory = ?1")?;
            Ok(select.query_row([directory], |row| Ok(Sealed::from_store(row.get(0)?))).optional()?)
        })
    }

    pub async fn save_acme_account(&self, directory: String, credentials: Sealed) -> Result<(), StoreError> {
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

    /// Forgets the account at the authority with this directory, which does not know it any more.
    pub async fn forget_acme_account(&self, directory: String) -> Result<(), StoreError> {
        self.connections
            .write(move |transaction| {
                transaction.execute("DELETE FROM acme_accounts WHERE directory = ?1", [directory])?;
                Ok(())
            })
            .await
    }

    /// Begins an order, unless `limit` orders of the last `window` brought nothing, or the authority asked for a pause.
    pub async fn begin_order(
        &self,
        now: Timestamp,
        limit: u32,
        window: SignedDuration,
    ) -> Result<BegunOrder, StoreError> {
        self.connections
            .write(move |transaction| {
                // A pause is never longer: a clock that was ahead when it was asked for must not keep it for ever.
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
                // Those of the future were begun before the clock was set back: they count from now.
                transaction
                    .execute("UPDATE acme_orders SET begun_at = ?1 WHERE begun_at > ?1", [to_database(now)])?;
                let since = to_database(now - window);
                let recent: Vec<i64> = transaction
                    .prepare("SELECT begun_at FROM acme_orders WHERE begun_at > ?1 ORDER BY begun_at DESC LIMIT ?2")?
                    .query_map(params![since, limit], |row| row.get(0))?
                    .collect::<Result<_, _>>()?;
                if let Some(oldest) = recent.last().filter(|_| recent.len() >= limit as usize) {
                    return Ok(BegunOrder::Spent { until: from_database(*oldest)? + window });
                }
                transaction.execute("DELETE FROM acme_orders WHERE begun_at <= ?1", [since])?;
                transaction.execute("INSERT INTO acme_orders (begun_at) VALUES (?1)", [to_database(now)])?;
                Ok(BegunOrder::Begun(OrderID(transaction.last_insert_rowid())))
            })
            .await
    }

    /// The order never came to be: it does not count.
    pub async fn release_order(&self, OrderID(id): OrderID) -> Result<(), StoreError> {
        self.connections
            .write(move |transaction| {
                transaction.execute("DELETE FROM acme_orders WHERE id = ?1", [id])?;
                Ok(())
            })
            .await
    }

    /// An order at the authority with this directory brought a certificate: what failed before does not count any more.
    pub async fn settle_orders(&self, directory: String, now: Timestamp) -> Result<(), StoreError> {
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

    /// When the last order brought a certificate, of the authority with this directory.
    pub fn find_obtained_at(&self, directory: &str) -> Result<Option<Timestamp>, StoreError> {
        self.connections.read(|reader| {
            let mut select = reader.prepare("SELECT obtained_at FROM acme_successes WHERE directory = ?1")?;
            let obtained_at: Option<i64> = select.query_row([directory], |row| row.get(0)).optional()?;
            obtained_at.map(from_database).transpose()
        })
    }

    /// No order before `until`, a day from now at most: the authority said so.
    pub async fn pause_orders(&self, until: Timestamp) -> Result<(), StoreError> {
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
