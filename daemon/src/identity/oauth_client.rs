//! The OAuth 2.0 client of a provider: the `oauth2` crate over the daemon's bounded HTTP client.
//!
//! The crate builds the requests. [`sanitize`] decides which responses it may read, because the crate accepts repeated
//! members and text after the document, and does not distinguish an outage from a rejection. Only members that the daemon
//! uses reach the crate, so its errors contain no text of the provider.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use oauth2::basic::{
    BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse,
    BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeVerifier, RedirectUrl,
    RequestTokenError, RevocationUrl, StandardRevocableToken, StandardTokenResponse, TokenResponse, TokenUrl,
};
use reqwest::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use super::metadata::Metadata;
use super::{
    ClientAuthentication, CodeExchange, IdentityError, Provider, ProviderSettings, json, rejected,
    unavailable,
};
use crate::outbound::{Outbound, OutboundError, OutboundResponse, Request};
use crate::secrets::ReadReason;

/// Fits the longest ID token, an access token with the same claims, and the other members.
const MAX_BYTES: usize = 1024 * 1024;

/// The error codes of RFC 6749 §5.2, and those of [`INTERACTION_REQUIRED_ERRORS`].
const ERROR_CODES: &str = "invalid_request invalid_client invalid_grant unauthorized_client unsupported_grant_type \
     invalid_scope access_denied login_required interaction_required consent_required";

/// Error codes that mean the user must sign in again (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6).
pub(super) const INTERACTION_REQUIRED_ERRORS: [&str; 4] =
    ["access_denied", "login_required", "interaction_required", "consent_required"];

/// A client with authorization and token endpoints, and maybe a revocation endpoint.
pub(super) type Client = oauth2::Client<
    BasicErrorResponse,
    Tokens,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointSet,
>;

pub(super) type Tokens = StandardTokenResponse<IDTokenField, BasicTokenType>;
pub(super) type TokenError = RequestTokenError<IdentityError, BasicErrorResponse>;

/// OpenID Connect Core §3.1.3.3.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct IDTokenField {
    #[serde(skip_serializing)]
    id_token: Option<SecretString>,
}

impl ExtraTokenFields for IDTokenField {}

/// The tokens in a provider's response, before any verification.
pub struct UnverifiedTokens {
    pub(super) id_token: Option<SecretString>,
    pub(super) access_token: SecretString,
    /// In response to a refresh: the replacement, if the provider rotated the token.
    pub refresh_token: Option<SecretString>,
}

/// The bounded HTTP client of token requests. Owns its parts, so that the futures of the crate are `Send`.
#[derive(Clone)]
pub(super) struct TokenEndpoint {
    outbound: Outbound,
    url: Url,
    /// Whether the provider may have executed the request, which invalidates a refresh token.
    may_be_used: Arc<AtomicBool>,
}

impl Provider {
    /// Reads the client secret, and creates a client that authenticates with it.
    pub(super) async fn client(
        &self,
        metadata: &Metadata,
        reason: ReadReason,
    ) -> Result<Client, IdentityError> {
        let secret = self.backends.read(&self.settings.client_secret, reason).await?;
        let secret = ClientSecret::new(secret.expose_secret().to_owned());
        Ok(client(metadata, &self.settings).set_client_secret(secret))
    }

    pub(super) fn token_endpoint(&self, metadata: &Metadata, may_be_used: &Arc<AtomicBool>) -> TokenEndpoint {
        let (outbound, url) = (self.outbound.clone(), metadata.token_endpoint.clone());
        TokenEndpoint { outbound, url, may_be_used: may_be_used.clone() }
    }

    /// Exchanges a code, once. Returns the ID token, and the other tokens. Sets `issued` to the refresh token, even if
    /// the rest of the response is rejected.
    pub(super) async fn exchange_code(
        &self,
        metadata: &Metadata,
        reason: ReadReason,
        code_exchange: &CodeExchange<'_>,
        issued: &mut Option<SecretString>,
    ) -> Result<(SecretString, UnverifiedTokens), IdentityError> {
        let client = self.client(metadata, reason).await?;
        let endpoint = self.token_endpoint(metadata, &Arc::default());
        let http = move |request| endpoint.clone().request(request);
        let response = client
            .exchange_code(AuthorizationCode::new(code_exchange.code.expose_secret().to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(
                code_exchange.verifier.expose().expose_secret().to_owned(),
            ))
            .set_redirect_uri(redirect_url(code_exchange.redirect_uri)?)
            .request_async(&http);
        let response = response.await.map_err(|error| identity_error(error, &self.settings))?;
        *issued = refresh_token(&response);
        let mut tokens = read(&response)?;
        let id_token = tokens.id_token.take().ok_or_else(|| rejected("token endpoint: no id_token"))?;
        Ok((id_token, tokens))
    }
}

/// Creates a client without its secret.
pub(super) fn client(metadata: &Metadata, settings: &ProviderSettings) -> Client {
    oauth2::Client::new(ClientId::new(settings.client_id.clone()))
        .set_auth_type(match settings.client_authentication {
            ClientAuthentication::ClientSecretBasic => AuthType::BasicAuth,
            ClientAuthentication::ClientSecretPost => AuthType::RequestBody,
        })
        .set_auth_uri(AuthUrl::from_url(metadata.authorization_endpoint.clone()))
        .set_token_uri(TokenUrl::from_url(metadata.token_endpoint.clone()))
        .set_revocation_url_option(metadata.revocation_endpoint.clone().map(RevocationUrl::from_url))
}

pub(super) fn redirect_url(text: &str) -> Result<Cow<'static, RedirectUrl>, IdentityError> {
    RedirectUrl::new(text.to_owned())
        .map(Cow::Owned)
        .map_err(|_| unavailable("the redirect URI is not a URL"))
}

