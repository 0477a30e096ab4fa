//! Selects the proxy for a server: `HTTPS_PROXY`, else `ALL_PROXY`, unless `NO_PROXY` exempts the server. Lower-case
//! names work too. On macOS and Windows the system's settings apply if neither variable is set.
//!
//! Requests use a CONNECT tunnel (RFC 9110 §9.3.6), so a proxy sees only a name, a port and TLS. Plain HTTP never uses
//! a proxy. Neither do loopback and link-local addresses, because beyond the proxy they belong to other machines.

use std::error::Error;
use std::fmt;
use std::iter::successors;
use std::net::IpAddr;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::NoProxy;
use crate::printable::printable;

/// Longest cause included in an error.
const MAX_REASON: usize = 200;

/// Proxy settings from the environment. `Debug` hides the proxy's address, which may contain a password.
#[derive(Clone, Default)]
pub struct Proxies {
    /// Name and value of the variable that sets the proxy.
    variable: Option<(&'static str, SecretString)>,
    no_proxy: NoProxy,
    /// Whether the system's settings apply if no variable is set.
    use_system: bool,
}

/// How to reach a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Without a proxy.
    Direct,
    Through(Proxy),
    /// Blocked, because the configured proxy is unusable.
    Barred(ProxyError),
}

/// A proxy's address without its credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    address: String,
    has_credentials: bool,
}

/// Why a request through a proxy failed. Contains no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// Omits the value, which may contain a password.
    #[error("{variable} is not the address of a proxy")]
    Malformed { variable: &'static str },
    #[error("the proxy {address} uses TLS, which is not supported")]
    Scheme { address: String },
    #[error("the proxy {address} requires credentials (407)")]
    AsksForCredentials { address: String },
    #[error("the proxy {address} rejected the credentials (407)")]
    WrongCredentials { address: String },
    #[error("the proxy {address} refused to connect to the server")]
    Refused { address: String },
    #[error("no response in time through the proxy {address}")]
    TimedOut { address: String },
    #[error("the connection through the proxy {address} failed: {reason}")]
    Failed { address: String, reason: String },
}

/// A route, plus the proxy's address with credentials for the HTTP client.
struct Decision {
    route: Route,
    address: Option<SecretString>,
}

impl Proxies {
    /// No proxy: every server is reached directly.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads the proxy settings from the process environment.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads what the environment says about proxies"
    )]
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Reads the variables. An empty variable counts as unset and hides its lower-case variant.
    fn from_variables(find: impl Fn(&str) -> Option<String>) -> Self {
        let find = |names: [&'static str; 2]| {
            let set = names.into_iter().find_map(|name| Some((name, find(name)?)));
            set.filter(|(_, value)| !value.trim().is_empty())
        };
        let variable = find(["HTTPS_PROXY", "https_proxy"]).or_else(|| find(["ALL_PROXY", "all_proxy"]));
        let no_proxy = find(["NO_PROXY", "no_proxy"]).map(|(_, value)| value).unwrap_or_default();
        Self {
            variable: variable.map(|(name, value)| (name, with_plain_scheme(&value).into())),
            no_proxy: NoProxy::parse(&no_proxy),
            use_system: true,
        }
    }

    /// How to reach `url`.
    pub fn route(&self, url: &Url) -> Route {
        self.decide(url).route
    }

    /// Entries of `NO_PROXY` that match no server, if a proxy is configured.
    pub fn ineffective_entries(&self) -> &[String] {
        if self.variable.is_some() { self.no_proxy.ineffective() } else { &[] }
    }

    /// The same decision as a `reqwest` proxy.
    pub(super) fn for_client(&self) -> reqwest::Proxy {
        let proxies = self.clone();
        reqwest::Proxy::custom(move |url| {
            proxies.decide(url).address.map(|address| address.expose_secret().to_owned())
        })
    }

    fn decide(&self, url: &Url) -> Decision {
        let direct = Decision { route: Route::Direct, address: None };
        let Some(host) = url.host() else { return direct };
        if url.scheme() != "https" || is_local(&host) || self.no_proxy.contains(&host) {
            return direct;
        }
        let Ok(target) = url.as_str().parse::<Uri>() else { return direct };
        let barred = |error| Decision { route: Route::Barred(error), address: None };
        let Some((variable, value)) = &self.variable else {
            let found = self.use_system.then(|| Matcher::from_system().intercept(&target)).flatten();
            return found.map_or(direct, |found| {
                let address = found.uri().to_string();
                Decision::through(&found, address.into())
            });
        };
        match Matcher::builder().all(value.expose_secret()).build().intercept(&target) {
            Some(found) => Decision::through(&found, value.clone()),
            // The HTTP client would ignore the value and bypass the proxy that the operator requires.
            None => barred(ProxyError::Malformed { variable }),
        }
    }
}

