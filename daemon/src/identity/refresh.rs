//! Revalidates a signed-in user at the provider (RFC 6749 §6, OpenID Connect Core §12), and revokes refresh tokens
//! (RFC 7009).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use oauth2::basic::BasicErrorResponseType;
use oauth2::{HttpRequest, HttpResponse, RefreshToken, RequestTokenError};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::claims::{self, ClaimSets, ClaimsUpdate, Sources};
use super::id_token::{self, Expectations, Flow, IDToken, IDTokenError};
use super::metadata::Metadata;
use super::oauth_client::{self, INTERACTION_REQUIRED_ERRORS, TokenError, UnverifiedTokens};
use super::signing_keys::SigningKey;
use super::{IdentityError, Provider, ProviderSettings, error, rejected, unavailable, user_info, within};
use crate::outbound::Outbound;
use crate::secrets::ReadReason;

/// Timeout of each call in the background: from the metadata and the client secret to the verified response.
pub const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(10);

/// What the daemon needs for revalidation. Has no `Serialize`: it is stored encrypted or not at all.
#[derive(Debug, Clone)]
pub struct RefreshCredential {
    pub refresh_token: SecretString,
    /// Nonce and sign-in time of the login, which a later ID token must match.
    pub nonce: SecretString,
    pub auth_time: Option<i64>,
    pub subject: String,
    /// Where the claims that rules use were found last.
    pub sources: Sources,
}

/// Why the provider did not confirm the session. `Display` is for the log.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The provider denies the user, or answered about another user. The session is revoked.
    #[error("{0}")]
    Denied(String),
    /// The refresh token is invalid (RFC 6749 §5.2): the user lost access, or the token was used before.
    #[error("token endpoint: invalid_grant")]
    InvalidGrant,
    /// The result is unknown. The session stays valid and the request is retried.
    #[error("{0}")]
    Unknown(String),
    /// The result is unknown and the refresh token may be spent: the request was sent, but the response was lost.
    #[error("{0}")]
    ResponseLost(String),
}

/// What a response says about the user.
#[derive(Debug)]
pub enum RefreshedClaims {
    /// Verified claims. Empty if the response contains none, which is allowed (OpenID Connect Core §12.2).
    Verified(ClaimsUpdate),
    /// Verified claims from the ID token only, because the userinfo request failed.
    Partial(ClaimsUpdate),
    /// The claims cannot be verified, for this reason. The session is confirmed; the claims are ignored.
    Unverified(String),
}

impl Provider {
    /// Sends the refresh token once. The caller must store the response before anything else, because the old token
    /// may be spent.
    pub async fn refresh(&self, credential: &RefreshCredential) -> Result<UnverifiedTokens, RefreshError> {
        let may_be_used = Arc::new(AtomicBool::default());
        let request = async {
            let metadata = self.metadata().await?;
            let client = self.client(&metadata, ReadReason::Refresh).await?;
            let endpoint = self.token_endpoint(&metadata, &may_be_used);
            let http = move |request| endpoint.clone().request(request);
            let token = RefreshToken::new(credential.refresh_token.expose_secret().to_owned());
            let tokens = client.exchange_refresh_token(&token).request_async(&http).await?;
            Ok::<_, TokenError>(oauth_client::read(&tokens)?)
        };
        within(BACKGROUND_TIMEOUT, "the refresh timed out", request)
            .await
            .map_err(|error| refresh_error(error, may_be_used.load(Ordering::Relaxed), &self.settings))
    }

    /// Evaluates the claims of the response. A response proven to be about another user denies the session. An
    /// unverifiable response does not: clock differences, unavailable keys and unknown formats must not revoke a
    /// session.
    pub async fn verify_claims(
        &self,
        credential: &RefreshCredential,
        response: &UnverifiedTokens,
    ) -> Result<RefreshedClaims, RefreshError> {
        match tokio::time::timeout(BACKGROUND_TIMEOUT, self.check_claims(credential, response)).await {
            Ok(Ok(claims)) => Ok(claims),
            Ok(Err(ClaimsError::OtherSubject(reason))) => Err(RefreshError::Denied(reason)),
            Ok(Err(ClaimsError::Unverified(reason))) => Ok(RefreshedClaims::Unverified(reason)),
            Err(_) => Ok(RefreshedClaims::Unverified("verifying the claims timed out".to_owned())),
        }
    }

