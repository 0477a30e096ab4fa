//! ACME orders and their limits, which hold across restarts.

use jiff::{SignedDuration, Timestamp};

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
