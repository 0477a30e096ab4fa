//! Guards against server-side request forgery: hosts that metadata name must resolve to public addresses, unless the
//! operator configured that host.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::addresses::is_public;

/// More than any provider needs.
const MAX_NAMES: usize = 1024;

/// The host has addresses that a remote server must not make the daemon contact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    #[error("{host} resolves to {address}, which is not a public address")]
    NotPublic { host: String, address: IpAddr },
    #[error("more than {MAX_NAMES} hosts are named")]
    TooManyNames,
}

/// The guarded host names. The HTTP client resolves names through it, so the address checked is the address connected
/// to, and DNS rebinding fails.
#[derive(Debug, Clone)]
pub struct SSRFGuard {
    /// Hosts that the operator configured, allowed at any address.
    trusted: Arc<Vec<Host<String>>>,
    /// All other guarded names. Proxies and trusted hosts are never in it.
    names: Arc<RwLock<HashSet<String>>>,
}

impl SSRFGuard {
    /// Guards every host except those that the operator configured. Trust applies to names, not addresses, because the
    /// owner of a name can point it to any address.
    pub fn trusting(hosts: Vec<Host<String>>) -> Self {
        Self { trusted: Arc::new(hosts), names: Arc::default() }
    }

    /// Guards the host of `url` from now on. Checks a literal address immediately. If the connection is `direct`,
    /// resolves a name too; a failed lookup is left to the connection.
    pub async fn admit(&self, url: &Url, direct: bool) -> Result<(), GuardError> {
        match url.host() {
            None => Ok(()),
            Some(host) if self.trusted.contains(&host.to_owned()) => Ok(()),
            Some(Host::Ipv4(address)) => admit_address(url, address.into()),
            Some(Host::Ipv6(address)) => admit_address(url, address.into()),
            Some(Host::Domain(name)) => {
                {
                    let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
                    if names.len() >= MAX_NAMES && !names.contains(name) {
                        return Err(GuardError::TooManyNames);
                    }
                    names.insert(name.to_owned());
                }
                match look_up(name).await {
                    Ok(addresses) if direct => keep_public(name, addresses).map(|_| ()),
                    Ok(_) | Err(_) => Ok(()),
                }
            }
        }
    }

    fn is_guarded(&self, name: &str) -> bool {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.contains(name)
    }
}

impl Resolve for SSRFGuard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let name = name.as_str();
            let mut addresses = look_up(name).await?;
            if guard.is_guarded(name) {
                addresses = keep_public(name, addresses)?;
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn admit_address(url: &Url, address: IpAddr) -> Result<(), GuardError> {
    keep_public(url.host_str().unwrap_or_default(), vec![SocketAddr::new(address, 0)]).map(|_| ())
}

/// Returns the public addresses; an error if there are none.
fn keep_public(host: &str, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, GuardError> {
    let (public, others): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| is_public(address.ip()));
    match others.first() {
        Some(other) if public.is_empty() => {
            Err(GuardError::NotPublic { host: host.to_owned(), address: other.ip() })
        }
        _ => Ok(public),
    }
}

async fn look_up(name: &str) -> std::io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.collect())
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn guard(trusted: &str) -> SSRFGuard {
        SSRFGuard::trusting(vec![Host::parse(trusted).expect("a host")])
    }

    async fn admit(trusted: &str, url: &str) -> Result<(), GuardError> {
        guard(trusted).admit(&url.parse().expect("a URL"), true).await
    }

    #[tokio::test]
    async fn private_address_is_rejected_in_any_spelling() {
        for host in [
            "10.0.0.1",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "017700000001",
            "0x7f.1",
            "127.0.0.1.",
            "169.254.169.254",
            "2852039166",
            "0xa9fea9fe",
            "[::1]",
            "[::ffff:10.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[64:ff9b::a00:1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
            "0",
            "100.64.0.1",
            "localhost",
        ] {
            let admitted = admit("8.8.8.8", &format!("https://{host}/token")).await;
            assert!(matches!(admitted, Err(GuardError::NotPublic { .. })), "{host}: {admitted:?}");
        }
        assert_eq!(admit("8.8.8.8", "https://1.1.1.1/token").await, Ok(()));
    }

    #[tokio::test]
    async fn trusted_host_does_not_trust_others_at_its_address() {
        for (trusted, url, is_admitted) in [
            ("10.0.0.1", "https://10.0.0.1/", true),
            ("10.0.0.1", "https://10.0.0.1:8443/", true),
            ("10.0.0.1", "https://192.168.0.1/", false),
            ("10.0.0.1", "https://10.0.0.2/", false),
            ("127.0.0.1", "https://localhost/", false),
            ("localhost", "https://localhost/", true),
            ("localhost", "https://127.0.0.1/", false),
            ("localhost", "https://[::1]/", false),
            ("169.254.1.1", "https://169.254.1.1/", true),
            ("169.254.1.1", "https://169.254.169.254/", false),
        ] {
            assert_eq!(admit(trusted, url).await.is_ok(), is_admitted, "{trusted} {url}");
        }
    }

    #[test]
    fn only_public_addresses_of_a_name_are_kept() {
        let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| SocketAddr::new(text.parse().expect("one"), 0)).collect()
        };
        let kept = keep_public("a.test", addresses(&["127.0.0.1", "8.8.8.8", "10.0.0.1"]));
        assert_eq!(kept, Ok(addresses(&["8.8.8.8"])));
        assert!(keep_public("a.test", addresses(&["127.0.0.1", "::1"])).is_err());
    }

    #[tokio::test]
    async fn name_is_checked_again_on_connect() {
        let resolve = async |guard: &SSRFGuard| {
            guard.resolve(Name::from_str("localhost").expect("a name")).await.map(Iterator::count)
        };
        let guard = guard("8.8.8.8");
        assert!(resolve(&guard).await.is_ok_and(|count| count > 0), "only admitted names are restricted");
        // As if the name had been public before.
        guard.names.write().expect("a lock").insert("localhost".to_owned());
        let refused = resolve(&guard).await.expect_err("no address is left");
        assert!(refused.to_string().starts_with("localhost resolves to "), "{refused}");
    }

    #[tokio::test]
    async fn proxied_names_are_not_resolved() {
        let guard = guard("8.8.8.8");
        let admit = async |url: &str| guard.admit(&url.parse().expect("a URL"), false).await.is_ok();
        assert!(admit("https://localhost/").await);
        assert!(!admit("https://2130706433/").await);
    }
}
