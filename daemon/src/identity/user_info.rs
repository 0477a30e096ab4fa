//! Fetches claims from the userinfo endpoint (OpenID Connect Core §5.3).

use secrecy::SecretString;
use serde_json::{Map, Value};

use super::metadata::Metadata;
use super::unusable::{self, Unusable};
use super::{IdentityError, json, rejected, unavailable};
use crate::outbound::{Authorization, Outbound, OutboundResponse};

/// Fits 256 groups of 256 bytes, each byte pair written as `\u0000`, and the other claims.
const MAX_BYTES: usize = 256 * 1024;

/// Fetches the claims of the ID token's subject; `None` if the provider has no userinfo endpoint.
pub(super) async fn fetch(
    outbound: &Outbound,
    metadata: &Metadata,
    access_token: &SecretString,
    subject: &str,
) -> Result<Option<Map<String, Value>>, IdentityError> {
    let Some(endpoint) = &metadata.userinfo_endpoint else { return Ok(None) };
    let response = outbound.get(endpoint, Authorization::Bearer(access_token), MAX_BYTES).await?;
    read(&response, subject).map(Some)
}

pub(super) fn read(response: &OutboundResponse, subject: &str) -> Result<Map<String, Value>, IdentityError> {
    match response.status {
        200 => {}
        status @ (408 | 429 | 500..) => {
            return Err(IdentityError::Unavailable(format!("userinfo: status {status}")));
        }
        // The access token was issued moments ago, so a retry would get the same answer.
        status => {
            return Err(Unusable::new(format!("userinfo: status {status}"), unusable::ALLOW_USER_INFO).into());
        }
    }
    if !json::is_json(response.content_type.as_deref()) {
        let is_signed = response.content_type.as_deref().is_some_and(|kind| kind.contains("application/jwt"));
        return Err(if is_signed {
            let reason = "userinfo: a signed response (application/jwt) instead of JSON";
            Unusable::new(reason, unusable::PLAIN_USER_INFO)
        } else {
            Unusable::new("userinfo: not JSON", unusable::CORRECT_METADATA)
        }
        .into());
    }
    let claims = json::object(&response.body).ok_or_else(|| unavailable("userinfo: malformed"))?;
    // §5.3.2: the subject must equal the ID token's, otherwise all claims are ignored.
    if claims.get("sub").and_then(Value::as_str) != Some(subject) {
        return Err(rejected("userinfo: subject differs"));
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_json(body: &str) -> Result<Map<String, Value>, IdentityError> {
        let content_type = Some("application/json".to_owned());
        read(
            &OutboundResponse {
                status: 200,
                content_type,
                headers: reqwest::header::HeaderMap::new(),
                body: body.as_bytes().to_vec(),
            },
            "00u1",
        )
    }

    #[test]
    fn userinfo_of_same_subject_is_accepted() {
        assert_eq!(read_json(r#"{"sub":"00u1","name":"Alice"}"#).expect("claims")["name"], "Alice");
    }

    #[test]
    fn permanent_userinfo_error_differs_from_outage() {
        let read_status = |status, content_type: &str| {
            let response = OutboundResponse {
                status,
                content_type: Some(content_type.to_owned()),
                headers: reqwest::header::HeaderMap::new(),
                body: b"{}".to_vec(),
            };
            read(&response, "00u1")
        };
        for (status, kind) in
            [(403, "application/json"), (401, "text/html"), (302, "text/html"), (200, "application/jwt")]
        {
            assert!(matches!(read_status(status, kind), Err(IdentityError::Unusable(_))), "{status} {kind}");
        }
        for status in [408, 429, 500, 502, 503] {
            assert!(
                matches!(read_status(status, "text/html"), Err(IdentityError::Unavailable(_))),
                "{status}"
            );
        }
    }

    #[test]
    fn userinfo_of_another_subject_rejects_login() {
        for body in [r#"{"sub":"00u2"}"#, r#"{"sub":"00U1"}"#, r#"{"name":"Alice"}"#, r#"{"sub":["00u1"]}"#] {
            assert!(matches!(read_json(body), Err(IdentityError::Rejected(_))), "{body}");
        }
        for body in [r#"{"sub":"00u1","sub":"00u1"}"#, "[]", ""] {
            assert!(matches!(read_json(body), Err(IdentityError::Unavailable(_))), "{body}");
        }
    }
}
