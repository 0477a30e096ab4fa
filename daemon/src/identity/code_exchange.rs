//! Exchanges a code at the token endpoint (OpenID Connect Core §3.1.3.1).
//!
//! Written by hand because the available libraries reject members that the standard says to ignore, and keep response
//! bodies in their errors.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::discovery::Metadata;
use super::{ClientAuthentication, CodeGrant, IdentityError, ProviderSettings, json, refused, unavailable};
use crate::outbound::{Authorization, Outbound, OutboundError, OutboundResponse};
use crate::secrets::{Backends, ReadReason, Reference};

/// Fits the longest ID token, an access token with the same claims, and the other members.
const MAX_BYTES: usize = 1024 * 1024;

/// The tokens in the provider's response, before any verification.
#[expect(clippy::struct_field_names, reason = "these are their names in the standard")]
pub(super) struct UnverifiedTokens {
    pub(super) id_token: SecretString,
    pub(super) access_token: SecretString,
    pub(super) refresh_token: Option<SecretString>,
}

/// Reads the client secret and exchanges the code, once.
pub(super) async fn exchange(
    outbound: &Outbound,
    metadata: &Metadata,
    settings: &ProviderSettings,
    reading: (&Backends, ReadReason),
    grant: &CodeGrant<'_>,
) -> Result<UnverifiedTokens, IdentityError> {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", grant.code.expose_secret()),
        ("redirect_uri", grant.redirect_uri),
        ("code_verifier", grant.verifier.expose().expose_secret()),
    ];
    let answer = post(outbound, &metadata.token_endpoint, settings, reading, &fields).await?;
    read(&answer, &settings.client_secret)
}

/// Reads the client secret and posts a form to a provider endpoint, authenticated as the client.
pub(super) async fn post(
    outbound: &Outbound,
    endpoint: &Url,
    settings: &ProviderSettings,
    reading: (&Backends, ReadReason),
    fields: &[(&str, &str)],
) -> Result<OutboundResponse, IdentityError> {
    let secret = read_secret(settings, reading).await?;
    Ok(post_with(&secret, outbound, endpoint, settings, fields).await?)
}

pub(super) async fn read_secret(
    settings: &ProviderSettings,
    (backends, reason): (&Backends, ReadReason),
) -> Result<SecretString, IdentityError> {
    Ok(backends.read(&settings.client_secret, reason).await?)
}

/// Posts the form with a client secret that was just read. Errors say if the provider may have received the request.
pub(super) async fn post_with(
    secret: &SecretString,
    outbound: &Outbound,
    endpoint: &Url,
    settings: &ProviderSettings,
    fields: &[(&str, &str)],
) -> Result<OutboundResponse, OutboundError> {
    let by_post = settings.client_authentication == ClientAuthentication::ClientSecretPost;
    let body = form(settings, fields, by_post.then_some(secret));
    // RFC 6749 §2.3.1: form-encode both before using them as user and password.
    let user: String = byte_serialize(settings.client_id.as_bytes()).collect();
    let password = SecretString::from(byte_serialize(secret.expose_secret().as_bytes()).collect::<String>());
    let authorization =
        if by_post { Authorization::None } else { Authorization::Basic { user: &user, password: &password } };
    outbound.post_form(endpoint, authorization, &body, MAX_BYTES).await
}

fn form(settings: &ProviderSettings, fields: &[(&str, &str)], secret: Option<&SecretString>) -> SecretString {
    let mut form = Serializer::new(String::new());
    form.extend_pairs(fields);
    if let Some(secret) = secret {
        form.append_pair("client_id", &settings.client_id);
        form.append_pair("client_secret", secret.expose_secret());
    }
    form.finish().into()
}

pub(super) fn read(
    answer: &OutboundResponse,
    client_secret: &Reference,
) -> Result<UnverifiedTokens, IdentityError> {
    let document = success(answer, client_secret)?;
    Ok(UnverifiedTokens {
        id_token: token(&document, "id_token").ok_or_else(|| refused("token endpoint: no id_token"))?,
        access_token: token(&document, "access_token")
            .ok_or_else(|| refused("token endpoint: no access_token"))?,
        refresh_token: token(&document, "refresh_token"),
    })
}

