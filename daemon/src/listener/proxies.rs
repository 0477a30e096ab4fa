//! Determines a request's client address behind proxies. Believes only trusted proxies.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::addresses::Networks;

/// All proxies set it, though no standard defines it. `Forwarded` (RFC 7239) is ignored: a proxy that writes one and
/// passes the other on would let a client choose its address.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The trusted proxies. Empty by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    pub trusted: Networks,
    /// Each connection of a trusted proxy begins with a PROXY header, the only source of its client address.
    pub speak_proxy_protocol: bool,
}

impl Proxies {
    /// Whether a connection from `peer` must begin with a PROXY header.
    pub(super) fn requires_proxy_header(&self, peer: SocketAddr) -> bool {
        self.speak_proxy_protocol && self.trusted.contains(peer.ip())
    }

    /// Returns the client address of a request that `peer` sent: the rightmost address of `X-Forwarded-For` that is
    /// not a trusted proxy. Anyone may have written what is left of it.
    pub(super) fn client_address(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        if self.speak_proxy_protocol || self.trusted.is_empty() || !self.trusted.contains(peer.ip()) {
            return peer;
        }
        let lines: Vec<&[u8]> = headers.get_all(X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
        let mut origin = peer;
        for item in lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b',')) {
            // Stop at an invalid address: nothing left of it can be trusted. The last known address counts.
            let Some(address) = std::str::from_utf8(item).ok().and_then(address) else { break };
            origin = SocketAddr::new(address, 0);
            if !self.trusted.contains(address) {
                break;
            }
        }
        origin
    }
}

/// `192.0.2.1`, `192.0.2.1:8080`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:8080`.
fn address(item: &str) -> Option<IpAddr> {
    let item = item.trim_matches([' ', '\t']);
    let bracketed = item.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address: IpAddr = match bracketed {
        Some(inner) => IpAddr::V6(inner.parse().ok()?),
        None => item.parse().ok().or_else(|| Some(item.parse::<SocketAddr>().ok()?.ip()))?,
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLIENT: &str = "203.0.113.5";

    fn proxies(speak_proxy_protocol: bool) -> Proxies {
        let trusted = ["10.0.0.0/8", "2001:db8:1::/48"].map(|text| text.parse().expect("a network"));
        Proxies { trusted: Networks::new(trusted.to_vec()), speak_proxy_protocol }
    }

    fn origin_of(proxies: &Proxies, peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, line.parse().expect("a header"));
        }
        headers.insert("forwarded", "for=198.51.100.99".parse().expect("a header"));
        let peer: IpAddr = peer.parse().expect("an address");
        proxies.client_address((peer, 4711).into(), &headers).ip().to_string()
    }

    #[test]
    fn rightmost_untrusted_address_is_used() {
        let proxies = proxies(false);
        for lines in [
            &["203.0.113.5"][..],
            &["198.51.100.1, 203.0.113.5"],
            &["198.51.100.1,203.0.113.5 , 10.1.2.3"],
            &["198.51.100.1", "203.0.113.5", "10.1.2.3, 2001:db8:1::9"],
            &["203.0.113.5:8080, [2001:db8:1::9]:443"],
            &["garbage, 203.0.113.5"],
            &["::ffff:203.0.113.5, ::ffff:10.0.0.1"],
        ] {
            assert_eq!(origin_of(&proxies, "10.0.0.1", lines), CLIENT, "{lines:?}");
            assert_eq!(origin_of(&proxies, "::ffff:10.0.0.1", lines), CLIENT, "{lines:?}");
        }
        assert_eq!(origin_of(&proxies, "10.0.0.1", &["[2001:db8::7]"]), "2001:db8::7");
    }

    #[test]
    fn forwarded_header_of_untrusted_peer_is_ignored() {
        let stranger = "192.0.2.9";
        assert_eq!(origin_of(&proxies(false), stranger, &[CLIENT]), stranger);
        assert_eq!(origin_of(&Proxies::default(), "10.0.0.1", &[CLIENT]), "10.0.0.1");
        assert_eq!(
            origin_of(&proxies(true), "10.0.0.1", &[CLIENT]),
            "10.0.0.1",
            "the PROXY header alone counts"
        );
    }

    #[test]
    fn invalid_address_leaves_last_known_one() {
        for (lines, expected) in [
            (&[][..], "10.0.0.1"),
            (&[""], "10.0.0.1"),
            (&["unknown"], "10.0.0.1"),
            (&["203.0.113.5, unknown"], "10.0.0.1"),
            (&["203.0.113.5, , 10.2.2.2"], "10.2.2.2"),
            (&["203.0.113.5, _hidden, 10.2.2.2"], "10.2.2.2"),
            (&["203.0.113.5 10.2.2.2"], "10.0.0.1"),
            (&["[203.0.113.5]"], "10.0.0.1"),
            (&["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        ] {
            assert_eq!(origin_of(&proxies(false), "10.0.0.1", lines), expected, "{lines:?}");
        }
    }

    proptest! {
        /// A client cannot change its address by anything it writes before the proxy's entry.
        #[test]
        fn client_cannot_choose_its_address(forged in "[ -~]{0,60}") {
            let line = format!("{forged}, {CLIENT}");
            prop_assert_eq!(origin_of(&proxies(false), "10.0.0.1", &[&line]), CLIENT);
            prop_assert_eq!(origin_of(&proxies(false), "10.0.0.1", &[&forged, CLIENT]), CLIENT);
        }
    }
}