    async fn check_claims(
        &self,
        credential: &RefreshCredential,
        response: &UnverifiedTokens,
    ) -> Result<RefreshedClaims, ClaimsError> {
        let metadata = self.metadata().await.map_err(|error| unverified(&error))?;
        let claims = match &response.id_token {
            Some(id_token) => {
                Some(self.verify_refreshed_id_token(credential, response, id_token, &metadata).await?)
            }
            None => None,
        };
        let mut is_partial = false;
        let user_info = if claims::need_user_info(claims.as_ref(), credential.sources, &self.settings) {
            let fetching =
                user_info::fetch(&self.outbound, &metadata, &response.access_token, &credential.subject);
            // Give userinfo half of the timeout, so that the verified ID token is not lost if userinfo hangs.
            match within(BACKGROUND_TIMEOUT / 2, "userinfo: the request timed out", fetching).await {
                Ok(user_info) => user_info,
                // Core §5.3.2: the verified userinfo endpoint returned claims about another subject.
                Err(IdentityError::Rejected(reason)) => return Err(ClaimsError::OtherSubject(reason)),
                // The ID token is verified without userinfo.
                Err(error) if claims.is_some() => {
                    tracing::warn!(provider = self.settings.name, %error, "only the ID token is taken over");
                    is_partial = true;
                    None
                }
                Err(error) => return Err(unverified(&error)),
            }
        } else {
            None
        };
        let claim_sets = ClaimSets { id_token: claims.as_ref(), user_info: user_info.as_ref() };
        let update = claims::collect_update(claim_sets, credential.sources, &self.settings);
        Ok(if is_partial { RefreshedClaims::Partial(update) } else { RefreshedClaims::Verified(update) })
    }

    async fn verify_refreshed_id_token(
        &self,
        credential: &RefreshCredential,
        response: &UnverifiedTokens,
        id_token: &SecretString,
        metadata: &Metadata,
    ) -> Result<Map<String, Value>, ClaimsError> {
        let flow = Flow::Refresh { subject: &credential.subject, auth_time: credential.auth_time };
        let expected = self.expectations(flow, &credential.nonce, &response.access_token);
        let verified = self
            .signing_keys
            .verify(self.key_source(metadata), expected.now, |keys| verify(id_token, &expected, keys))
            .await
            .map_err(|error| unverified(&error))?;
        verified.map(|verified| verified.claims).map_err(|error| {
            let belongs_to_other = error.belongs_to_other();
            let reason = format!("refreshed token {}", error::from_id_token(error, id_token, expected.now));
            if belongs_to_other { ClaimsError::OtherSubject(reason) } else { ClaimsError::Unverified(reason) }
        })
    }

    /// Revokes the refresh token and everything issued for it (RFC 7009 §2.1). Returns `false` if the provider has no
    /// revocation endpoint.
    pub async fn revoke(&self, refresh_token: &SecretString) -> Result<bool, IdentityError> {
        let request = async {
            let metadata = self.metadata().await?;
            let Some(endpoint) = &metadata.revocation_endpoint else { return Ok(false) };
            let client = self.client(&metadata, ReadReason::Revoke).await?;
            let token = RefreshToken::new(refresh_token.expose_secret().to_owned());
            let (outbound, url) = (self.outbound.clone(), endpoint.clone());
            let http = move |request| request_revocation(outbound.clone(), url.clone(), request);
            let request = client
                .revoke_token(token.into())
                .map_err(|_| rejected("revocation endpoint: it does not use HTTPS"))?;
            match request.request_async(&http).await {
                Ok(()) => Ok(true),
                Err(RequestTokenError::Request(error)) => Err(error),
                Err(_) => Err(unavailable("revocation endpoint: malformed")),
            }
        };
        within(BACKGROUND_TIMEOUT, "the revocation timed out", request).await
    }
}

/// Sends a request to the revocation endpoint (RFC 7009 §2.2).
async fn request_revocation(
    outbound: Outbound,
    endpoint: Url,
    request: HttpRequest,
) -> Result<HttpResponse, IdentityError> {
    match oauth_client::send(&outbound, &endpoint, request).await?.status {
        200..=299 => Ok(HttpResponse::default()),
        status @ (401 | 403 | 408 | 429 | 500..) => {
            Err(IdentityError::Unavailable(format!("revocation endpoint: status {status}")))
        }
        // An unknown token is answered with 200, so a retry would not help.
        status => Err(IdentityError::Rejected(format!("revocation endpoint: status {status}"))),
    }
}

