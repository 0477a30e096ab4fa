//! Addresses of callers: who counts as one party, and which networks are known.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// Addresses and networks, such as those of trusted proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These and `others`.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(&others.0).copied().collect())
    }

    /// An IPv4 address that arrives in the clothes of IPv6 (RFC 4291 §2.5.5.2) is that IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// What one party can be expected to have: an IPv4 address, or the /64 network of an IPv6 address.
pub fn one_party(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_network_holds_its_addresses_however_they_are_written() {
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
        assert!(!Networks::default().contains(address("127.0.0.1")), "nobody is trusted by default");
    }

    #[test]
    fn a_network_of_64_bits_is_one_party() {
        assert_eq!(one_party(address("2001:db8::1")), one_party(address("2001:db8::ffff:1")));
        assert_ne!(one_party(address("2001:db8::1")), one_party(address("2001:db8:0:1::1")));
        assert_eq!(one_party(address("::ffff:192.0.2.1")), address("192.0.2.1"));
        assert_ne!(one_party(address("192.0.2.1")), one_party(address("192.0.2.2")));
    }
}