impl Decision {
    fn through(found: &Intercept, with_credentials: SecretString) -> Self {
        let address = printable(found.uri().to_string().trim_end_matches('/'), MAX_REASON);
        // The server's trusted CAs would also have to verify the proxy's own certificate.
        if found.uri().scheme_str() == Some("https") {
            return Self { route: Route::Barred(ProxyError::Scheme { address }), address: None };
        }
        let has_credentials = found.basic_auth().is_some() || found.raw_auth().is_some();
        Self { route: Route::Through(Proxy { address, has_credentials }), address: Some(with_credentials) }
    }
}

/// The address with its scheme in lower case, which is all that the client knows. Schemes are case-insensitive (RFC 3986 §3.1).
fn with_plain_scheme(address: &str) -> String {
    match address.split_once("://") {
        Some((scheme, rest)) => format!("{}://{rest}", scheme.to_ascii_lowercase()),
        None => address.to_owned(),
    }
}

/// Whether `host` is this machine or link-local (RFC 3927, RFC 4291 §2.5.6). Cloud metadata services, which hand out
/// credentials, have link-local addresses.
fn is_local(host: &Host<&str>) -> bool {
    let address = match host {
        // RFC 6761 §6.3: these names always resolve to loopback.
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            return name == "localhost" || name.ends_with(".localhost");
        }
        Host::Ipv4(address) => IpAddr::from(*address),
        Host::Ipv6(address) => IpAddr::from(*address).to_canonical(),
    };
    let is_on_link = match address {
        IpAddr::V4(address) => address.is_link_local(),
        // AWS also uses fd00:ec2::254 and fd00:ec2::23.
        IpAddr::V6(address) => {
            address.is_unicast_link_local() || address.segments().starts_with(&[0xfd00, 0xec2])
        }
    };
    address.is_loopback() || address.is_unspecified() || is_on_link
}