enum ClaimsError {
    OtherSubject(String),
    Unverified(String),
}

fn unverified(error: &IdentityError) -> ClaimsError {
    ClaimsError::Unverified(error.to_string())
}

/// Verifies as at a login, but reports a mismatch only if the signature proves it.
fn verify(
    token: &SecretString,
    expected: &Expectations<'_>,
    keys: &[SigningKey],
) -> Result<IDToken, IDTokenError> {
    let verified = id_token::verify(token, expected, keys);
    if verified.as_ref().is_err_and(|error| error.belongs_to_other()) {
        id_token::check_is_signed(token, expected, keys)?;
    }
    verified
}

/// Classifies a failed refresh. `may_be_used`: whether the provider may have executed the request.
fn refresh_error(error: TokenError, may_be_used: bool, settings: &ProviderSettings) -> RefreshError {
    if let RequestTokenError::ServerResponse(response) = &error {
        match response.error() {
            BasicErrorResponseType::InvalidGrant => return RefreshError::InvalidGrant,
            BasicErrorResponseType::Extension(code)
                if INTERACTION_REQUIRED_ERRORS.contains(&code.as_str()) =>
            {
                return RefreshError::Denied(format!("token endpoint: {code}"));
            }
            _ => {}
        }
    }
    let reason = oauth_client::identity_error(error, settings).to_string();
    if may_be_used { RefreshError::ResponseLost(reason) } else { RefreshError::Unknown(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::OutboundResponse;

    fn read_json(status: u16, body: &str) -> Result<UnverifiedTokens, RefreshError> {
        let response = || OutboundResponse {
            status,
            content_type: Some("application/json".to_owned()),
            headers: reqwest::header::HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        };
        let may_be_used = oauth_client::may_have_executed(&Ok(response()));
        oauth_client::parse(&response())
            .map_err(|error| refresh_error(error, may_be_used, &ProviderSettings::unreachable()))
    }

    #[test]
    fn refresh_response_needs_only_an_access_token() {
        let response = read_json(200, r#"{"access_token":"a","token_type":"bearer"}"#);
        assert!(matches!(response, Ok(UnverifiedTokens { id_token: None, refresh_token: None, .. })));
    }

    #[test]
    fn denial_of_user_differs_from_other_errors() {
        for error in INTERACTION_REQUIRED_ERRORS {
            let refused = read_json(400, &format!(r#"{{"error":"{error}"}}"#));
            assert!(matches!(refused, Err(RefreshError::Denied(_))), "{error}");
        }
        let refused = read_json(400, r#"{"error":"invalid_grant"}"#);
        assert!(matches!(refused, Err(RefreshError::InvalidGrant)));
        for (status, body) in [
            (400, r#"{"error":"invalid_request"}"#),
            (400, r#"{"error":"unauthorized_client"}"#),
            (400, r#"{"error":"unsupported_grant_type"}"#),
            (400, r#"{"error":["invalid_grant"]}"#),
            (400, "{}"),
            (401, r#"{"error":"invalid_client"}"#),
            (404, r#"{"error":"not_found"}"#),
            (429, r#"{"error":"invalid_grant"}"#),
            (503, r#"{"error":"temporarily_unavailable"}"#),
            (302, r#"{"error":"invalid_grant"}"#),
        ] {
            assert!(matches!(read_json(status, body), Err(RefreshError::Unknown(_))), "{status} {body}");
        }
    }

    #[test]
    fn unusable_response_may_have_spent_refresh_token() {
        for (status, body) in [
            (200, r#"{"error":"invalid_grant"}"#),
            (200, r#"{"access_token":"a","token_type":"DPoP"}"#),
            (200, r#"{"token_type":"Bearer"}"#),
            (200, "not JSON"),
            (500, r#"{"error":"invalid_grant"}"#),
            (502, "<html>"),
            (504, "<html>"),
        ] {
            assert!(matches!(read_json(status, body), Err(RefreshError::ResponseLost(_))), "{status} {body}");
        }
    }
}
