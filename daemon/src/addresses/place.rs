//! Tells public addresses from those reachable only from some machines.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metadata services that are not link-local (AWS over IPv6, Alibaba, Oracle, Azure).
const METADATA_SERVICES: [&str; 4] = ["fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"];

/// Returns if an address, or the IPv4 address embedded in it, is public (RFC 4291 §2.5.5, RFC 6052 §2.1).
pub fn is_public(address: IpAddr) -> bool {
    if METADATA_SERVICES.iter().any(|service| service.parse() == Ok(address.to_canonical())) {
        return false;
    }
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Not private (RFC 1918), shared (RFC 6598), loopback or link-local, nor what no host has: RFC 6890 §2.2.2, RFC 5737,
/// RFC 2544, RFC 7526, multicast and reserved.
fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // RFC 6052: NAT64, with which IPv6-only networks reach IPv4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            is_public(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)).into())
        }
        // RFC 6890 §2.2.3, RFC 3849, RFC 9637, RFC 3056. Apart from these, only 2000::/3 is assigned to hosts.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_told_apart() {
        for (expected, addresses) in [
            (
                true,
                "1.1.1.1 172.15.0.1 172.32.0.1 192.169.0.1 100.63.0.1 100.128.0.1 169.253.0.1 2606:4700::1111 64:ff9b::101:101",
            ),
            (
                false,
                "10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 fd12::1 fc00::1 ::ffff:10.0.0.1 64:ff9b::a00:1",
            ),
            (false, "100.64.0.1 100.127.255.255"),
            (false, "127.0.0.1 127.255.255.255 ::1 ::ffff:127.0.0.1 64:ff9b::7f00:1"),
            (false, "169.254.169.254 169.254.0.1 fe80::1 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe"),
            (
                false,
                "0.0.0.0 0.1.2.3 192.0.2.1 192.0.0.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 255.255.255.255 :: \
                 ::10.0.0.1 fd00:ec2::254 100.100.100.200 168.63.129.16 2001:db8::1 2001::1 2002:a00:1:: ff02::1 3fff::1 \
                 64:ff9b:1::1 fec0::1 ::ffff:0:10.0.0.1",
            ),
        ] {
            for address in addresses.split_whitespace() {
                assert_eq!(is_public(address.parse().expect("an address")), expected, "{address}");
            }
        }
    }
}
