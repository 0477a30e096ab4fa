//! Validates the metadata of a provider (OpenID Connect Discovery §3, §4.3; RFC 8414 §2).

use infra_shared::plain_url;
use infra_shared::printable::printable;
use serde_json::{Map, Value};
use url::{Host, Url};

use super::unusable::{self, Unusable};
use super::{ClientAuthentication, OFFLINE_ACCESS, ProviderSettings, authorization_url};

/// Longest issuer shown in a message.
const MAX_SHOWN_CHARACTERS: usize = 200;
/// RFC 8414 §2: the PKCE methods that a provider supports.
const PKCE_METHODS: &str = "code_challenge_methods_supported";

/// The metadata that the daemon uses, fully validated.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) jwks_uri: Url,
    pub(super) userinfo_endpoint: Option<Url>,
    /// Where tokens are revoked (RFC 8414 §2, RFC 7009).
    pub(super) revocation_endpoint: Option<Url>,
    /// Whether the provider advertises refresh tokens; `None` if it does not say.
    pub(super) offers_refresh_tokens: Option<bool>,
    /// Whether the provider promised `iss` in authorization responses (RFC 9207 §3).
    pub(super) sends_response_issuer: bool,
    /// Whether the provider signs ID tokens with a configured algorithm; `None` if it does not say.
    pub(super) signs_with_allowed: Option<bool>,
}

pub(super) fn read(document: &Map<String, Value>, settings: &ProviderSettings) -> Result<Metadata, Unusable> {
    check_issuer(document, &settings.issuer)?;
    read_after_issuer(document, settings)
}

/// Discovery §4.3: the issuer must match exactly. Anything else is another issuer's document.
pub(super) fn check_issuer(document: &Map<String, Value>, issuer: &str) -> Result<(), Unusable> {
    if document.get("issuer").and_then(Value::as_str) == Some(issuer) {
        return Ok(());
    }
    let (said, hint) = match document.get("issuer") {
        None | Some(Value::Null) => ("none".to_owned(), unusable::COMPARE_ISSUER),
        Some(Value::String(text)) => {
            (format!("`{}`", printable(text, MAX_SHOWN_CHARACTERS)), unusable::COPY_ISSUER)
        }
        Some(_) => ("a value that is not text".to_owned(), unusable::COMPARE_ISSUER),
    };
    let reason = format!("the issuer differs: configured `{issuer}`, the provider's metadata has {said}");
    Err(Unusable::new(reason, hint))
}

fn read_after_issuer(
    document: &Map<String, Value>,
    settings: &ProviderSettings,
) -> Result<Metadata, Unusable> {
    let wrong = |reason| Unusable::new(reason, unusable::CORRECT_METADATA);
    let endpoint = |name: &'static str| match document.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => endpoint(text, settings.development).map(Some).map_err(wrong),
        Some(_) => Err(wrong("an endpoint is not text")),
    };
    let required = |name, missing| endpoint(name)?.ok_or_else(|| wrong(missing));

    let authorization_endpoint = required("authorization_endpoint", "no authorization_endpoint")?;
    if authorization_url::has_reserved_parameter(&authorization_endpoint) {
        return Err(wrong("authorization_endpoint contains reserved query parameters"));
    }
    if !strings(document, "response_types_supported").contains(&"code") {
        return Err(Unusable::new("the provider offers no response type `code`", unusable::OFFER_CODES));
    }
    // RFC 9700 §2.1.1: a provider that does not advertise PKCE may ignore it, unless the operator has confirmed
    // support. What the provider advertises always counts.
    let is_silent = !document.contains_key(PKCE_METHODS);
    let is_assumed = settings.assumes_pkce && is_silent;
    if !is_assumed && !strings(document, PKCE_METHODS).contains(&"S256") {
        let hint = if is_silent { unusable::ASSUME_PKCE } else { unusable::OFFER_PKCE };
        return Err(Unusable::new("the provider offers no PKCE with S256", hint));
    }
    let authentication = match settings.client_authentication {
        ClientAuthentication::ClientSecretBasic => "client_secret_basic",
        ClientAuthentication::ClientSecretPost => "client_secret_post",
    };
    let methods = strings(document, "token_endpoint_auth_methods_supported");
    // Discovery §3: the default is client_secret_basic.
    let is_offered =
        methods.contains(&authentication) || (methods.is_empty() && authentication == "client_secret_basic");
    if !is_offered {
        let hint = unusable::hint_for_authentication(settings.client_authentication, &methods);
        return Err(Unusable::new("the provider does not offer the configured clientAuthentication", hint));
    }
    Ok(Metadata {
        authorization_endpoint,
        token_endpoint: required("token_endpoint", "no token_endpoint")?,
        jwks_uri: required("jwks_uri", "no jwks_uri")?,
        userinfo_endpoint: endpoint("userinfo_endpoint")?,
        revocation_endpoint: endpoint("revocation_endpoint")?,
        offers_refresh_tokens: offers_refresh_tokens(document),
        sends_response_issuer: document.get("authorization_response_iss_parameter_supported")
            == Some(&Value::Bool(true)),
        signs_with_allowed: signs_with_allowed(document, settings),
    })
}

