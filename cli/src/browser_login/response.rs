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

    use super::*;

    fn judge(query: &str) -> Option<Response> {
        Expected { state: "right".to_owned(), issuer: "https://login.test".to_owned() }.judge(query)
    }

    #[test]
    fn the_awaited_code_is_taken_with_or_without_an_issuer() {
        for (query, issuer) in [
            ("code=a%2Fb&state=right", None),
            (
                "iss=https%3A%2F%2Flogin.test&state=right&code=a%2Fb&session_state=x",
                Some("https://login.test"),
            ),
        ] {
            let Some(Response::Code { code, iss }) = judge(query) else { panic!("not taken: {query}") };
            assert_eq!((code.expose_secret(), iss.as_deref()), ("a/b", issuer));
        }
    }

    #[test]
    fn what_is_not_of_this_login_is_nobodys() {
        for query in [
            "",
            "code=a",
            "code=a&state=",
            "code=a&state=wrong",
            "code=a&state=righ",
            "code=a&state=right2",
            "code=a&state=right&state=right",
            "code=a&code=b&state=right",
            "code=a&error=access_denied&state=right",
            "code=&state=right",
            "state=right",
            "error=access_denied",
            "error=access_denied&state=wrong",
            "error=a&error=b&state=right",
            "error=access_denied&state=right&iss=https://other.test",
            "code=a&state=right&iss=https://login.test&iss=https://login.test",
        ] {
            assert!(judge(query).is_none(), "{query}");
        }
        assert!(judge(&format!("code={}&state=right", "a".repeat(5000))).is_none());
    }

    #[test]
    fn a_code_from_another_issuer_is_a_mix_up() {
        for issuer in ["https://other.test", "https://login.test/", "HTTPS://login.test", ""] {
            let query = format!("code=a&state=right&iss={issuer}");
            assert!(matches!(judge(&query), Some(Response::OtherIssuer)), "{issuer}");
        }
    }

    #[test]
    fn errors_are_told_apart_and_never_repeated() {
        let refusal =
            |error: &str| match judge(&format!("error={error}&error_description=canary&state=right")) {
                Some(Response::Refused(refusal)) => refusal,
                other => panic!("{error}: {other:?}"),
            };
        assert_eq!(refusal("access_denied"), Refusal::AccessDenied);
        assert_eq!(refusal("server_error"), Refusal::Unavailable);
        assert_eq!(refusal("invalid_scope"), Refusal::Other(Some("invalid_scope")));
        assert_eq!(refusal("canary"), Refusal::Other(None));
    }
}