impl TokenEndpoint {
    pub(super) async fn request(self, request: HttpRequest) -> Result<HttpResponse, IdentityError> {
        self.may_be_used.store(true, Ordering::Relaxed);
        let response = send(&self.outbound, &self.url, request).await;
        self.may_be_used.store(may_have_executed(&response), Ordering::Relaxed);
        sanitize(&response?)
    }
}

/// Whether the provider may have executed the request.
pub(super) fn may_have_executed(response: &Result<OutboundResponse, OutboundError>) -> bool {
    match response {
        // A gateway that timed out cannot know.
        Ok(response) => matches!(response.status, 200 | 500 | 502 | 504),
        Err(error) => error.may_have_arrived(),
    }
}

/// Sends a request that the crate built. The response is at most [`MAX_BYTES`] long, and redirects are not followed.
pub(super) async fn send(
    outbound: &Outbound,
    endpoint: &Url,
    request: HttpRequest,
) -> Result<OutboundResponse, OutboundError> {
    let (parts, body) = request.into_parts();
    let request = Request::new(parts.method, endpoint.clone()).headers(parts.headers).bytes(body);
    outbound.send(&request, MAX_BYTES).await
}

/// Checks a response of the token endpoint, and keeps the members that the daemon uses. Those that are not text count
/// as missing (RFC 6749 §5.1: others are ignored).
pub(super) fn sanitize(response: &OutboundResponse) -> Result<HttpResponse, IdentityError> {
    let status = response.status;
    if !json::is_json(response.content_type.as_deref()) {
        return Err(IdentityError::Unavailable(format!("token endpoint: status {status}, not JSON")));
    }
    let document = json::object(&response.body).ok_or_else(|| unavailable("token endpoint: malformed"))?;
    let text = |name: &str| document.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (status, kept) = match status {
        200 => {
            let tokens = json!({
                "access_token": text("access_token").unwrap_or_default(),
                "token_type": text("token_type").unwrap_or_default(),
                "refresh_token": text("refresh_token"),
                "id_token": text("id_token"),
            });
            (StatusCode::OK, tokens)
        }
        400..=499 if status != 408 && status != 429 => {
            let code = text("error").filter(|code| ERROR_CODES.split(' ').any(|known| known == *code));
            let code = code.map_or_else(|| format!("status {status}"), ToOwned::to_owned);
            (StatusCode::BAD_REQUEST, json!({ "error": code }))
        }
        _ => return Err(IdentityError::Unavailable(format!("token endpoint: status {status}"))),
    };
    let mut response = HttpResponse::new(kept.to_string().into_bytes());
    *response.status_mut() = status;
    Ok(response)
}

/// Returns the tokens of a response, if their type is supported.
pub(super) fn read(tokens: &Tokens) -> Result<UnverifiedTokens, IdentityError> {
    // RFC 6749 §5.1: the type is case-insensitive. Core §3.1.3.3: it is Bearer.
    if *tokens.token_type() != BasicTokenType::Bearer {
        return Err(rejected("token endpoint: token_type is not Bearer"));
    }
    if tokens.access_token().secret().is_empty() {
        return Err(rejected("token endpoint: no access_token"));
    }
    Ok(UnverifiedTokens {
        id_token: tokens.extra_fields().id_token.clone(),
        access_token: tokens.access_token().secret().as_str().into(),
        refresh_token: refresh_token(tokens),
    })
}

fn refresh_token(tokens: &Tokens) -> Option<SecretString> {
    tokens.refresh_token().map(|token| token.secret().as_str().into())
}

pub(super) fn identity_error(error: TokenError, settings: &ProviderSettings) -> IdentityError {
    match error {
        RequestTokenError::Request(error) => error,
        RequestTokenError::ServerResponse(response) => match response.error() {
            BasicErrorResponseType::InvalidClient => {
                IdentityError::InvalidClient { reference: settings.client_secret.to_string() }
            }
            code => IdentityError::Rejected(format!("token endpoint: {code}")),
        },
        // These contain parts of the response.
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
            unavailable("token endpoint: malformed")
        }
    }
}