/// Returns the document of a successful token response whose token type is supported.
pub(super) fn success(
    answer: &OutboundResponse,
    client_secret: &Reference,
) -> Result<Map<String, Value>, IdentityError> {
    let status = answer.status;
    if !json::is_json(answer.content_type.as_deref()) {
        return Err(IdentityError::Unavailable(format!("token endpoint: status {status}, not JSON")));
    }
    let document = json::object(&answer.body).ok_or_else(|| unavailable("token endpoint: malformed"))?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    match status {
        200 => {}
        // RFC 6749 §5.2.
        400..=499 if status != 408 && status != 429 => {
            return Err(match text("error") {
                Some("invalid_client") => {
                    IdentityError::ClientRefused { reference: client_secret.to_string() }
                }
                Some("invalid_grant") => refused("token endpoint: invalid_grant"),
                Some("invalid_request") => refused("token endpoint: invalid_request"),
                Some("unauthorized_client") => refused("token endpoint: unauthorized_client"),
                Some("unsupported_grant_type") => refused("token endpoint: unsupported_grant_type"),
                Some("invalid_scope") => refused("token endpoint: invalid_scope"),
                _ => IdentityError::Refused(format!("token endpoint: status {status}")),
            });
        }
        _ => return Err(IdentityError::Unavailable(format!("token endpoint: status {status}"))),
    }
    // RFC 6749 §5.1: the type is case-insensitive. Core §3.1.3.3: it is Bearer.
    if !text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("Bearer")) {
        return Err(refused("token endpoint: token_type is not Bearer"));
    }
    Ok(document)
}

/// Returns a token of the document, if present.
pub(super) fn token(document: &Map<String, Value>, name: &str) -> Option<SecretString> {
    let text = document.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    text.map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(answer: &OutboundResponse) -> Result<UnverifiedTokens, IdentityError> {
        read(answer, &Backends::built_in().parse("env:SECRET").expect("a reference"))
    }

    fn answer(status: u16, content_type: &str, body: &str) -> OutboundResponse {
        OutboundResponse {
            status,
            content_type: Some(content_type.to_owned()),
            headers: reqwest::header::HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        }
    }

    const GOOD: &str =
        r#"{"token_type":"bEaReR","id_token":"i","access_token":"a","expires_in":"soon","x":1}"#;

    #[test]
    fn token_response_ignores_unknown_members() {
        let tokens = reading(&answer(200, "application/json;charset=UTF-8", GOOD)).expect("tokens");
        assert_eq!(tokens.id_token.expose_secret(), "i");
        assert_eq!(tokens.access_token.expose_secret(), "a");
    }

    #[test]
    fn rejections_differ_from_outages() {
        type Expected = fn(&IdentityError) -> bool;
        let is_refused: Expected = |error| matches!(error, IdentityError::Refused(_));
        let is_client: Expected = |error| matches!(error, IdentityError::ClientRefused { .. });
        let is_unavailable: Expected = |error| matches!(error, IdentityError::Unavailable(_));
        for (status, kind, body, expected) in [
            (401, "application/json", r#"{"error":"invalid_client"}"#, is_client),
            (400, "application/json", r#"{"error":"invalid_client"}"#, is_client),
            (
                400,
                "application/json",
                r#"{"error":"invalid_grant","error_description":"canary"}"#,
                is_refused,
            ),
            (400, "application/json", r#"{"error":"canary"}"#, is_refused),
            (429, "application/json", "{}", is_unavailable),
            (500, "application/json", r#"{"error":"server_error"}"#, is_unavailable),
            (302, "application/json", "{}", is_unavailable),
            (200, "text/html", GOOD, is_unavailable),
            (200, "application/json", "<html>canary", is_unavailable),
            (200, "application/json", r#"{"id_token":"i","id_token":"j"}"#, is_unavailable),
            (
                200,
                "application/json",
                r#"{"token_type":"mac","id_token":"i","access_token":"a"}"#,
                is_refused,
            ),
            (200, "application/json", r#"{"id_token":"i","access_token":"a"}"#, is_refused),
            (200, "application/json", r#"{"token_type":"Bearer","access_token":"a"}"#, is_refused),
            (
                200,
                "application/json",
                r#"{"token_type":"Bearer","id_token":"","access_token":"a"}"#,
                is_refused,
            ),
        ] {
            let error = reading(&answer(status, kind, body)).err().expect(body);
            assert!(expected(&error), "{status} {body}: {error}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }
}
