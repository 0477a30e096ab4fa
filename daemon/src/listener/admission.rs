//! Limits the number of connections, in total and per address, and the memory that they hold together.
//!
//! If all slots are taken, a client with few connections evicts one of the client with most, so an attacker with many
//! connections cannot lock out others. If every client has few, evict the connection that has waited longest for its
//! peer, so an attacker with many addresses cannot either. A client never evicts one that holds no more than itself.
//!
//! Memory is shared likewise: when it runs out, the client that holds most loses its heaviest connection.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ListenerLimits;
use super::activity::Activity;
use super::memory::HANDSHAKE;
use super::refused::{Limit, RefusedConnections};
use super::slots::Slots;
use crate::addresses::{Networks, client_key};

/// A connection that waits for its peer is safe from eviction for this long, to finish a handshake or send the next
/// of many requests.
const EVICTABLE_AFTER: Duration = Duration::from_secs(1);

/// Counts the open connections.
pub(super) struct Admission {
    slots: Arc<Mutex<Slots>>,
    connections: usize,
    connections_per_address: usize,
    evictable_after: Duration,
    refused: Arc<RefusedConnections>,
    /// Services only. A client address from a proxy never counts as a trusted proxy.
    services: Networks,
}

/// The slot of a connection, freed on drop.
pub(super) struct ConnectionSlot {
    slots: Arc<Mutex<Slots>>,
    client: IpAddr,
    number: u64,
    pub(super) activity: Arc<Activity>,
    /// Bytes counted until the connection carries valid credentials, and `None` afterwards.
    until_authenticated: Mutex<Option<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("connections reached their memory limit")]
pub struct NoMemory;

impl Admission {
    pub(super) fn new(
        limits: &ListenerLimits,
        proxies: &Networks,
        services: &Networks,
        refused: Arc<RefusedConnections>,
    ) -> Self {
        let slots = Slots::new(limits.memory, proxies.and(services));
        Self {
            slots: Arc::new(Mutex::new(slots)),
            connections: limits.connections,
            connections_per_address: limits.connections_per_address,
            evictable_after: EVICTABLE_AFTER,
            refused,
            services: services.clone(),
        }
    }

    /// Admits a connection from `peer`; `None` if there is no slot.
    pub(super) fn admit(&self, peer: IpAddr) -> Option<ConnectionSlot> {
        let is_limited = lock(&self.slots).is_limited(peer);
        self.admit_as(peer, is_limited, Activity::new())
    }

    /// Moves the slot of a proxied connection to `caller`, the client that the proxy named.
    pub(super) fn admit_proxied(&self, caller: IpAddr, proxy: ConnectionSlot) -> Option<ConnectionSlot> {
        let activity = proxy.activity.clone();
        drop(proxy);
        self.admit_as(caller, !self.services.contains(caller), activity)
    }

    fn admit_as(&self, peer: IpAddr, is_limited: bool, activity: Arc<Activity>) -> Option<ConnectionSlot> {
        let client = client_key(peer);
        let admitted = change(&self.slots, |slots| {
            let held = slots.clients.get(&client).map_or(0, |client| client.connections.len());
            if is_limited && held >= self.connections_per_address {
                Err(Limit::Address)
            } else if slots.total >= self.connections && !slots.free_slot(held, self.evictable_after) {
                Err(Limit::Connections)
            } else if !slots.free_memory(client, HANDSHAKE) {
                Err(Limit::Memory)
            } else {
                Ok(slots.add(client, &activity))
            }
        });
        let number = admitted.inspect_err(|limit| self.refused.record(*limit, client)).ok()?;
        Some(ConnectionSlot {
            slots: self.slots.clone(),
            client,
            number,
            activity,
            until_authenticated: Mutex::new(Some(0)),
        })
    }
}