fn offers_refresh_tokens(document: &Map<String, Value>) -> Option<bool> {
    let (grants, scopes) =
        (strings(document, "grant_types_supported"), strings(document, "scopes_supported"));
    // Discovery §3: both lists may omit supported values.
    (!grants.is_empty())
        .then(|| grants.contains(&"refresh_token") && (scopes.is_empty() || scopes.contains(&OFFLINE_ACCESS)))
}

fn signs_with_allowed(document: &Map<String, Value>, settings: &ProviderSettings) -> Option<bool> {
    let offered = strings(document, "id_token_signing_alg_values_supported");
    let is_allowed = |name: &&str| settings.signing_algorithms.iter().any(|it| it.name() == *name);
    (!offered.is_empty()).then(|| offered.iter().any(is_allowed))
}

/// Returns the strings of a list, or none if there is no list.
pub(super) fn strings<'a>(document: &'a Map<String, Value>, name: &str) -> Vec<&'a str> {
    document.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Accepts HTTPS, or HTTP on loopback for the development provider. Rejects URLs with credentials.
pub(super) fn endpoint(text: &str, development: bool) -> Result<Url, &'static str> {
    let url = plain_url::parse(text).ok_or("an endpoint is not a URL")?;
    let is_loopback = matches!(url.host(), Some(Host::Ipv4(address)) if address.is_loopback());
    if url.scheme() != "https" && !(development && url.scheme() == "http" && is_loopback) {
        return Err("an endpoint does not use HTTPS");
    }
    if url.host_str().is_none_or(str::is_empty) || !url.username().is_empty() || url.password().is_some() {
        return Err("an endpoint has no host, or contains a user");
    }
    if url.fragment().is_some() {
        return Err("an endpoint contains a fragment");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> ProviderSettings {
        ProviderSettings::unreachable()
    }

    fn good() -> Value {
        json!({
            "issuer": "https://okta.test",
            "authorization_endpoint": "https://okta.test/oauth2/v1/authorize?tenant=a",
            "token_endpoint": "https://okta.test/oauth2/v1/token",
            "jwks_uri": "https://okta.test/oauth2/v1/keys",
            "userinfo_endpoint": "https://okta.test/oauth2/v1/userinfo",
            "response_types_supported": ["code", "id_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
            "authorization_response_iss_parameter_supported": true,
        })
    }

    fn read_value(document: &Value, settings: &ProviderSettings) -> Result<Metadata, String> {
        read(document.as_object().expect("an object"), settings).map_err(|unusable| unusable.reason)
    }

    #[test]
    fn valid_metadata_is_accepted() {
        let metadata = read_value(&good(), &settings()).expect("metadata");
        assert_eq!(metadata.token_endpoint.as_str(), "https://okta.test/oauth2/v1/token");
        assert!(metadata.sends_response_issuer && metadata.userinfo_endpoint.is_some());
    }

    #[test]
    fn each_metadata_defect_is_rejected() {
        for (member, value) in [
            ("issuer", json!("https://okta.test/")),
            ("issuer", json!("https://OKTA.test")),
            ("issuer", json!(null)),
            ("issuer", json!(["https://okta.test"])),
            ("token_endpoint", json!("http://okta.test/token")),
            ("token_endpoint", json!("http://127.0.0.1/token")),
            ("token_endpoint", json!("file:///etc/passwd")),
            ("token_endpoint", json!("https://user:pass@okta.test/token")),
            ("token_endpoint", json!(null)),
            ("token_endpoint", json!("https://okta.test/to\r\nken")),
            ("token_endpoint", json!("https://okta.te\tst/token")),
            ("token_endpoint", json!(" https://okta.test/token")),
            ("token_endpoint", json!("https:\\\\okta.test/token")),
            ("jwks_uri", json!("https://okta.test/keys\n")),
            ("authorization_endpoint", json!("https://okta.test/a b")),
            ("jwks_uri", json!(7)),
            ("userinfo_endpoint", json!("http://okta.test/userinfo")),
            ("authorization_endpoint", json!("https://okta.test/authorize#x")),
            (
                "authorization_endpoint",
                json!("https://okta.test/authorize?redirect_uri=https%3A%2F%2Fevil.test"),
            ),
            ("response_types_supported", json!(["token"])),
            ("code_challenge_methods_supported", json!(["plain"])),
            ("code_challenge_methods_supported", json!(null)),
            ("token_endpoint_auth_methods_supported", json!(["client_secret_post"])),
        ] {
            let mut document = good();
            document[member] = value.clone();
            assert!(read_value(&document, &settings()).is_err(), "{member}: {value}");
        }
    }

    #[test]
    fn issuer_mismatch_shows_both_issuers() {
        let mut document = good();
        for (said, shown) in [
            (json!("https://okta.test/"), "`https://okta.test/`"),
            (json!("https://a\u{1b}[2J"), "`https://a[2J`"),
            (json!(null), "none"),
            (json!(7), "a value that is not text"),
        ] {
            document["issuer"] = said;
            let expected = format!(
                "the issuer differs: configured `https://okta.test`, the provider's metadata has {shown}"
            );
            assert_eq!(read_value(&document, &settings()).err(), Some(expected));
        }
    }

    #[test]
    fn pkce_is_assumed_only_if_operator_confirms_it() {
        let mut document = good();
        document.as_object_mut().expect("an object").remove("code_challenge_methods_supported");
        assert_eq!(
            read_value(&document, &settings()).err().as_deref(),
            Some("the provider offers no PKCE with S256")
        );
        let settings = ProviderSettings { assumes_pkce: true, ..settings() };
        assert!(read_value(&document, &settings).is_ok() && read_value(&good(), &settings).is_ok());
        for said in [json!(["plain"]), json!([]), json!(null)] {
            document["code_challenge_methods_supported"] = said.clone();
            assert_eq!(
                read_value(&document, &settings).err().as_deref(),
                Some("the provider offers no PKCE with S256"),
                "{said}"
            );
        }
    }

    #[test]
    fn http_is_accepted_only_for_development_on_loopback() {
        let mut settings = settings();
        settings.development = true;
        let mut document = good();
        document["token_endpoint"] = json!("http://127.0.0.1:4000/token");
        assert!(read_value(&document, &settings).is_ok());
        document["token_endpoint"] = json!("http://192.0.2.1/token");
        assert!(read_value(&document, &settings).is_err());
    }
}