/// Reads a response as [`Provider::exchange_code`] and [`Provider::refresh`] do.
#[cfg(any(test, fuzzing))]
pub(super) fn parse(response: &OutboundResponse) -> Result<UnverifiedTokens, TokenError> {
    let url = TokenUrl::new("https://okta.test/token".to_owned()).expect("a URL");
    let client: oauth2::Client<
        BasicErrorResponse,
        Tokens,
        BasicTokenIntrospectionResponse,
        StandardRevocableToken,
        BasicRevocationErrorResponse,
    > = oauth2::Client::new(ClientId::new("0oa1".to_owned()));
    let code = AuthorizationCode::new("code".to_owned());
    Ok(read(&client.set_token_uri(url).exchange_code(code).request(&|_: HttpRequest| sanitize(response))?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_response(response: &OutboundResponse) -> Result<UnverifiedTokens, IdentityError> {
        parse(response).map_err(|error| identity_error(error, &ProviderSettings::unreachable()))
    }

    fn response(status: u16, content_type: &str, body: &str) -> OutboundResponse {
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
        let tokens = read_response(&response(200, "application/json;charset=UTF-8", GOOD)).expect("tokens");
        assert_eq!(tokens.id_token.expect("an ID token").expose_secret(), "i");
        assert_eq!(tokens.access_token.expose_secret(), "a");
    }

    #[test]
    fn token_that_is_empty_or_not_text_counts_as_missing() {
        for token in ["null", "\"\"", "7", "{\"a\":1}"] {
            let body = format!(
                r#"{{"token_type":"Bearer","access_token":"a","id_token":{token},"refresh_token":{token}}}"#
            );
            let tokens = read_response(&response(200, "application/json", &body)).expect("tokens");
            assert!(tokens.id_token.is_none() && tokens.refresh_token.is_none(), "{body}");
        }
    }

    #[test]
    fn client_credentials_are_form_encoded_in_basic_and_post() {
        use base64::Engine;
        use base64::prelude::BASE64_STANDARD;

        let metadata = json!({
            "issuer": "https://okta.test",
            "authorization_endpoint": "https://okta.test/authorize",
            "token_endpoint": "https://okta.test/token",
            "jwks_uri": "https://okta.test/keys",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        });
        let mut settings = ProviderSettings::unreachable();
        "a:b é".clone_into(&mut settings.client_id);
        for (method, credentials, body) in [
            (ClientAuthentication::ClientSecretBasic, Some("a%3Ab+%C3%A9:s%2B%2F%3A%25"), ""),
            (
                ClientAuthentication::ClientSecretPost,
                None,
                "&client_id=a%3Ab+%C3%A9&client_secret=s%2B%2F%3A%25",
            ),
        ] {
            settings.client_authentication = method;
            let metadata = metadata.as_object().expect("an object");
            let metadata = super::super::metadata::read(metadata, &settings).expect("metadata");
            let client =
                client(&metadata, &settings).set_client_secret(ClientSecret::new("s+/:%".to_owned()));
            let sent = client.exchange_refresh_token(&oauth2::RefreshToken::new("r".to_owned())).request(
                &|request: HttpRequest| {
                    let authorization = credentials
                        .map(|credentials| format!("Basic {}", BASE64_STANDARD.encode(credentials)));
                    let header =
                        request.headers().get("authorization").map(|value| value.to_str().expect("text"));
                    assert_eq!(header, authorization.as_deref());
                    let expected = format!("grant_type=refresh_token&refresh_token=r{body}");
                    assert_eq!(String::from_utf8_lossy(request.body()), expected);
                    Err(rejected("not sent"))
                },
            );
            assert!(matches!(sent, Err(RequestTokenError::Request(_))));
        }
    }

    #[test]
    fn rejections_differ_from_outages() {
        type Expected = fn(&IdentityError) -> bool;
        let is_rejected: Expected = |error| matches!(error, IdentityError::Rejected(_));
        let is_client: Expected = |error| matches!(error, IdentityError::InvalidClient { .. });
        let is_unavailable: Expected = |error| matches!(error, IdentityError::Unavailable(_));
        for (status, kind, body, expected) in [
            (401, "application/json", r#"{"error":"invalid_client"}"#, is_client),
            (400, "application/json", r#"{"error":"invalid_client"}"#, is_client),
            (
                400,
                "application/json",
                r#"{"error":"invalid_grant","error_description":"canary"}"#,
                is_rejected,
            ),
            (400, "application/json", r#"{"error":"canary"}"#, is_rejected),
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
                is_rejected,
            ),
            (200, "application/json", r#"{"id_token":"i","access_token":"a"}"#, is_rejected),
            (200, "application/json", r#"{"token_type":"Bearer","id_token":"i"}"#, is_rejected),
            (200, "application/json", r#"{"token_type":["Bearer"],"access_token":"a"}"#, is_rejected),
        ] {
            let error = read_response(&response(status, kind, body)).err().expect(body);
            assert!(expected(&error), "{status} {body}: {error}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }
}