impl Proxy {
    /// Scheme, host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Explains why a request through this proxy failed.
    pub fn explain(&self, error: &reqwest::Error) -> ProxyError {
        let address = self.address.clone();
        if error.is_timeout() {
            return ProxyError::TimedOut { address };
        }
        let causes = successors(Some(error as &dyn Error), |&cause| cause.source());
        let causes: Vec<String> = causes.map(ToString::to_string).collect();
        // The HTTP client exposes these cases only as text. Tests pin the text.
        let is = |words: &str| causes.iter().any(|cause| cause == words);
        if is("tunnel error: proxy authorization required") {
            return if self.has_credentials {
                ProxyError::WrongCredentials { address }
            } else {
                ProxyError::AsksForCredentials { address }
            };
        }
        if is("tunnel error: unsuccessful") {
            return ProxyError::Refused { address };
        }
        let reason = printable(causes.last().map_or("", String::as_str), MAX_REASON);
        ProxyError::Failed { address, reason }
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variable = self.variable.as_ref().map(|(name, _)| name);
        formatter.debug_struct("Proxies").field("variable", &variable).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_variables(|name| {
            variables.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn route(variables: &[(&str, &str)], url: &str) -> Route {
        proxies(variables).route(&url.parse().expect("a URL"))
    }

    #[test]
    fn local_addresses_and_plain_http_never_use_a_proxy() {
        let all = [
            ("HTTP_PROXY", "http://proxy.test:1"),
            ("HTTPS_PROXY", "http://proxy.test:2"),
            ("ALL_PROXY", "http://proxy.test:3"),
        ];
        for direct in [
            "https://localhost",
            "https://localhost.:1",
            "https://a.localhost:1",
            "https://127.0.0.1",
            "https://127.8.9.10",
            "https://[::1]",
            "https://[::ffff:127.0.0.1]",
            "https://0.0.0.0",
            "https://169.254.169.254/latest",
            "https://169.254.170.2",
            "https://169.254.170.23",
            "https://[fe80::1]",
            "https://[fd00:ec2::254]",
            "http://127.0.0.1:8200",
            "http://[::1]:8200",
            "http://localhost:8200",
            "http://vault.test:8200",
            "http://169.254.169.254/latest",
            "http://169.254.170.2/v2",
        ] {
            assert_eq!(route(&all, direct), Route::Direct, "{direct}");
        }
        for elsewhere in [
            "https://localhost.test",
            "https://notlocalhost",
            "https://10.0.0.1",
            "https://[2001:db8::1]",
            "https://128.0.0.1",
        ] {
            assert!(matches!(route(&all, elsewhere), Route::Through(_)), "{elsewhere}");
        }
        // `HTTP_PROXY` alone has no effect.
        assert_eq!(route(&all[..1], "https://okta.test"), Route::Direct);
    }

    #[test]
    fn proxy_is_shown_without_its_credentials() {
        for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
            let variables = [(variable, "http://user:canary@proxy.test:3128")];
            let Route::Through(proxy) = route(&variables, "https://okta.test") else { panic!("{variable}") };
            assert_eq!(proxy, Proxy { address: "http://proxy.test:3128".to_owned(), has_credentials: true });
            assert!(!format!("{:?}", proxies(&variables)).contains("canary"));
        }
    }

    #[test]
    fn unusable_proxy_is_an_error_unless_server_is_exempt() {
        for value in
            ["http://proxy.test:3128", "proxy.test:3128", "http://user:pass@proxy.test", "socks5h://p:1"]
        {
            assert!(
                matches!(route(&[("HTTPS_PROXY", value)], "https://infra.test"), Route::Through(_)),
                "{value}"
            );
        }
        for value in ["ftp://proxy.test", "http://", "http://canary :1", "/proxy", "https://proxy.test"] {
            let Route::Barred(error) = route(&[("HTTPS_PROXY", value)], "https://infra.test") else {
                panic!("{value}")
            };
            assert!(!error.to_string().contains("canary"), "{error}");
            let exempt = [("HTTPS_PROXY", value), ("NO_PROXY", "other.test .test")];
            assert_eq!(route(&exempt, "https://infra.test"), Route::Direct, "{value}");
        }
        assert_eq!(route(&[], "https://infra.test"), Route::Direct);
    }

    #[test]
    fn scheme_of_a_proxy_counts_in_any_case() {
        for value in
            ["HTTP://proxy.test:1", "Http://proxy.test:1", "SOCKS5://proxy.test:1", "SOCKS5H://proxy.test:1"]
        {
            let proxies = proxies(&[("HTTPS_PROXY", value)]);
            let decision = proxies.decide(&"https://infra.test".parse().expect("a URL"));
            assert!(matches!(decision.route, Route::Through(_)), "{value}: {:?}", decision.route);
            // What the HTTP client is given.
            let address = decision.address.expect("an address");
            assert_eq!(address.expose_secret(), value.to_ascii_lowercase());
        }
        let barred = route(&[("HTTPS_PROXY", "HTTPS://proxy.test")], "https://infra.test");
        assert!(matches!(barred, Route::Barred(ProxyError::Scheme { .. })), "{barred:?}");
    }

    #[test]
    fn ineffective_entries_are_reported_only_with_proxy() {
        let list = ("NO_PROXY", "*.test");
        assert!(proxies(&[list]).ineffective_entries().is_empty());
        assert_eq!(proxies(&[list, ("HTTPS_PROXY", "http://p:1")]).ineffective_entries(), ["*.test"]);
    }
}
