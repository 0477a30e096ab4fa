//! Errors of a sign-in through a provider.

use std::time::Duration;

use infra_shared::printable::printable;
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Map, Value};

use super::TooManyGroups;
use super::id_token::{self, IDTokenError};
use super::unusable::{self, Unusable};
use crate::outbound::OutboundError;
use crate::secrets::ReadError;

/// Limits of messages: number of audiences, and characters of each.
const MAX_SHOWN: usize = 8;
const MAX_SHOWN_CHARACTERS: usize = 100;

/// Why there is no identity. `Display` is for the log: precise, and free of text or secrets from the provider.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IdentityError {
    /// The provider is unreachable or does not answer as one. A retry may succeed.
    #[error("provider unavailable: {0}")]
    Unavailable(String),
    /// The provider answers, but not as required. An operator must change the configuration here or at the provider.
    #[error("provider unusable: {0}")]
    Unusable(#[from] Unusable),
    /// One client has the maximum number of waiting exchanges.
    #[error("too many exchanges are queued")]
    QueueFull,
    /// The provider rejected so many codes recently that the client must wait for this long.
    #[error("the provider rejected too many codes from this client recently")]
    RejectedCodeLimit(Duration),
    /// The provider rejects the daemon's client secret (RFC 6749 §5.2 `invalid_client`).
    #[error(
        "invalid_client: the provider rejected the client secret that was just read from {reference}: it was \
         replaced there or at the provider, or `clientID` or `clientAuthentication` is wrong"
    )]
    InvalidClient { reference: String },
    #[error("client secret: {0}")]
    ClientSecret(#[from] ReadError),
    /// `iss` of the authorization response is missing or another provider's (RFC 9207 §2.4). Nothing was sent to the
    /// provider. The text is one of our own reason codes.
    #[error("rejected: {0}")]
    ResponseIssuer(&'static str),
    /// The provider rejected the code, or its response proves no identity. The text is one of our own reason codes.
    #[error("rejected: {0}")]
    Rejected(String),
    /// The times in an ID token do not fit the local clock. The text shows both.
    #[error("rejected: {0}")]
    ClockSkew(String),
    /// A value exceeds a limit. The text shows its size.
    #[error("rejected: {0}")]
    LimitExceeded(String),
}

impl From<OutboundError> for IdentityError {
    fn from(error: OutboundError) -> Self {
        match error {
            OutboundError::TooLarge { .. } => Unusable::new(error.to_string(), unusable::TOO_LARGE).into(),
            OutboundError::Untrusted { ref cause, .. } => {
                Unusable::new(error.to_string(), unusable::hint_for_trust(cause)).into()
            }
            OutboundError::Unreachable { .. } | OutboundError::TimedOut { .. } => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}

impl From<TooManyGroups> for IdentityError {
    fn from(error: TooManyGroups) -> Self {
        Self::LimitExceeded(error.to_string())
    }
}

/// Converts the violated rule into an error, with the values that differ if an operator needs them.
pub(super) fn from_id_token(error: IDTokenError, token: &SecretString, now: Timestamp) -> IdentityError {
    let reason = format!("ID token: {error}");
    if matches!(error, IDTokenError::TooLarge { .. }) {
        return IdentityError::LimitExceeded(reason);
    }
    let claims = id_token::unverified_claims(token).unwrap_or_default();
    if error.depends_on_clock()
        && let Some(times) = times(&claims, now)
    {
        return IdentityError::ClockSkew(format!("{reason}: {times}"));
    }
    match (error, claims.get("aud")) {
        (IDTokenError::AudienceMismatch, Some(audience)) => {
            IdentityError::Rejected(format!("{reason}: the token is for {}", audiences(audience)))
        }
        _ => IdentityError::Rejected(reason),
    }
}

/// Describes the token's `iat` and `exp` and the local time. `None` if a claim is missing or if no clock error can be
/// the cause.
fn times(claims: &Map<String, Value>, now: Timestamp) -> Option<String> {
    let time = |name| Timestamp::from_second(id_token::seconds(claims, name)?).ok();
    let (issued_at, expires_at) = (time("iat")?, time("exp")?);
    // A provider that sets `nbf` has a clock that shows at least that time.
    let theirs = time("nbf").map_or(issued_at, |not_before| not_before.max(issued_at));
    let seconds = now.as_second() - theirs.as_second();
    if seconds.abs() <= id_token::LEEWAY {
        return None;
    }
    let (seconds, side) = if seconds < 0 { (-seconds, "behind") } else { (seconds, "ahead of") };
    Some(format!(
        "issued at {issued_at}, valid until {expires_at}, but this host's clock shows {now:.0}, {seconds} s {side} \
         the provider's"
    ))
}

fn audiences(audience: &Value) -> String {
    let listed = audience.as_array().map_or(std::slice::from_ref(audience), Vec::as_slice);
    let shown: Vec<String> = listed
        .iter()
        .take(MAX_SHOWN)
        .map(|audience| {
            audience
                .as_str()
                .map_or_else(|| "no text".to_owned(), |text| printable(text, MAX_SHOWN_CHARACTERS))
        })
        .collect();
    let more = listed.len().saturating_sub(MAX_SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("[{}]{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    fn of(error: IDTokenError, claims: &Value) -> IdentityError {
        let token = format!("e30.{}.AA", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()));
        from_id_token(error, &token.into(), Timestamp::from_second(1_000_000).expect("a time"))
    }

    #[test]
    fn clock_difference_shows_both_times() {
        for (issued_at, told) in [(827_200, "172800 s ahead of"), (1_000_600, "600 s behind")] {
            let error =
                of(IDTokenError::Expired, &json!({"iat": issued_at, "exp": issued_at + 300, "aud": "a"}));
            let text = error.to_string();
            assert!(matches!(error, IdentityError::ClockSkew(_)), "{text}");
            assert!(text.starts_with("rejected: ID token: expired: issued at 1970-01-1"), "{text}");
            assert!(text.contains(told) && text.contains("1970-01-12T13:46:40Z"), "{text}");
        }
        let later = json!({"iat": 1_000_000, "nbf": 1_000_600, "exp": 1_000_900});
        let error = of(IDTokenError::NotYetValid, &later).to_string();
        assert!(error.contains("600 s behind the provider's"), "{error}");
        // The last one expired before it was issued, so no clock error explains it.
        for claims in [
            json!({}),
            json!({"iat": 1, "exp": "soon"}),
            json!({"iat": i64::MAX, "exp": 1}),
            json!({"iat": 1_000_000, "exp": 1_000}),
        ] {
            assert!(matches!(of(IDTokenError::Expired, &claims), IdentityError::Rejected(_)), "{claims}");
        }
    }

    #[test]
    fn audience_mismatch_is_shown_bounded_and_printable() {
        for (audience, told) in [
            (json!("other"), "[other]".to_owned()),
            (json!(["a", "b\u{1b}[2J", 7]), "[a, b[2J, no text]".to_owned()),
            (json!(vec!["x"; 20]), format!("[{}] and 12 more", ["x"; 8].join(", "))),
        ] {
            let error = of(IDTokenError::AudienceMismatch, &json!({"aud": audience}));
            let expected = format!("rejected: ID token: audience_mismatch: the token is for {told}");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn oversized_token_reports_its_size() {
        let error = of(IDTokenError::TooLarge { bytes: 400_000 }, &json!({}));
        assert!(matches!(&error, IdentityError::LimitExceeded(_)), "{error}");
        assert_eq!(error.to_string(), "rejected: ID token: too_large: 400000 bytes, at most 393216");
    }
}
