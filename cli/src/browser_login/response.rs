//! Validates the authorization response by its query alone (RFC 6749 §4.1.2, RFC 9207).

use secrecy::SecretString;
use subtle::ConstantTimeEq;
use url::form_urlencoded;

/// Maximum length of an authorization code.
const MAX_CODE: usize = 4096;

/// Values that the expected response must match.
#[derive(Debug, Clone)]
pub(super) struct ExpectedResponse {
    pub(super) state: String,
    pub(super) issuer: String,
}

/// The expected response: its `state` is this sign-in's.
#[derive(Debug)]
pub(super) enum Response {
    Code {
        code: SecretString,
        /// Forwarded to the daemon, which knows if the provider must send `iss`.
        iss: Option<String>,
    },
    ProviderError(AuthorizationError),
    /// A code from a different issuer: a mix-up attack (RFC 9207 §2.4).
    OtherIssuer,
}

/// Why the identity provider returned no code (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthorizationError {
    /// `access_denied`: by the user, or by a policy of the provider.
    AccessDenied,
    /// `temporarily_unavailable` or `server_error`.
    Unavailable,
    /// Any other error, with its name if a standard defines it.
    Other(Option<&'static str>),
}

/// Error codes that messages may contain. Nothing else from a query is shown.
const KNOWN_ERRORS: [&str; 8] = [
    "invalid_request",
    "unauthorized_client",
    "unsupported_response_type",
    "invalid_scope",
    "interaction_required",
    "login_required",
    "account_selection_required",
    "consent_required",
];

impl ExpectedResponse {
    /// Returns the expected response, or `None` if the `state` differs.
    pub(super) fn parse(&self, query: &str) -> Option<Response> {
        let mut parameters = Parameters::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let slot = match name.as_ref() {
                "state" => &mut parameters.state,
                "iss" => &mut parameters.iss,
                "error" => &mut parameters.error,
                "code" => &mut parameters.code,
                // RFC 6749 §4.1.2: unrecognized parameters are ignored.
                _ => continue,
            };
            // RFC 6749 §3.1: no parameter more than once.
            if slot.replace(value.into_owned()).is_some() {
                return None;
            }
        }
        let is_ours = parameters.state?.as_bytes().ct_eq(self.state.as_bytes());
        if !bool::from(is_ours) {
            return None;
        }
        let is_other_issuer = parameters.iss.as_ref().is_some_and(|iss| *iss != self.issuer);
        match (parameters.code, parameters.error) {
            (Some(code), None) if !code.is_empty() && code.len() <= MAX_CODE => Some(if is_other_issuer {
                Response::OtherIssuer
            } else {
                Response::Code { code: code.into(), iss: parameters.iss }
            }),
            // An error from another issuer says nothing about this sign-in.
            (None, Some(error)) if !is_other_issuer => {
                Some(Response::ProviderError(AuthorizationError::from_code(&error)))
            }
            _ => None,
        }
    }
}

#[derive(Default)]
struct Parameters {
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    code: Option<String>,
}

impl AuthorizationError {
    fn from_code(error: &str) -> Self {
        match error {
            "access_denied" => Self::AccessDenied,
            "temporarily_unavailable" | "server_error" => Self::Unavailable,
            other => Self::Other(KNOWN_ERRORS.into_iter().find(|known| *known == other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use serde_json::Value;

    use super::*;

    #[test]
    fn response_vectors_give_expected_results() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/callback");
        let expected =
            ExpectedResponse { state: "right".to_owned(), issuer: "https://login.test".to_owned() };
        let mut checked = 0;
        for entry in std::fs::read_dir(folder).expect("the folder of vectors") {
            let path = entry.expect("an entry").path();
            let vector: Value =
                serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("a vector");
            let query = vector["query"].as_str().expect("a query");
            let outcome = match expected.parse(query) {
                None => "not_awaited".to_owned(),
                Some(Response::OtherIssuer) => "other_issuer".to_owned(),
                Some(Response::ProviderError(AuthorizationError::AccessDenied)) => {
                    "refused access_denied".to_owned()
                }
                Some(Response::ProviderError(AuthorizationError::Unavailable)) => {
                    "refused unavailable".to_owned()
                }
                // The error text of the query is not repeated.
                Some(Response::ProviderError(AuthorizationError::Other(None))) => "refused".to_owned(),
                Some(Response::ProviderError(AuthorizationError::Other(Some(known)))) => {
                    format!("refused {known}")
                }
                Some(Response::Code { code, iss }) => {
                    assert_eq!(code.expose_secret(), "a/b", "{}", path.display());
                    assert_eq!(iss.is_some(), query.contains("iss="), "{}", path.display());
                    "code".to_owned()
                }
            };
            assert_eq!(vector["expect"], outcome, "{}", path.display());
            checked += 1;
        }
        assert!(checked >= 40, "only {checked} vectors were found");
    }
}
