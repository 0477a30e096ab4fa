//! The test browser signs in on the pages of the certified provider, in both shapes of Okta's paths.

use infra_harness::browser::{Browser, follow_to_callback};
use infra_peers::certified_provider::{CertifiedProvider, Paths};
use url::Url;

#[test]
fn browser_signs_in_at_custom_authorization_server() {
    signs_in(Paths::Custom, "/oauth2/default/v1/authorize");
}

#[test]
fn browser_signs_in_at_organization_server() {
    signs_in(Paths::Organization, "/oauth2/v1/authorize");
}

fn signs_in(paths: Paths, authorize: &str) {
    let Some(provider) = CertifiedProvider::start(paths) else { return };
    let mut url = Url::parse(provider.issuer()).expect("an issuer");
    url.set_path(authorize);
    url.query_pairs_mut().extend_pairs([
        ("client_id", "infra-basic"),
        ("response_type", "code"),
        ("redirect_uri", "http://127.0.0.1:8301/callback"),
        ("scope", "openid"),
        ("state", "state-of-the-test"),
        ("nonce", "nonce-of-the-test"),
        // RFC 7636, appendix B.
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ]);
    let authorities = vec![provider.authority_file()];
    let browser = Browser { user: "alice".to_owned(), cancel: false, authorities };

    let followed = follow_to_callback(url.as_str(), &browser).expect("a callback");
    let last = followed.urls.last().and_then(|last| Url::parse(last).ok()).expect("a URL");
    assert_eq!(last.path(), "/callback", "{followed:?}");
    let parameter =
        |name: &str| last.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
    assert!(parameter("code").is_some_and(|code| !code.is_empty()), "{last}");
    assert_eq!(parameter("state").as_deref(), Some("state-of-the-test"));
    assert_eq!(parameter("iss").as_deref(), Some(provider.issuer()));
}
