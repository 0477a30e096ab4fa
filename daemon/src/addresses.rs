//! Client addresses: which count as one client, and which networks are known.

mod place;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

pub use place::is_public;

/// A list of addresses and networks, such as those of trusted proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The networks of both lists.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(&others.0).copied().collect())
    }

    /// Whether a network contains the address. An IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2) counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// Key of a client for limits: its IPv4 address, even if embedded in IPv6, or the /64 network of any other IPv6
/// address.
pub fn client_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => embedded(address).map_or_else(
            || Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
            IpAddr::from,
        ),
    }
}

/// The client's IPv4 address that a translator or tunnel embedded in an IPv6 address.
///
/// With NAT64 and Teredo all clients share a /64. With 6to4 one client has 65,536 of them.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    // Only 32 bits remain, so the conversion cannot fail.
    let from =
        |shift: u32| Ipv4Addr::from_bits(u32::try_from((bits >> shift) & u128::from(u32::MAX)).unwrap_or(0));
    match address.segments() {
        // NAT64: RFC 6052 §2.1, and RFC 8215 with its usual 96-bit prefix.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => Some(from(0)),
        // 6to4: RFC 3056 §2.
        [0x2002, ..] => Some(from(80)),
        // Teredo: RFC 4380 §4, with the bits of the client's address inverted.
        [0x2001, 0, ..] => Some(Ipv4Addr::from_bits(!from(0).to_bits())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn network_contains_addresses_in_any_notation() {
        let networks = Networks::new(vec![
            "192.0.2.0/24".parse().expect("a network"),
            "2001:db8::/32".parse().expect("a network"),
        ]);
        for inside in ["192.0.2.0", "192.0.2.255", "::ffff:192.0.2.7", "2001:db8:ffff::1"] {
            assert!(networks.contains(address(inside)), "{inside}");
        }
        for outside in ["192.0.3.0", "::192.0.2.7", "2001:db9::", "::1"] {
            assert!(!networks.contains(address(outside)), "{outside}");
        }
        assert!(!Networks::default().contains(address("127.0.0.1")), "no proxy is trusted by default");
    }

    #[test]
    fn slash_64_network_is_one_client() {
        assert_eq!(client_key(address("2001:db8::1")), client_key(address("2001:db8::ffff:1")));
        assert_ne!(client_key(address("2001:db8::1")), client_key(address("2001:db8:0:1::1")));
        assert_eq!(client_key(address("::ffff:192.0.2.1")), address("192.0.2.1"));
        assert_ne!(client_key(address("192.0.2.1")), client_key(address("192.0.2.2")));
    }

    #[test]
    fn embedded_ipv4_address_is_the_client() {
        for (carried, client) in [
            ("64:ff9b::192.0.2.1", "192.0.2.1"),
            ("64:ff9b:1::192.0.2.1", "192.0.2.1"),
            ("2002:c000:0201:7::1", "192.0.2.1"),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(client_key(address(carried)), address(client), "{carried}");
        }
        // Neighbours of these prefixes are ordinary networks.
        for other in ["64:ff9b:0:0:1::192.0.2.1", "64:ff9b:2::1", "2001:1::1", "2003:c000:201::1"] {
            assert!(client_key(address(other)).is_ipv6(), "{other}");
        }
    }
}
