//! Counts connections that the limits refuse, and logs at most one a minute for each limit: any client can trigger them.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// The limit that a refused connection would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// Connections of one address (IPv6: of one /64).
    Address,
    /// Connections of all addresses.
    Connections,
    /// Memory of all connections.
    Memory,
}

/// Counts of refused connections.
#[derive(Debug, Default)]
pub struct RefusedConnections(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    address: Count,
    connections: Count,
    memory: Count,
}

#[derive(Debug, Default)]
struct Count {
    total: u64,
    unlogged: u64,
    logged_at: Option<Instant>,
}

impl RefusedConnections {
    /// The number of refused connections by limit, with zeros.
    pub fn counts(&self) -> [(&'static str, u64); 3] {
        let Counts { address, connections, memory } = &*self.0.lock().unwrap_or_else(PoisonError::into_inner);
        [("address", address.total), ("connections", connections.total), ("memory", memory.total)]
    }

    /// Counts a connection of `client`, and logs it unless another was logged within the last minute.
    pub(super) fn record(&self, limit: Limit, client: IpAddr) {
        let Some(refused) = self.count(limit, Instant::now()) else { return };
        match limit {
            Limit::Address => tracing::warn!(
                %client, refused,
                "refused connections: the address has as many as `limits.maxConnectionsPerAddress` allows; if services \
                 are there, list it in their `addresses`"
            ),
            Limit::Connections => tracing::warn!(
                %client, refused,
                "refused connections: there are as many as `limits.maxConnections` allows"
            ),
            Limit::Memory => {
                tracing::warn!(%client, refused, "refused connections: `limits.maxMemoryBytes` is used up");
            }
        }
    }

    /// Counts a connection. Returns how many were refused since the last logged one, if this one is to be logged.
    fn count(&self, limit: Limit, now: Instant) -> Option<u64> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = match limit {
            Limit::Address => &mut counts.address,
            Limit::Connections => &mut counts.connections,
            Limit::Memory => &mut counts.memory,
        };
        count.total += 1;
        count.unlogged += 1;
        if count.logged_at.is_some_and(|logged| now.duration_since(logged) < LOG_INTERVAL) {
            return None;
        }
        count.logged_at = Some(now);
        Some(std::mem::take(&mut count.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_connections_are_logged_once_a_minute() {
        let (refused, begin) = (RefusedConnections::default(), Instant::now());
        assert_eq!(refused.count(Limit::Address, begin), Some(1));
        for _ in 0..1000 {
            assert_eq!(refused.count(Limit::Address, begin + LOG_INTERVAL / 2), None);
        }
        assert_eq!(refused.count(Limit::Memory, begin), Some(1));
        assert_eq!(refused.count(Limit::Address, begin + LOG_INTERVAL), Some(1001));
        assert_eq!(refused.counts(), [("address", 1002), ("connections", 0), ("memory", 1)]);
    }
}
