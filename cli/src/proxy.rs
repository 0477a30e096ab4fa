//! Which proxy stands between this machine and a server: that of `HTTPS_PROXY`, else of `ALL_PROXY`, unless `NO_PROXY`
//! exempts the server; each in lower case, too. On macOS and Windows the system's settings count where none is set.
//!
//! Trust is the same with it and without: a proxy is asked for a tunnel (CONNECT, RFC 9110 §9.3.6), and sees a name, a port
//! and TLS. A loopback address never goes through one: at the other end it would be another machine.

use std::error::Error;
use std::net::IpAddr;

use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use infra_shared::printable::printable;
use url::{Host, Url};

use crate::settings::ProxyVariables;

/// More of a cause than anybody reads.
const MAX_REASON: usize = 200;

/// How a URL is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Without a proxy.
    Direct,
    /// Through this one.
    Through(Proxy),
    /// A proxy is asked for that there is no way through.
    Barred(ProxyError),
}

/// A proxy by its address. Whoever shows it shows no credentials: it holds none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    address: String,
    has_credentials: bool,
}

/// Why there was no way through a proxy. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The value is not repeated: it may hold a password.
    #[error("{variable} holds no address of a proxy")]
    Malformed { variable: &'static str },
    #[error("the proxy {address} wants TLS of its own, which `infra` does not speak to proxies")]
    Scheme { address: String },
    #[error("the proxy {address} asks for credentials (407)")]
    AsksForCredentials { address: String },
    #[error("the proxy {address} did not accept the credentials that it was given (407)")]
    WrongCredentials { address: String },
    #[error("the proxy {address} refused to connect to the server")]
    Refused { address: String },
    #[error("no answer in time through the proxy {address}")]
    TimedOut { address: String },
    #[error("the connection through the proxy {address} failed: {reason}")]
    Failed { address: String, reason: String },
}

/// How `url` is reached, as the HTTP client decides it.
pub fn route(url: &Url) -> Route {
    if is_loopback(url) {
        return Route::Direct;
    }
    let uri = |text: &str| text.parse::<Uri>().ok();
    let Some(target) = uri(url.as_str()) else { return Route::Direct };
    let Some(intercept) = Matcher::from_system().intercept(&target) else {
        return malformed(&target, &ProxyVariables::read()).map_or(Route::Direct, Route::Barred);
    };
    let address = printable(intercept.uri().to_string().trim_end_matches('/'), MAX_REASON);
    if intercept.uri().scheme_str() == Some("https") {
        return Route::Barred(ProxyError::Scheme { address });
    }
    let has_credentials = intercept.basic_auth().is_some() || intercept.raw_auth().is_some();
    Route::Through(Proxy { address, has_credentials })
}

/// The client ignores an address that it cannot read, and would connect around the proxy that somebody asked for.
fn malformed(target: &Uri, variables: &ProxyVariables) -> Option<ProxyError> {
    let (variable, value) = variables.proxy.as_ref()?;
    let is_exempt = || {
        let anything = Matcher::builder().all("http://proxy.invalid").no(variables.exempt.as_str()).build();
        anything.intercept(target).is_none()
    };
    let is_read = Matcher::builder().all(value.as_str()).build().intercept(target).is_some();
    (!is_read && !is_exempt()).then_some(ProxyError::Malformed { variable })
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        // RFC 6761 §6.3: names that lead to this machine wherever they are asked.
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).to_canonical().is_loopback(),
        None => false,
    }
}

impl Proxy {
    /// Scheme, host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Why a request through it failed.
    pub fn explain(&self, error: &reqwest::Error) -> ProxyError {
        let address = self.address.clone();
        if error.is_timeout() {
            return ProxyError::TimedOut { address };
        }
        let mut causes = Vec::new();
        let mut next = Some(error as &dyn Error);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        // The client has no names for these but its words; the tests hold them.
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

impl ProxyError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => {
                "`http://HOST:PORT`, with `USER:PASSWORD@` before the host where it asks for them"
            }
            Self::Scheme { .. } => {
                "`http://HOST:PORT`: what goes through it is encrypted to the server all the same"
            }
            Self::AsksForCredentials { .. } | Self::WrongCredentials { .. } => {
                "`HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT` with what whoever runs the proxy gave you"
            }
            Self::Refused { .. } | Self::TimedOut { .. } | Self::Failed { .. } => {
                "put a server that is reached without the proxy into `NO_PROXY`; for any other, ask whoever runs the proxy"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    #[test]
    fn this_machine_is_known_by_its_names_and_addresses() {
        for here in ["localhost", "a.localhost:1", "127.0.0.1", "127.8.9.10", "[::1]", "[::ffff:127.0.0.1]"] {
            assert!(is_loopback(&url(&format!("https://{here}/"))), "{here}");
        }
        for elsewhere in ["localhost.test", "notlocalhost", "10.0.0.1", "[2001:db8::1]", "128.0.0.1"] {
            assert!(!is_loopback(&url(&format!("https://{elsewhere}/"))), "{elsewhere}");
        }
    }

    #[test]
    fn an_address_that_the_client_would_ignore_is_an_error_unless_the_server_is_exempt() {
        let target: Uri = "https://infra.test/".parse().expect("a URI");
        let told = |value: &str, exempt: &str| {
            let proxy = Some(("HTTPS_PROXY", value.to_owned()));
            malformed(&target, &ProxyVariables { proxy, exempt: exempt.to_owned() })
        };
        for value in
            ["http://proxy.test:3128", "proxy.test:3128", "http://user:pass@proxy.test", "socks5h://p:1"]
        {
            assert_eq!(told(value, ""), None, "{value}");
        }
        for value in ["ftp://proxy.test", "http://", "http://canary :1", "/proxy"] {
            let error = told(value, "").expect(value);
            assert!(!error.to_string().contains("canary"), "{error}");
            assert_eq!(told(value, "other.test,.test"), None, "{value}");
        }
        assert_eq!(malformed(&target, &ProxyVariables::default()), None);
    }
}