impl ConnectionSlot {
    /// Counts `bytes` more for the connection. Without memory it is evicted, unless it belongs to a proxy or service,
    /// which carries requests of others.
    pub(super) fn reserve(&self, bytes: usize) -> Result<(), NoMemory> {
        change(&self.slots, |slots| {
            // The connection may have been evicted before.
            if slots.find(self.client, self.number).is_none() {
                return Err(NoMemory);
            }
            if slots.free_memory(self.client, bytes) {
                slots.count(self.client, self.number, bytes);
                return Ok(());
            }
            if slots.is_limited(self.client) {
                slots.evict(self.client, self.number);
            }
            Err(NoMemory)
        })
    }

    /// Like [`Self::reserve`], for buffers that only a malicious unauthenticated peer would fill.
    pub(super) fn reserve_until_authenticated(&self, bytes: usize) -> Result<(), NoMemory> {
        if let Some(counted) = &mut *lock(&self.until_authenticated) {
            self.reserve(bytes)?;
            *counted += bytes;
        }
        Ok(())
    }

    /// Records that the connection carried valid credentials.
    pub(super) fn authenticated(&self) {
        let counted = lock(&self.until_authenticated).take();
        if let Some(counted) = counted {
            self.release(counted);
        }
    }

    /// Frees `bytes` once the peer accepts what was sent.
    pub(super) fn release(&self, bytes: usize) {
        let mut slots = lock(&self.slots);
        let Some(connection) = slots.find(self.client, self.number) else { return };
        if connection.is_blocked {
            connection.unsent += bytes;
        } else {
            slots.uncount(self.client, self.number, bytes);
        }
    }

    /// Records whether the peer has stopped reading.
    pub(super) fn set_blocked(&self, is_blocked: bool) {
        let mut slots = lock(&self.slots);
        let Some(connection) = slots.find(self.client, self.number) else { return };
        connection.is_blocked = is_blocked;
        if !is_blocked {
            let sent = std::mem::take(&mut connection.unsent);
            slots.uncount(self.client, self.number, sent);
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        lock(&self.slots).remove(self.client, self.number);
    }
}

/// Changes the slots, then drops the connections that this evicted.
fn change<T>(slots: &Mutex<Slots>, change: impl FnOnce(&mut Slots) -> T) -> T {
    let mut slots = lock(slots);
    let changed = change(&mut slots);
    let evicted = std::mem::take(&mut slots.evicted);
    drop(slots);
    drop(evicted);
    changed
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections: usize, connections_per_address: usize) -> Admission {
        let limits = ListenerLimits { connections, connections_per_address, ..ListenerLimits::default() };
        let proxies = Networks::new(vec!["203.0.113.0/24".parse().expect("a network")]);
        Admission::new(&limits, &proxies, &Networks::default(), Arc::default())
    }

    fn admit(admission: &Admission, address: &str) -> Option<ConnectionSlot> {
        admission.admit(address.parse().expect("an address"))
    }

    fn is_evicted(slot: &ConnectionSlot) -> bool {
        slot.activity.task.is_evicted()
    }

    #[test]
    fn one_address_cannot_hold_every_slot() {
        let admission = admission(3, 2);
        let first = admit(&admission, "192.0.2.1").expect("a slot");
        let _second = admit(&admission, "::ffff:192.0.2.1").expect("a slot");
        assert!(admit(&admission, "192.0.2.1").is_none());
        let _other = admit(&admission, "192.0.2.2").expect("a slot for another");

        drop(first);
        admit(&admission, "192.0.2.1").expect("the slot is free again");
    }

    #[test]
    fn ipv6_64_network_counts_as_one_client() {
        let admission = admission(10, 1);
        let _first = admit(&admission, "2001:db8::1").expect("a slot");
        assert!(admit(&admission, "2001:db8::ffff:1").is_none());
        assert!(admit(&admission, "2001:db8:0:1::1").is_some());
    }

