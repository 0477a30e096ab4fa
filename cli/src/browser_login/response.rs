//! The authorization response, judged by its query alone (RFC 6749 §4.1.2, RFC 9207).

use secrecy::SecretString;
use subtle::ConstantTimeEq;
use url::form_urlencoded;

/// No identity provider's code is longer.
const MAX_CODE: usize = 4096;

/// What makes a response the awaited one.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) state: String,
    pub(super) issuer: String,
}

/// The awaited response: it has the `state` of this login.
#[derive(Debug)]
pub(super) enum Response {
    Code {
        code: SecretString,
        /// Given to the daemon, which knows whether the provider has to name itself.
        iss: Option<String>,
    },
    Refused(Refusal),
    /// A code for this login from somebody else: a mix-up (RFC 9207 §2.4).
    OtherIssuer,
}

/// Why the identity provider gave no code (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `access_denied`: by the person, or by a rule of the provider.
    AccessDenied,
    /// `temporarily_unavailable` or `server_error`.
    Unavailable,
    /// Another error, by its name where a standard has one.
    Other(Option<&'static str>),
}

/// Errors that are named in a message. Nothing else from a query is ever shown.
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

impl Expected {
    /// The awaited response, or `None` for anybody else's.
    pub(super) fn judge(&self, query: &str) -> Option<Response> {
        let mut parameters = Parameters::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let place = match name.as_ref() {
                "state" => &mut parameters.state,
                "iss" => &mut parameters.iss,
                "error" => &mut parameters.error,
                "code" => &mut parameters.code,
                // RFC 6749 §4.1.2: unrecognized parameters are ignored.
                _ => continue,
            };
            // RFC 6749 §3.1: no parameter more than once.
            if place.replace(value.into_owned()).is_some() {
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
            // Another issuer's error says nothing of this login.
            (None, Some(error)) if !is_other_issuer => Some(Response::Refused(Refusal::of(&error))),
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

impl Refusal {
    fn of(error: &str) -> Self {
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
    fn every_vector_is_judged_as_it_says() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/callback");
        let expected = Expected { state: "right".to_owned(), issuer: "https://login.test".to_owned() };
        let mut judged = 0;
        for entry in std::fs::read_dir(folder).expect("the folder of vectors") {
            let path = entry.expect("an entry").path();
            let vector: Value =
                serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("a vector");
            let query = vector["query"].as_str().expect("a query");
            let outcome = match expected.judge(query) {
                None => "not_awaited".to_owned(),
                Some(Response::OtherIssuer) => "other_issuer".to_owned(),
                Some(Response::Refused(Refusal::AccessDenied)) => "refused access_denied".to_owned(),
                Some(Response::Refused(Refusal::Unavailable)) => "refused unavailable".to_owned(),
                // What the query says itself is never repeated.
                Some(Response::Refused(Refusal::Other(None))) => "refused".to_owned(),
                Some(Response::Refused(Refusal::Other(Some(known)))) => format!("refused {known}"),
                Some(Response::Code { code, iss }) => {
                    assert_eq!(code.expose_secret(), "a/b", "{}", path.display());
                    assert_eq!(iss.is_some(), query.contains("iss="), "{}", path.display());
                    "code".to_owned()
                }
            };
            assert_eq!(vector["expect"], outcome, "{}", path.display());
            judged += 1;
        }
        assert!(judged >= 40, "only {judged} vectors were found");
    }
}
