//! Connections and memory by client, and the choice of which to evict.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::activity::Activity;
use super::connection_task::Connection as EvictedConnection;
use super::memory::HANDSHAKE;
use crate::addresses::Networks;

/// Connections and memory by client.
pub(super) struct Slots {
    pub(super) total: usize,
    /// Bytes held by all connections, and their limit.
    pub(super) bytes: usize,
    memory: usize,
    /// The number of the next connection; older connections have smaller numbers.
    next: u64,
    pub(super) clients: HashMap<IpAddr, Client>,
    /// Proxies and services: counted in total, but without a limit per address.
    exempt: Networks,
    /// To be dropped once the slots are unlocked.
    pub(super) evicted: Vec<EvictedConnection>,
}

#[derive(Default)]
pub(super) struct Client {
    pub(super) connections: BTreeMap<u64, Connection>,
    bytes: usize,
}

pub(super) struct Connection {
    activity: Arc<Activity>,
    bytes: usize,
    /// Whether the peer has stopped reading.
    pub(super) is_blocked: bool,
    /// Freed while blocked: answers that are built but unsent.
    pub(super) unsent: usize,
}

impl Slots {
    pub(super) fn new(memory: usize, exempt: Networks) -> Self {
        Self { total: 0, bytes: 0, memory, next: 0, clients: HashMap::new(), exempt, evicted: Vec::new() }
    }

    pub(super) fn is_limited(&self, address: IpAddr) -> bool {
        !self.exempt.contains(address)
    }

    pub(super) fn add(&mut self, client: IpAddr, activity: &Arc<Activity>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.total += 1;
        let connection = Connection { activity: activity.clone(), bytes: 0, is_blocked: false, unsent: 0 };
        self.clients.entry(client).or_default().connections.insert(number, connection);
        self.count(client, number, HANDSHAKE);
        number
    }

    pub(super) fn find(&mut self, client: IpAddr, number: u64) -> Option<&mut Connection> {
        self.clients.get_mut(&client)?.connections.get_mut(&number)
    }

    pub(super) fn count(&mut self, client: IpAddr, number: u64, bytes: usize) {
        let Some(of_client) = self.clients.get_mut(&client) else { return };
        let Some(connection) = of_client.connections.get_mut(&number) else { return };
        connection.bytes += bytes;
        of_client.bytes += bytes;
        self.bytes += bytes;
    }

    pub(super) fn uncount(&mut self, client: IpAddr, number: u64, bytes: usize) {
        let Some(of_client) = self.clients.get_mut(&client) else { return };
        let Some(connection) = of_client.connections.get_mut(&number) else { return };
        let bytes = bytes.min(connection.bytes);
        connection.bytes -= bytes;
        of_client.bytes -= bytes;
        self.bytes -= bytes;
    }

    /// Frees memory until `needed` more bytes of `client` fit. Clients that hold more lose their heaviest connections.
    /// Evicts none of them if that would not be enough.
    pub(super) fn free_memory(&mut self, client: IpAddr, needed: usize) -> bool {
        let own = self.clients.get(&client).map_or(0, |own| own.bytes) + needed;
        let missing = (self.bytes + needed).saturating_sub(self.memory);
        if missing > self.evictable_memory(client, own, missing) {
            return false;
        }
        while self.bytes + needed > self.memory {
            let limited =
                self.clients.iter().filter(|(other, _)| **other != client && self.is_limited(**other));
            let heaviest = limited.max_by_key(|(_, other)| other.bytes);
            let Some((heaviest, other)) = heaviest.filter(|(_, other)| other.bytes > own) else {
                return false;
            };
            // The oldest of the heaviest: `max_by_key` returns the last of equals.
            let connection = other.connections.iter().rev().max_by_key(|(_, connection)| connection.bytes);
            let Some((number, _)) = connection else { return false };
            let (heaviest, number) = (*heaviest, *number);
            self.evict(heaviest, number);
        }
        true
    }

    /// What clients other than `client` would lose until none holds more than `own`. Stops counting at `enough`.
    fn evictable_memory(&self, client: IpAddr, own: usize, enough: usize) -> usize {
        let mut evictable = 0;
        for (other, holder) in &self.clients {
            if evictable >= enough {
                break;
            }
            if *other == client || holder.bytes <= own || !self.is_limited(*other) {
                continue;
            }
            let mut sizes: Vec<usize> =
                holder.connections.values().map(|connection| connection.bytes).collect();
            sizes.sort_unstable_by(|one, other| other.cmp(one));
            let mut left = holder.bytes;
            for size in sizes {
                if left <= own {
                    break;
                }
                left -= size;
            }
            evictable += holder.bytes - left;
        }
        evictable
    }

    /// Evicts a connection of the client with most, if it has at least two more than `held`. Otherwise evicts the
    /// longest waiting connection (at least `evictable_after`) of any client with more than `held`.
    pub(super) fn free_slot(&mut self, held: usize, evictable_after: Duration) -> bool {
        let limited = || self.clients.iter().filter(|(client, _)| self.is_limited(**client));
        let most = limited().max_by_key(|(_, client)| client.connections.len());
        let chosen = match most {
            // The oldest idle connection, or the oldest if all are busy.
            Some((client, Client { connections, .. })) if connections.len() >= held + 2 => {
                let idle = connections.iter().find(|(_, it)| it.activity.waiting_since().is_some());
                idle.or_else(|| connections.iter().next()).map(|(number, _)| (*client, *number))
            }
            _ => {
                let with_more = limited().filter(|(_, client)| client.connections.len() > held);
                let waiting = with_more.flat_map(|(client, Client { connections, .. })| {
                    connections.iter().filter_map(|(number, connection)| {
                        connection.activity.waiting_since().map(|since| (since, *client, *number))
                    })
                });
                let longest = waiting.min_by_key(|(since, ..)| *since);
                longest
                    .filter(|(since, ..)| since.elapsed() >= evictable_after)
                    .map(|(_, client, number)| (client, number))
            }
        };
        let Some((client, number)) = chosen else { return false };
        self.evict(client, number);
        true
    }

    pub(super) fn evict(&mut self, client: IpAddr, number: u64) {
        if let Some(connection) = self.find(client, number) {
            tracing::debug!(%client, "evicted a connection: another needs its slot or memory");
            let connection = connection.activity.task.evict();
            self.evicted.extend(connection);
        }
        self.remove(client, number);
    }

    pub(super) fn remove(&mut self, client: IpAddr, number: u64) {
        let Some(of_client) = self.clients.get_mut(&client) else { return };
        // The connection may have been evicted before.
        if let Some(connection) = of_client.connections.remove(&number) {
            of_client.bytes -= connection.bytes;
            self.bytes -= connection.bytes;
            self.total -= 1;
        }
        if of_client.connections.is_empty() {
            self.clients.remove(&client);
        }
    }
}
