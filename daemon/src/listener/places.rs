//! Connections and memory by client, and the choice of which to evict.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::activity::Activity;
use super::memory::HANDSHAKE;
use crate::addresses::Networks;

/// Connections and memory by client.
pub(super) struct Places {
    pub(super) all: usize,
    /// Bytes held by all connections, and their limit.
    pub(super) bytes: usize,
    memory: usize,
    /// The number of the next connection; older connections have smaller numbers.
    next: u64,
    pub(super) of_party: HashMap<IpAddr, Party>,
    /// Proxies and services: counted in total, but without a limit per address.
    exempt: Networks,
}

#[derive(Default)]
pub(super) struct Party {
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

impl Places {
    pub(super) fn new(memory: usize, exempt: Networks) -> Self {
        Self { all: 0, bytes: 0, memory, next: 0, of_party: HashMap::new(), exempt }
    }

    pub(super) fn is_limited(&self, address: IpAddr) -> bool {
        !self.exempt.contains(address)
    }

    pub(super) fn add(&mut self, party: IpAddr, activity: &Arc<Activity>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.all += 1;
        let connection = Connection { activity: activity.clone(), bytes: 0, is_blocked: false, unsent: 0 };
        self.of_party.entry(party).or_default().connections.insert(number, connection);
        self.count(party, number, HANDSHAKE);
        number
    }

    pub(super) fn find(&mut self, party: IpAddr, number: u64) -> Option<&mut Connection> {
        self.of_party.get_mut(&party)?.connections.get_mut(&number)
    }

    pub(super) fn count(&mut self, party: IpAddr, number: u64, bytes: usize) {
        let Some(of_party) = self.of_party.get_mut(&party) else { return };
        let Some(connection) = of_party.connections.get_mut(&number) else { return };
        connection.bytes += bytes;
        of_party.bytes += bytes;
        self.bytes += bytes;
    }

    pub(super) fn uncount(&mut self, party: IpAddr, number: u64, bytes: usize) {
        let Some(of_party) = self.of_party.get_mut(&party) else { return };
        let Some(connection) = of_party.connections.get_mut(&number) else { return };
        let bytes = bytes.min(connection.bytes);
        connection.bytes -= bytes;
        of_party.bytes -= bytes;
        self.bytes -= bytes;
    }

    /// Frees memory until `needed` more bytes of `party` fit. Clients that hold more lose their heaviest connections.
    pub(super) fn make_memory(&mut self, party: IpAddr, needed: usize) -> bool {
        while self.bytes + needed > self.memory {
            let own = self.of_party.get(&party).map_or(0, |own| own.bytes) + needed;
            let limited =
                self.of_party.iter().filter(|(other, _)| **other != party && self.is_limited(**other));
            let heaviest = limited.max_by_key(|(_, other)| other.bytes);
            let Some((heaviest, other)) = heaviest.filter(|(_, other)| other.bytes > own) else {
                return false;
            };
            // The oldest of the heaviest: `max_by_key` returns the last of equals.
            let connection = other.connections.iter().rev().max_by_key(|(_, connection)| connection.bytes);
            let Some((number, _)) = connection else { return false };
            let (heaviest, number) = (*heaviest, *number);
            self.cut_off(heaviest, number);
        }
        true
    }

    /// Evicts a connection of the client with most, if it has at least two more than `held`. Otherwise evicts the
    /// longest waiting connection (at least `long`) of any client with more than `held`.
    pub(super) fn make_room(&mut self, held: usize, long: Duration) -> bool {
        let limited = || self.of_party.iter().filter(|(party, _)| self.is_limited(**party));
        let most = limited().max_by_key(|(_, party)| party.connections.len());
        let chosen = match most {
            // The oldest idle connection, or the oldest if all are busy.
            Some((party, Party { connections, .. })) if connections.len() >= held + 2 => {
                let idle = connections.iter().find(|(_, it)| it.activity.waits_since().is_some());
                idle.or_else(|| connections.iter().next()).map(|(number, _)| (*party, *number))
            }
            _ => {
                let with_more = limited().filter(|(_, party)| party.connections.len() > held);
                let waiting = with_more.flat_map(|(party, Party { connections, .. })| {
                    connections.iter().filter_map(|(number, connection)| {
                        connection.activity.waits_since().map(|since| (since, *party, *number))
                    })
                });
                let longest = waiting.min_by_key(|(since, ..)| *since);
                longest
                    .filter(|(since, ..)| since.elapsed() >= long)
                    .map(|(_, party, number)| (party, number))
            }
        };
        let Some((party, number)) = chosen else { return false };
        self.cut_off(party, number);
        true
    }

    pub(super) fn cut_off(&mut self, party: IpAddr, number: u64) {
        if let Some(connection) = self.find(party, number) {
            connection.activity.cut_off();
        }
        self.remove(party, number);
    }

    pub(super) fn remove(&mut self, party: IpAddr, number: u64) {
        let Some(of_party) = self.of_party.get_mut(&party) else { return };
        // The connection may have been evicted before.
        if let Some(connection) = of_party.connections.remove(&number) {
            of_party.bytes -= connection.bytes;
            self.bytes -= connection.bytes;
            self.all -= 1;
        }
        if of_party.connections.is_empty() {
            self.of_party.remove(&party);
        }
    }
}
