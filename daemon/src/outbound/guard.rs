//! Names that somebody else chose are looked up with suspicion: an address that is not public counts only if the one who
//! chose them is at such a place, too.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::addresses::Place;

/// More names than any provider needs.
const MAX_NAMES: usize = 1024;

/// A host whose addresses are at places where nobody who names it from afar has anything to send us to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    #[error("{host} is at {address}, which is no public address, and {owner} is not at such a place")]
    NotPublic { host: String, address: IpAddr, owner: String },
    #[error("more than {MAX_NAMES} hosts were named")]
    TooManyNames,
}

/// The names that `owner` chose. An HTTP client looks names up with it, so that what is checked is what is connected to:
/// a name that changes between the two gains nothing.
#[derive(Debug, Clone)]
pub struct Guard {
    owner: Host<String>,
    /// Without the proxies and the owner itself: those the operator named.
    names: Arc<RwLock<HashSet<String>>>,
}

impl Guard {
    /// `None` if the URL has no host.
    pub fn of(owner: &Url) -> Option<Self> {
        Some(Self { owner: owner.host()?.to_owned(), names: Arc::default() })
    }

    /// Guards the host of `url` from now on. An address that stands in it is checked at once; a name is looked up as well
    /// if the connection is `direct`, and if it cannot be found is left to whoever connects.
    pub async fn admit(&self, url: &Url, direct: bool) -> Result<(), GuardError> {
        match url.host() {
            None => Ok(()),
            Some(host) if host.to_owned() == self.owner => Ok(()),
            Some(Host::Ipv4(address)) => self.admit_address(url, address.into()).await,
            Some(Host::Ipv6(address)) => self.admit_address(url, address.into()).await,
            Some(Host::Domain(name)) => {
                {
                    let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
                    if names.len() >= MAX_NAMES && !names.contains(name) {
                        return Err(GuardError::TooManyNames);
                    }
                    names.insert(name.to_owned());
                }
                match look_up(name).await {
                    Ok(addresses) if direct => self.allowed(name, addresses).await.map(|_| ()),
                    Ok(_) | Err(_) => Ok(()),
                }
            }
        }
    }

    async fn admit_address(&self, url: &Url, address: IpAddr) -> Result<(), GuardError> {
        let host = url.host_str().unwrap_or_default();
        self.allowed(host, vec![SocketAddr::new(address, 0)]).await.map(|_| ())
    }

    /// Those of the addresses that are public, or at a place where the owner is. Special ones never are.
    async fn allowed(&self, host: &str, addresses: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, GuardError> {
        if addresses.iter().all(|address| Place::of(address.ip()) == Place::Public) {
            return Ok(addresses);
        }
        let owners = self.places().await;
        let is_allowed = |address: &SocketAddr| match Place::of(address.ip()) {
            Place::Public => true,
            Place::Special => false,
            place => owners.contains(&place),
        };
        let (allowed, refused): (Vec<_>, Vec<_>) = addresses.into_iter().partition(is_allowed);
        match refused.first() {
            Some(refused) if allowed.is_empty() => Err(GuardError::NotPublic {
                host: host.to_owned(),
                address: refused.ip(),
                owner: self.owner.to_string(),
            }),
            _ => Ok(allowed),
        }
    }

    /// Where the owner is.
    async fn places(&self) -> Vec<Place> {
        match &self.owner {
            Host::Ipv4(address) => vec![Place::of((*address).into())],
            Host::Ipv6(address) => vec![Place::of((*address).into())],
            Host::Domain(name) => {
                let addresses = look_up(name).await.unwrap_or_default();
                addresses.iter().map(|address| Place::of(address.ip())).collect()
            }
        }
    }

    fn is_guarded(&self, name: &str) -> bool {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.contains(name)
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let name = name.as_str();
            let mut addresses = look_up(name).await?;
            if guard.is_guarded(name) {
                addresses = guard.allowed(name, addresses).await?;
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

async fn look_up(name: &str) -> std::io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((name, 0)).await?.collect())
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn guard(owner: &str) -> Guard {
        Guard::of(&owner.parse().expect("a URL")).expect("a host")
    }

    async fn admit(owner: &str, url: &str) -> Result<(), GuardError> {
        guard(owner).admit(&url.parse().expect("a URL"), true).await
    }

    #[tokio::test]
    async fn a_public_owner_names_no_private_address_in_any_spelling() {
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
            let admitted = admit("https://8.8.8.8/", &format!("https://{host}/token")).await;
            assert!(matches!(admitted, Err(GuardError::NotPublic { .. })), "{host}: {admitted:?}");
        }
        assert_eq!(admit("https://8.8.8.8/", "https://1.1.1.1/token").await, Ok(()));
    }

    #[tokio::test]
    async fn an_owner_at_a_private_address_names_others_of_its_kind_only() {
        for (owner, url, is_admitted) in [
            ("https://10.0.0.1/", "https://10.0.0.1/", true),
            ("https://10.0.0.1/", "https://192.168.0.1/", true),
            ("https://10.0.0.1/", "https://127.0.0.1/", false),
            ("https://10.0.0.1/", "https://169.254.169.254/", false),
            ("https://10.0.0.1/", "https://[fd00:ec2::254]/", false),
            ("https://127.0.0.1/", "https://localhost/", true),
            ("https://127.0.0.1/", "https://10.0.0.1/", false),
            ("https://localhost/", "https://[::1]/", true),
            ("https://169.254.1.1/", "https://169.254.1.1/", true),
        ] {
            assert_eq!(admit(owner, url).await.is_ok(), is_admitted, "{owner} {url}");
        }
    }

    #[tokio::test]
    async fn a_name_is_checked_again_when_it_is_connected_to() {
        let resolve = async |guard: &Guard| {
            guard.resolve(Name::from_str("localhost").expect("a name")).await.map(Iterator::count)
        };
        let guard = guard("https://8.8.8.8/");
        assert!(resolve(&guard).await.is_ok_and(|count| count > 0), "nobody chose it from afar");
        // As if it had been public a moment ago.
        guard.names.write().expect("a lock").insert("localhost".to_owned());
        let refused = resolve(&guard).await.expect_err("no address is left");
        assert!(refused.to_string().starts_with("localhost is at "), "{refused}");
    }

    #[tokio::test]
    async fn behind_a_proxy_addresses_are_checked_and_names_are_not() {
        let guard = guard("https://8.8.8.8/");
        let admit = async |url: &str| guard.admit(&url.parse().expect("a URL"), false).await.is_ok();
        assert!(admit("https://localhost/").await);
        assert!(!admit("https://2130706433/").await);
    }
}
