//! ACME orders and their limits, which hold across restarts.

use jiff::{SignedDuration, Timestamp};

use super::engine::await_engine;
use super::{Lease, Store, StoreError};
use crate::keys::Sealed;

/// The longest pause that an authority can ask for.
pub(super) const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);

/// Chosen at random by the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderID(pub(super) i64);

/// Whether an order may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BegunOrder {
    /// Counts as failed until `Store::settle_orders` or `Store::release_order` is called.
    Begun(OrderID),
    /// Too many recent orders failed.
    Spent { until: Timestamp },
    /// The certification authority asked for a pause.
    Paused { until: Timestamp },
}

/// Until when no order may start, if `limit` orders failed within `window`. `recent` are those, newest first.
pub(super) fn spent_until(recent: &[Timestamp], limit: u32, window: SignedDuration) -> Option<Timestamp> {
    recent.last().filter(|_| recent.len() >= limit as usize).map(|oldest| *oldest + window)
}

impl Store {
    /// Looks up the sealed credentials of the account at the directory URL `directory`.
    pub async fn find_acme_account(&self, directory: &str) -> Result<Option<Sealed>, StoreError> {
        await_engine!(self, engine => engine.find_acme_account(directory))
    }

    pub async fn save_acme_account(
        &self,
        directory: String,
        credentials: Sealed,
        lease: &Lease,
    ) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.save_acme_account(directory, credentials, lease))
    }

    /// Deletes the account at `directory`, after the authority reported it as unknown.
    pub async fn forget_acme_account(&self, directory: String, lease: &Lease) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.forget_acme_account(directory, lease))
    }

    /// Starts an order, unless `limit` orders failed within `window` or the authority asked for a pause.
    pub async fn begin_order(
        &self,
        now: Timestamp,
        limit: u32,
        window: SignedDuration,
        lease: &Lease,
    ) -> Result<BegunOrder, StoreError> {
        await_engine!(self, engine => engine.begin_order(now, limit, window, lease))
    }

    /// Removes an order that never reached the authority, so that it does not count.
    pub async fn release_order(&self, order: OrderID) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.release_order(order))
    }

    /// Records that `directory` issued a certificate. Earlier failures no longer count.
    pub async fn settle_orders(
        &self,
        directory: String,
        now: Timestamp,
        lease: &Lease,
    ) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.settle_orders(directory, now, lease))
    }

    /// Returns when `directory` last issued a certificate.
    pub async fn find_obtained_at(&self, directory: &str) -> Result<Option<Timestamp>, StoreError> {
        await_engine!(self, engine => engine.find_obtained_at(directory))
    }

    /// Blocks orders until `until`, at the authority's request. [`Store::begin_order`] caps the pause at one day.
    pub async fn pause_orders(&self, until: Timestamp) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.pause_orders(until))
    }
}
