//! Checks the URL that the daemon asks the browser to open: https, and for this sign-in. Its host is not checked,
//! because only the daemon knows its provider.

use infra_shared::plain_url;
use url::{Host, Url};

/// Maximum size of an authorization URL.
const MAX_BYTES: usize = 8 * 1024;

/// Parameters that the URL must contain for this sign-in.
#[derive(Debug)]
pub(super) struct ExpectedParameters {
    pub(super) redirect_uri: String,
    pub(super) state: String,
    pub(super) code_challenge: String,
}

/// A URL that requests exactly this sign-in.
#[derive(Debug, Clone)]
pub struct AuthorizationURL(pub(super) Url);

impl AuthorizationURL {
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub(super) fn origin(&self) -> url::Origin {
        self.0.origin()
    }
}

/// Why a URL is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAuthorizationURL {
    #[error("it is not a URL")]
    NoURL,
    #[error("it is longer than 8 kB")]
    TooLong,
    #[error("it does not use https")]
    NotHTTPS,
    #[error("it contains a user name, a password or a fragment")]
    Ambiguous,
    #[error("its parameter `{0}` does not match this sign-in")]
    Parameter(&'static str),
}

impl ExpectedParameters {
    /// Returns the URL if it requests exactly this sign-in. Plain HTTP is accepted only for a development provider on
    /// loopback.
    pub(super) fn check(&self, url: &str, issuer: &str) -> Result<AuthorizationURL, InvalidAuthorizationURL> {
        if url.len() > MAX_BYTES {
            return Err(InvalidAuthorizationURL::TooLong);
        }
        let url = plain_url::parse(url).ok_or(InvalidAuthorizationURL::NoURL)?;
        let is_development =
            || is_http_on_loopback(&url) && Url::parse(issuer).is_ok_and(|url| is_http_on_loopback(&url));
        if url.scheme() != "https" && !is_development() {
            return Err(InvalidAuthorizationURL::NotHTTPS);
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(InvalidAuthorizationURL::Ambiguous);
        }
        for (name, value) in [
            ("response_type", "code"),
            ("redirect_uri", self.redirect_uri.as_str()),
            ("state", self.state.as_str()),
            ("code_challenge", self.code_challenge.as_str()),
            ("code_challenge_method", "S256"),
        ] {
            let mut values = url.query_pairs().filter(|(parameter, _)| parameter == name);
            if !matches!((values.next(), values.next()), (Some((_, found)), None) if found == value) {
                return Err(InvalidAuthorizationURL::Parameter(name));
            }
        }
        // These would change where or how the response arrives (OAuth 2.0 Multiple Response Types §2.1, RFC 9101 §5).
        for name in ["response_mode", "request", "request_uri"] {
            if url.query_pairs().any(|(parameter, _)| parameter == name) {
                return Err(InvalidAuthorizationURL::Parameter(name));
            }
        }
        Ok(AuthorizationURL(url))
    }
}

fn is_http_on_loopback(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(_)) | None => false,
    };
    url.scheme() == "http" && is_loopback
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://login.test";
    const GOOD: &str = "https://login.test/authorize?client_id=a&response_type=code\
        &redirect_uri=http%3A%2F%2F127.0.0.1%3A8301%2Fcallback&state=s&code_challenge=c&code_challenge_method=S256&nonce=n";

    fn check(url: &str, issuer: &str) -> Result<(), InvalidAuthorizationURL> {
        let request = ExpectedParameters {
            redirect_uri: "http://127.0.0.1:8301/callback".to_owned(),
            state: "s".to_owned(),
            code_challenge: "c".to_owned(),
        };
        request.check(url, issuer).map(|_| ())
    }

    #[test]
    fn matching_authorization_url_is_accepted() {
        assert_eq!(check(GOOD, ISSUER), Ok(()));
    }

    #[test]
    fn plain_http_url_is_accepted_only_on_loopback() {
        let on = |host: &str| GOOD.replace("https://login.test", &format!("http://{host}"));
        assert_eq!(check(&on("127.0.0.1:9"), "http://127.0.0.1:9"), Ok(()));
        assert_eq!(check(&on("127.0.0.1:9"), ISSUER), Err(InvalidAuthorizationURL::NotHTTPS));
        assert_eq!(check(&on("login.test"), "http://127.0.0.1:9"), Err(InvalidAuthorizationURL::NotHTTPS));
        assert_eq!(check(&on("localhost:9"), "http://localhost:9"), Err(InvalidAuthorizationURL::NotHTTPS));
        for scheme in ["file:///etc/passwd", "javascript:alert(1)", "ftp://login.test/"] {
            assert_eq!(check(scheme, ISSUER), Err(InvalidAuthorizationURL::NotHTTPS), "{scheme}");
        }
    }

    #[test]
    fn missing_or_repeated_parameters_are_rejected() {
        for (from, to, name) in [
            ("response_type=code", "response_type=token", "response_type"),
            ("&state=s", "", "state"),
            ("&state=s", "&state=s&state=s", "state"),
            ("&state=s", "&state=other", "state"),
            ("code_challenge=c", "code_challenge=other", "code_challenge"),
            ("S256", "plain", "code_challenge_method"),
            ("8301", "8302", "redirect_uri"),
            ("&nonce=n", "&nonce=n&response_mode=form_post", "response_mode"),
            ("&nonce=n", "&nonce=n&request_uri=https://evil.test", "request_uri"),
        ] {
            assert_eq!(
                check(&GOOD.replacen(from, to, 1), ISSUER),
                Err(InvalidAuthorizationURL::Parameter(name)),
                "{to}"
            );
        }
    }

    #[test]
    fn url_with_credentials_or_excess_length_is_rejected() {
        let hidden = GOOD.replace("login.test", "login.test@evil.test");
        assert_eq!(check(&hidden, ISSUER), Err(InvalidAuthorizationURL::Ambiguous));
        assert_eq!(check(&format!("{GOOD}#x"), ISSUER), Err(InvalidAuthorizationURL::Ambiguous));
        assert_eq!(
            check(&format!("{GOOD}&x={}", "a".repeat(9000)), ISSUER),
            Err(InvalidAuthorizationURL::TooLong)
        );
        assert_eq!(check("login.test", ISSUER), Err(InvalidAuthorizationURL::NoURL));
    }
}
