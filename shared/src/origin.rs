//! A daemon's address as people type it, normalized to `https://host[:port]`.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

use crate::text_form::has_text_form;

/// An HTTPS origin (RFC 6454 §4): lower-case host, and a port unless it is 443.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    host: String,
    port: u16,
}

/// Why a text is not a daemon's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedOrigin {
    #[error("a server's address is `host`, `host:port` or `https://host[:port]`")]
    NotAnAddress,
    #[error("a server uses HTTPS only: write `https://…`, or only the host")]
    NotHttps,
    #[error(
        "a server's address has no path, query or user: write `host`, `host:port` or `https://host[:port]`"
    )]
    MoreThanAnOrigin,
}

impl Origin {
    /// The host: a name, an IPv4 address, or an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether the host is this machine: a loopback address or `localhost`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match Host::parse(&self.host) {
            Ok(Host::Ipv4(address)) => address.is_loopback(),
            Ok(Host::Ipv6(address)) => address.is_loopback(),
            Ok(Host::Domain(name)) => name == "localhost",
            Err(_) => false,
        }
    }

    /// Replaces the port, for a daemon that learns its port when it binds.
    #[must_use]
    pub fn with_port(&self, port: u16) -> Self {
        Self { host: self.host.clone(), port }
    }

    /// The URL of `path`.
    ///
    /// # Panics
    ///
    /// If `path` does not start with a slash, which is a programming error.
    #[must_use]
    pub fn url(&self, path: &str) -> Url {
        assert!(path.starts_with('/'), "a path starts with a slash");
        Url::parse(&format!("{self}{path}")).expect("an origin and a path make a URL")
    }
}

impl FromStr for Origin {
    type Err = MalformedOrigin;

    fn from_str(text: &str) -> Result<Self, MalformedOrigin> {
        let text = text.trim();
        let with_scheme = match text.split_once("://") {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => text.to_owned(),
            Some(_) => return Err(MalformedOrigin::NotHttps),
            None => format!("https://{text}"),
        };
        let has_control_character =
            text.chars().any(|character| character.is_control() || character.is_whitespace());
        let url = Url::parse(&with_scheme).map_err(|_| MalformedOrigin::NotAnAddress)?;
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.trim_end_matches('.').to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => format!("[{address}]"),
            _ => return Err(MalformedOrigin::NotAnAddress),
        };
        // `1%2e%2e` is a valid name, but without its trailing dots it would turn into an address that the user did not
        // type.
        let is_the_same_again =
            Url::parse(&format!("https://{host}")).is_ok_and(|again| again.host_str() == Some(&host));
        if has_control_character || !is_the_same_again || url.port() == Some(0) {
            return Err(MalformedOrigin::NotAnAddress);
        }
        let bare = url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        if !bare {
            return Err(MalformedOrigin::MoreThanAnOrigin);
        }
        // URL parsers read `100200300`, `0x7f.1` and `10.7` as IPv4 addresses. Users never mean those machines.
        let typed = with_scheme.split("://").nth(1).unwrap_or_default().split(['/', ':']).next();
        let is_typed_address = |address| typed.is_some_and(|typed| typed.trim_end_matches('.') == address);
        if matches!(url.host(), Some(Host::Ipv4(_))) && !is_typed_address(host.as_str()) {
            return Err(MalformedOrigin::NotAnAddress);
        }
        Ok(Self { host, port: url.port().unwrap_or(443) })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            443 => write!(formatter, "https://{}", self.host),
            port => write!(formatter, "https://{}:{port}", self.host),
        }
    }
}

has_text_form!(Origin);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_server_are_normalized() {
        for text in [
            "infra.example.com",
            "INFRA.example.com:443",
            "https://infra.example.com",
            "https://infra.example.com/",
            "infra.example.com.",
        ] {
            assert_eq!(
                text.parse::<Origin>().map(|origin| origin.to_string()),
                Ok("https://infra.example.com".to_owned()),
                "{text}"
            );
        }
        assert_eq!(
            "[::1]:8443".parse::<Origin>().map(|origin| origin.to_string()),
            Ok("https://[::1]:8443".to_owned())
        );
        assert_eq!("127.0.0.1:8443".parse::<Origin>().map(|origin| origin.port()), Ok(8443));
    }

    #[test]
    fn loopback_is_an_address_or_localhost() {
        for (text, is_loopback) in [
            ("127.0.0.1:8443", true),
            ("127.9.0.1", true),
            ("[::1]:8443", true),
            ("localhost", true),
            ("10.0.0.1", false),
            ("localhost.example.com", false),
        ] {
            assert_eq!(text.parse::<Origin>().expect(text).is_loopback(), is_loopback, "{text}");
        }
    }

    #[test]
    fn plain_http_is_rejected() {
        assert_eq!("http://infra.example.com".parse::<Origin>(), Err(MalformedOrigin::NotHttps));
    }

    #[test]
    fn path_query_fragment_and_user_are_rejected() {
        for text in [
            "https://a@infra.example.com",
            "infra.example.com/x",
            "infra.example.com?x",
            "infra.example.com#x",
            "https://a:b@h",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(MalformedOrigin::MoreThanAnOrigin), "{text}");
        }
    }

    #[test]
    fn malformed_address_is_rejected() {
        for text in ["", "https://", ":443", "a b", "host:notaport", "host:70000", "\u{7}host", "."] {
            assert_eq!(text.parse::<Origin>(), Err(MalformedOrigin::NotAnAddress), "{text:?}");
        }
    }

    #[test]
    fn numeric_form_of_ipv4_address_is_rejected() {
        for text in
            ["100200300", "https://100200300:8443", "0x7f000001", "10.7", "0177.0.0.1", "127.1/", "%31.2.3.4"]
        {
            assert_eq!(text.parse::<Origin>(), Err(MalformedOrigin::NotAnAddress), "{text:?}");
        }
        for text in ["10.0.0.7", "https://10.0.0.7:8443/", "10.0.0.7.", "7.example.com"] {
            assert!(text.parse::<Origin>().is_ok(), "{text:?}");
        }
    }
}