    #[test]
    fn proxied_client_is_not_exempt_as_proxy() {
        let admission = admission(10, 1);
        let bring = || {
            let proxy = admit(&admission, "203.0.113.9").expect("a slot");
            admission.admit_proxied("203.0.113.7".parse().expect("an address"), proxy)
        };
        let _first = bring().expect("a slot");
        assert!(bring().is_none());
    }

    #[test]
    fn address_without_connections_is_forgotten() {
        let admission = admission(10, 1);
        drop(admit(&admission, "192.0.2.1"));
        assert!(lock(&admission.slots).clients.is_empty());
        assert_eq!(lock(&admission.slots).total, 0);
    }

    #[tokio::test]
    async fn eviction_hits_client_with_most_connections() {
        let admission = admission(4, 3);
        let greedy: Vec<_> = (0..3).map(|_| admit(&admission, "192.0.2.1").expect("a slot")).collect();
        let _answering = greedy[0].activity.begin_response(100);
        let _other = admit(&admission, "192.0.2.2").expect("a slot");

        let third = admit(&admission, "192.0.2.3").expect("the slot of one of three");
        assert!(is_evicted(&greedy[1]));
        assert!(
            admit(&admission, "192.0.2.2").is_none(),
            "two and one more would be as many as the greedy has"
        );
        assert_eq!(lock(&admission.slots).total, 4);
        drop(third);
        assert_eq!(lock(&admission.slots).total, 3);
    }

