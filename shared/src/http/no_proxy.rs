//! `NO_PROXY`: servers reached without the proxy, by curl's rules.

use std::net::IpAddr;

use ipnet::IpNet;
use url::Host;

/// Entries of `NO_PROXY`, separated by commas or white space.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NoProxy {
    entries: Vec<Entry>,
    /// Entries that match no server, as written.
    ineffective: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// `*`, if it is the only entry.
    Everything,
    /// A network. A single address is a network of size one.
    Network(IpNet),
    /// A name and all its subdomains, in lower case, without leading or trailing dots.
    Name(String),
}

impl NoProxy {
    /// Parses `NO_PROXY`. Keeps entries that match nothing separately, for warnings.
    pub fn parse(text: &str) -> Self {
        let words: Vec<&str> = text
            .split(|character: char| character == ',' || character.is_whitespace())
            .filter(|word| !word.is_empty())
            .collect();
        if words == ["*"] {
            return Self { entries: vec![Entry::Everything], ineffective: Vec::new() };
        }
        let mut list = Self::default();
        for word in words {
            match entry(word) {
                Some(entry) => list.entries.push(entry),
                None => list.ineffective.push(word.to_owned()),
            }
        }
        list
    }

    /// Whether the server at `host` is reached without the proxy.
    pub fn contains(&self, host: &Host<&str>) -> bool {
        self.entries.iter().any(|entry| match (entry, host) {
            (Entry::Everything, _) => true,
            (Entry::Network(network), Host::Ipv4(address)) => network.contains(&IpAddr::V4(*address)),
            (Entry::Network(network), Host::Ipv6(address)) => {
                network.contains(&IpAddr::V6(*address))
                    || network.contains(&IpAddr::V6(*address).to_canonical())
            }
            (Entry::Name(name), Host::Domain(host)) => {
                let host = host.strip_suffix('.').unwrap_or(host);
                host.strip_suffix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            _ => false,
        })
    }

    /// Entries that match no server: those with a port, scheme, brackets or `*`, and invalid networks.
    pub fn ineffective(&self) -> &[String] {
        &self.ineffective
    }
}

fn entry(word: &str) -> Option<Entry> {
    if let Ok(network) = word.parse::<IpNet>() {
        return Some(Entry::Network(network));
    }
    if let Ok(address) = word.parse::<IpAddr>() {
        return Some(Entry::Network(address.into()));
    }
    let name = word.strip_suffix('.').unwrap_or(word);
    let name = name.strip_prefix('.').unwrap_or(name);
    if name.is_empty() || name.contains('*') {
        return None;
    }
    // Normalize as in a URL: lower case, IDNs in Punycode.
    match Host::parse(name).ok()? {
        Host::Domain(name) => Some(Entry::Name(name)),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn exempt(list: &str, host: &str) -> bool {
        let url: Url = format!("https://{host}/").parse().expect("a URL");
        NoProxy::parse(list).contains(&url.host().expect("a host"))
    }

    #[test]
    fn entry_matches_name_and_subdomains() {
        for list in [
            "infra.corp.test",
            "corp.test",
            ".corp.test",
            "corp.test.",
            "CORP.test",
            "other.test corp.test",
            "other.test,corp.test",
            "other.test ,\tcorp.test,",
            "*",
            " * ",
        ] {
            assert!(exempt(list, "infra.corp.test"), "{list}");
            assert!(exempt(list, "infra.corp.test."), "{list}");
        }
        for list in
            ["", "orp.test", "other.test", "infra.corp.test:8443", "*.corp.test", "localhost,*", "test.corp"]
        {
            assert!(!exempt(list, "infra.corp.test"), "{list}");
        }
        assert!(exempt("müller.test", "a.müller.test"));
    }

    #[test]
    fn entry_matches_addresses_and_networks() {
        for (list, host) in [
            ("10.0.0.0/8", "10.1.2.3"),
            ("10.1.2.3", "10.1.2.3"),
            ("10.0.0.0/8", "[::ffff:10.1.2.3]"),
            ("2001:db8::/32", "[2001:db8::1]"),
            ("::1 2001:db8::1", "[2001:db8::1]"),
        ] {
            assert!(exempt(list, host), "{list} {host}");
        }
        for (list, host) in
            [("10.0.0.0/8", "11.0.0.1"), ("10.1", "10.0.0.1"), ("0.1", "10.0.0.1"), ("[::1]", "[::1]")]
        {
            assert!(!exempt(list, host), "{list} {host}");
        }
    }

    #[test]
    fn ineffective_entry_is_reported() {
        for word in [
            "*.corp.test",
            "infra.corp.test:8443",
            "https://infra.corp.test",
            "10.0.0.0/33",
            "10.*",
            "10.1",
            "[::1]",
            "infra.corp.test/path",
            ".",
        ] {
            let list = NoProxy::parse(&format!("localhost, {word}"));
            assert_eq!(list.ineffective(), [word], "{word}");
        }
        assert_eq!(NoProxy::parse("localhost,*").ineffective(), ["*"]);
        for list in ["*", "localhost, .corp.test 10.0.0.0/8", "", " , "] {
            assert!(NoProxy::parse(list).ineffective().is_empty(), "{list}");
        }
    }
}
