//! Fuzz targets for input that arrives through the browser: queries, pasted addresses, the daemon's URL. Run by
//! `tests/fuzz`.
#![cfg_attr(
    all(test, windows),
    expect(dead_code, reason = "the corpora need the harness, which is for Unix")
)]

use infra_shared::ca_rollover::CARollover;
use infra_shared::origin::Origin;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use url::form_urlencoded;

use super::authorization_url::{AuthorizationURL, ExpectedParameters};
use super::pasted;
use super::response::{ExpectedResponse, Response};

type Target = (&'static str, fn(&[u8]));

pub(crate) const FUZZ_TARGETS: &[Target] = &[
    ("callback", callback),
    ("pasted_address", pasted_address),
    ("authorization_url", authorization_url),
    ("ca_rollover", ca_rollover),
];

fn expected() -> ExpectedResponse {
    ExpectedResponse { state: "right".to_owned(), issuer: "https://login.test".to_owned() }
}

fn callback(input: &[u8]) {
    let Ok(query) = std::str::from_utf8(input) else { return };
    let Some(response) = expected().parse(query) else { return };
    let values = |name: &str| -> Vec<String> {
        let pairs = form_urlencoded::parse(query.as_bytes());
        pairs.filter(|(parameter, _)| parameter == name).map(|(_, value)| value.into_owned()).collect()
    };
    assert_eq!(values("state"), ["right"], "{query:?}");
    if let Response::Code { code, iss } = response {
        assert_eq!(values("code"), [code.expose_secret()]);
        assert!(!code.expose_secret().is_empty() && values("error").is_empty());
        assert!(iss.is_none_or(|iss| iss == "https://login.test"));
    }
}

fn pasted_address(input: &[u8]) {
    let Ok(line) = std::str::from_utf8(input) else { return };
    if pasted::response(line, 8301, &expected()).is_some() {
        // Surrounding characters are removed. URL parsers drop tabs and line breaks anywhere (WHATWG URL §4.4).
        let line: String = line.chars().filter(|character| !"\t\r\n".contains(*character)).collect();
        let whole = line.split('#').next().unwrap_or_default();
        let query = whole.split_once('?').map_or(whole, |(_, query)| query);
        let has = |name: &str, value: &str| {
            form_urlencoded::parse(query.as_bytes())
                .any(|(found, text)| found.contains(name) && text.contains(value))
        };
        assert!(has("state", "right"), "{line:?}");
        assert!(has("code", "") || has("error", ""), "{line:?}");
        assert!(line.contains("127.0.0.1") || line.contains("0x7f") || !line.contains("evil"), "{line:?}");
    }
}

fn authorization_url(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let request = ExpectedParameters {
        redirect_uri: "http://127.0.0.1:8301/callback".to_owned(),
        state: "right".to_owned(),
        code_challenge: "challenge".to_owned(),
    };
    let Ok(AuthorizationURL(url)) = request.check(text, "https://login.test") else { return };
    assert_eq!(url.scheme(), "https");
    assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
    for (name, value) in [("state", "right"), ("code_challenge", "challenge"), ("response_type", "code")] {
        let found: Vec<_> = url.query_pairs().filter(|(parameter, _)| parameter == name).collect();
        assert!(matches!(&found[..], [(_, found)] if found == value), "{url}");
    }
    assert!(url.query_pairs().all(|(name, _)| name != "request" && name != "request_uri"), "{url}");
    let again = request.check(url.as_str(), "https://login.test").map(|AuthorizationURL(url)| url);
    assert_eq!(again, Ok(url));
}

/// No real authority signed the input.
fn ca_rollover(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let server: Origin = "https://infra.test".parse().expect("an address");
    let trusted = [infra_shared::pin::Pin::of_public_key(b"an authority")];
    let now = Timestamp::from_second(1_800_000_000).expect("a time");
    assert!(CARollover::verify(text, &trusted, &server, now, 0).is_err(), "{text:?}");
}

#[cfg(all(test, unix))]
mod tests {
    #[test]
    fn corpora_and_mutations_hold_invariants() {
        infra_harness::fuzz::replay(super::FUZZ_TARGETS);
    }
}