    #[tokio::test]
    async fn eviction_prefers_longest_idle_connection() {
        let mut admission = admission(3, 2);
        admission.evictable_after = Duration::from_hours(1);
        let held = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|it| admit(&admission, it).expect("a slot"));
        let answering = held[0].activity.begin_response(100);
        assert!(admit(&admission, "192.0.2.9").is_none(), "none has waited long enough");
        admission.evictable_after = Duration::ZERO;
        let ninth = admit(&admission, "192.0.2.9").expect("the slot of the second");
        assert!(is_evicted(&held[1]));
        drop(answering);
        let _eighth =
            admit(&admission, "192.0.2.8").expect("the slot of the third: the first was busy since");
        assert!(is_evicted(&held[2]));
        let _seventh = admit(&admission, "192.0.2.7").expect("the slot of the ninth");
        assert!(is_evicted(&ninth));
        drop(held);
        assert_eq!(lock(&admission.slots).total, 2, "the first goes; the seventh and the eighth stay");
    }

    #[test]
    fn client_never_evicts_one_with_as_few_connections() {
        let mut admission = admission(4, 3);
        admission.evictable_after = Duration::ZERO;
        let _honest: Vec<_> =
            ["192.0.2.1", "192.0.2.2"].map(|address| admit(&admission, address).expect("a slot")).into();
        let _greedy: Vec<_> = (0..2).map(|_| admit(&admission, "192.0.2.9").expect("a slot")).collect();
        assert!(admit(&admission, "192.0.2.9").is_none());
        let _second = admit(&admission, "192.0.2.1").expect("one of the two of the greedy");
        assert!(admit(&admission, "192.0.2.2").is_some(), "one of the two that the first has now");
    }

    #[test]
    fn trusted_proxy_is_unlimited_and_never_evicted() {
        let mut admission = admission(3, 1);
        admission.evictable_after = Duration::ZERO;
        let _proxied: Vec<_> = (0..3).map(|_| admit(&admission, "203.0.113.9").expect("a slot")).collect();
        assert!(admit(&admission, "192.0.2.1").is_none(), "there are no more slots");
    }

    /// An admission with this memory, in addition to the initial size of the connections.
    fn with_memory(connections: usize, memory: usize) -> Admission {
        let limits = ListenerLimits { memory: connections * HANDSHAKE + memory, ..ListenerLimits::default() };
        let proxies = Networks::new(vec!["203.0.113.0/24".parse().expect("a network")]);
        Admission::new(&limits, &proxies, &Networks::default(), Arc::default())
    }

    #[tokio::test]
    async fn address_with_most_memory_is_evicted_for_others() {
        let admission = with_memory(4, 100);
        let held: Vec<_> = (0..3).map(|_| admit(&admission, "192.0.2.1").expect("a slot")).collect();
        for (held, bytes) in held.iter().zip([20, 50, 30]) {
            held.reserve(bytes).expect("there is memory");
        }
        let other = admit(&admission, "192.0.2.2").expect("a slot");
        other.reserve(40).expect("the heaviest connection of the other goes");
        assert!(is_evicted(&held[1]));
        assert_eq!(held[1].reserve(1), Err(NoMemory), "it was evicted");
        assert_eq!(lock(&admission.slots).bytes, 3 * HANDSHAKE + 90);
    }

    #[tokio::test]
    async fn address_with_most_memory_is_evicted_on_growth() {
        let admission = with_memory(2, 100);
        let heavy = admit(&admission, "192.0.2.1").expect("a slot");
        let light = admit(&admission, "192.0.2.2").expect("a slot");
        heavy.reserve(90).expect("there is memory");
        assert_eq!(heavy.reserve(11), Err(NoMemory));
        assert!(is_evicted(&heavy));
        light.reserve(100).expect("all of it is free again");
        drop((heavy, light));
        assert_eq!(lock(&admission.slots).bytes, 0);
    }

    #[tokio::test]
    async fn no_connection_is_evicted_if_that_frees_too_little() {
        let admission = with_memory(4, 100);
        let proxy = admit(&admission, "203.0.113.9").expect("a slot");
        proxy.reserve(60).expect("there is memory");
        let held = [(); 2].map(|()| admit(&admission, "192.0.2.1").expect("a slot"));
        for held in &held {
            held.reserve(15).expect("there is memory");
        }
        let other = admit(&admission, "192.0.2.2").expect("a slot");
        // After the eviction of one, the two clients hold the same, and 4 bytes are missing.
        assert_eq!(other.reserve(HANDSHAKE + 29), Err(NoMemory));
        assert!(is_evicted(&other));
        assert!(!held.iter().any(is_evicted));
        let other = admit(&admission, "192.0.2.2").expect("a slot");
        other.reserve(HANDSHAKE + 25).expect("the memory of one of them");
        assert!(is_evicted(&held[0]) != is_evicted(&held[1]));
    }

    #[test]
    fn proxy_without_memory_keeps_its_connection() {
        let admission = with_memory(1, 100);
        let proxy = admit(&admission, "203.0.113.9").expect("a slot");
        assert_eq!(proxy.reserve(101), Err(NoMemory));
        proxy.reserve(100).expect("its connection is still there");
        proxy.release(100);
        proxy.reserve(100).expect("it was released");
    }

    #[test]
    fn authenticated_connection_counts_less_memory() {
        let admission = with_memory(1, 100);
        let slot = admit(&admission, "192.0.2.1").expect("a slot");
        slot.reserve(10).expect("there is memory");
        slot.reserve_until_authenticated(90).expect("there is memory");
        assert_eq!(lock(&admission.slots).bytes, HANDSHAKE + 100);
        slot.authenticated();
        slot.reserve_until_authenticated(200).expect("it counts nothing now");
        assert_eq!(lock(&admission.slots).bytes, HANDSHAKE + 10);
    }

    #[test]
    fn answers_count_until_peer_reads_them() {
        let admission = with_memory(1, 100);
        let stalled = admit(&admission, "192.0.2.1").expect("a slot");
        stalled.reserve(60).expect("there is memory");
        stalled.set_blocked(true);
        stalled.release(60);
        assert_eq!(lock(&admission.slots).bytes, HANDSHAKE + 60);
        stalled.set_blocked(false);
        assert_eq!(lock(&admission.slots).bytes, HANDSHAKE);
    }
}
