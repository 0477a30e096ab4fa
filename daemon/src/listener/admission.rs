//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use super::ListenerLimits;

/// Counts the connections there are.
pub(super) struct Admission {
    counts: Arc<Mutex<Counts>>,
    connections: usize,
    connections_per_address: usize,
}

#[derive(Default)]
struct Counts {
    all: usize,
    of_address: HashMap<IpAddr, usize>,
}

/// A connection's place, given back when dropped.
pub(super) struct Admitted {
    counts: Arc<Mutex<Counts>>,
    address: IpAddr,
}

impl Admission {
    pub(super) fn new(limits: &ListenerLimits) -> Self {
        Self {
            counts: Arc::default(),
            connections: limits.connections,
            connections_per_address: limits.connections_per_address,
        }
    }

    /// A place for a connection from `peer`; `None` when there is none.
    pub(super) fn admit(&self, peer: IpAddr) -> Option<Admitted> {
        let address = one_party(peer);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = counts.of_address.get(&address).copied().unwrap_or_default();
        if counts.all >= self.connections || of_address >= self.connections_per_address {
            return None;
        }
        counts.all += 1;
        counts.of_address.insert(address, of_address + 1);
        Some(Admitted { counts: self.counts.clone(), address })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        let Some(count) = counts.of_address.get_mut(&self.address) else { return };
        *count -= 1;
        if *count == 0 {
            counts.of_address.remove(&self.address);
        }
    }
}

/// What one party can be expected to have: an IPv4 address, or the /64 network of an IPv6 address.
fn one_party(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections: usize, connections_per_address: usize) -> Admission {
        Admission::new(&ListenerLimits { connections, connections_per_address, ..ListenerLimits::default() })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn one_address_cannot_take_every_place() {
        let admission = admission(3, 2);
        let first = admission.admit(address("192.0.2.1")).expect("a place");
        let _second = admission.admit(address("::ffff:192.0.2.1")).expect("a place");
        assert!(admission.admit(address("192.0.2.1")).is_none());
        let _other = admission.admit(address("192.0.2.2")).expect("a place for another");
        assert!(admission.admit(address("192.0.2.3")).is_none(), "there are no more places");

        drop(first);
        admission.admit(address("192.0.2.1")).expect("the place is free again");
    }

    #[test]
    fn a_network_of_64_bits_counts_as_one() {
        let admission = admission(10, 1);
        let _first = admission.admit(address("2001:db8::1")).expect("a place");
        assert!(admission.admit(address("2001:db8::ffff:1")).is_none());
        assert!(admission.admit(address("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn an_address_without_connections_is_forgotten() {
        let admission = admission(10, 1);
        drop(admission.admit(address("192.0.2.1")));
        assert!(admission.counts.lock().expect("unharmed").of_address.is_empty());
    }
}
