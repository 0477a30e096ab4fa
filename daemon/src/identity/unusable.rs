//! Why a provider's answers are unusable, with advice for its operator or ours.

use infra_shared::http::Untrusted;

use super::{ClientAuthentication, IdentityError};

/// A permanent failure: a retry fails until an operator corrects something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; try: {hint}")]
pub struct Unusable {
    pub(super) reason: String,
    /// For readers of the log or of `infrad check --live`.
    pub(super) hint: &'static str,
}

pub(super) const CORRECT_METADATA: &str =
    "ask the provider's operator to correct its metadata: no setting of infrad replaces them";
pub(super) const COMPARE_ISSUER: &str = "compare `issuer` with the provider's documentation: its metadata must be at \
                                         ISSUER/.well-known/openid-configuration";
pub(super) const COPY_ISSUER: &str = "if the provider's value is right, copy it to `issuer`, byte for byte; \
                                      otherwise `issuer` points to another provider";
pub(super) const ASSUME_PKCE: &str =
    "set `assumePKCE: true` if the provider's documentation says that it checks PKCE with S256";
pub(super) const OFFER_PKCE: &str =
    "turn on PKCE with S256 at the provider: its metadata list other methods, so `assumePKCE` does not help";
pub(super) const OFFER_CODES: &str =
    "turn on the authorization code flow (response type `code`) at the provider";
pub(super) const PIN_HOST: &str = "add this host to `endpointHosts` if the provider announced it; otherwise ask its operator who changed the metadata";
pub(super) const ALLOW_USER_INFO: &str =
    "allow this client to call the userinfo endpoint, or have the provider put the claims into the ID token";
pub(super) const PLAIN_USER_INFO: &str = "have the provider answer this client's userinfo requests with unsigned JSON, or put the claims into the ID token";
pub(super) const TOO_LARGE: &str =
    "compare `issuer` with the provider's documentation: no known provider sends such large responses";
const CHECK_NETWORK: &str = "check DNS, firewall and proxy between this host and the provider, and the provider's \
                             status page; then try again";
const READ_THE_LOG: &str = "correct the setting that the cause names";

impl Unusable {
    pub(super) fn new(reason: impl Into<String>, hint: &'static str) -> Self {
        Self { reason: reason.into(), hint }
    }

    /// Adds the name of the part that is unusable.
    pub(super) fn within(self, part: &str) -> Self {
        Self { reason: format!("{part}: {}", self.reason), ..self }
    }
}

impl IdentityError {
    /// What an operator can do about it.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Unusable(unusable) => unusable.hint,
            Self::Unavailable(_) => CHECK_NETWORK,
            _ => READ_THE_LOG,
        }
    }

    /// `Display` without the advice.
    pub(super) fn cause(&self) -> String {
        match self {
            Self::Unusable(unusable) => format!("provider unusable: {}", unusable.reason),
            error => error.to_string(),
        }
    }
}

/// Advice for a rejected certificate of the provider.
pub(super) fn hint_for_trust(cause: &Untrusted) -> &'static str {
    match cause {
        Untrusted::Expired | Untrusted::NotYetValid => {
            "compare this host's clock with the certificate's dates; if the clock is right, ask the provider's \
             operator to renew the certificate"
        }
        Untrusted::WrongName => {
            "compare `issuer` and the provider's endpoints with the names in the certificate"
        }
        Untrusted::NoTLS => "correct the port in `issuer`: the server there does not use TLS",
        Untrusted::UnknownAuthority
        | Untrusted::Unacceptable
        | Untrusted::OtherPin { .. }
        | Untrusted::NoAuthoritySent => {
            "set `caFile` to the CA that issued the certificate: the provider's own CA, or the CA of a proxy that \
             inspects TLS"
        }
    }
}

/// Advice if the provider does not list the configured authentication method, but `offered`.
pub(super) fn hint_for_authentication(configured: ClientAuthentication, offered: &[&str]) -> &'static str {
    match configured {
        ClientAuthentication::ClientSecretBasic if offered.contains(&"client_secret_post") => {
            "set `clientAuthentication: client_secret_post`"
        }
        // Discovery §3: the default is client_secret_basic.
        ClientAuthentication::ClientSecretPost
            if offered.is_empty() || offered.contains(&"client_secret_basic") =>
        {
            "set `clientAuthentication: client_secret_basic`"
        }
        _ => "allow `client_secret_basic` or `client_secret_post` at the provider: it lists neither",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::identity::{ProviderSettings, metadata};

    const PKCE: &str = "code_challenge_methods_supported";

    fn good() -> Value {
        json!({
            "issuer": "https://okta.test",
            "authorization_endpoint": "https://okta.test/authorize",
            "token_endpoint": "https://okta.test/token",
            "jwks_uri": "https://okta.test/keys",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        })
    }

    fn hint(document: &Value, settings: &ProviderSettings) -> &'static str {
        metadata::read(document.as_object().expect("an object"), settings).expect_err("a reason").hint
    }

    #[test]
    fn advice_depends_on_fault() {
        let (basic, mut post) = (ProviderSettings::unreachable(), ProviderSettings::unreachable());
        post.client_authentication = ClientAuthentication::ClientSecretPost;
        for (member, value, settings, expected) in [
            ("issuer", json!("https://okta.test/"), &basic, COPY_ISSUER),
            ("issuer", json!(null), &basic, COMPARE_ISSUER),
            (PKCE, json!(["plain"]), &basic, OFFER_PKCE),
            ("response_types_supported", json!(["token"]), &basic, OFFER_CODES),
            ("token_endpoint", json!("http://okta.test/"), &basic, CORRECT_METADATA),
            ("token_endpoint", json!(null), &basic, CORRECT_METADATA),
        ] {
            let mut document = good();
            document[member] = value;
            assert_eq!(hint(&document, settings), expected, "{member}");
        }
        let mut silent = good();
        silent.as_object_mut().expect("an object").remove(PKCE);
        assert_eq!(hint(&silent, &basic), ASSUME_PKCE);
        for (settings, offered, expected) in [
            (&basic, json!(["client_secret_post"]), "set `clientAuthentication: client_secret_post`"),
            (&post, json!(["client_secret_basic"]), "set `clientAuthentication: client_secret_basic`"),
            (&post, json!(null), "set `clientAuthentication: client_secret_basic`"),
            (
                &basic,
                json!(["private_key_jwt"]),
                "allow `client_secret_basic` or `client_secret_post` at the provider: it lists neither",
            ),
        ] {
            let mut document = good();
            document["token_endpoint_auth_methods_supported"] = offered;
            assert_eq!(hint(&document, settings), expected);
        }
    }

    #[test]
    fn certificate_advice_depends_on_fault() {
        for (cause, expected) in [
            (Untrusted::Expired, "clock"),
            (Untrusted::NotYetValid, "clock"),
            (Untrusted::WrongName, "`issuer`"),
            (Untrusted::NoTLS, "port"),
            (Untrusted::UnknownAuthority, "`caFile`"),
            (Untrusted::Unacceptable, "`caFile`"),
        ] {
            let hint = hint_for_trust(&cause);
            assert!(hint.contains(expected), "{cause}: {hint}");
        }
    }
}
