//! The authorization request (OpenID Connect Core §3.1.2.1, RFC 7636 §4.3).

use secrecy::ExposeSecret;
use url::Url;

use super::{AuthorizationRequest, ProviderSettings};

/// Adds the parameters of this login after the endpoint's own query (RFC 6749 §3.1).
pub(super) fn build(endpoint: &Url, settings: &ProviderSettings, request: &AuthorizationRequest<'_>) -> Url {
    let mut url = endpoint.clone();
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", &settings.client_id)
        .append_pair("redirect_uri", request.redirect_uri)
        .append_pair("scope", &settings.scopes.join(" "))
        .append_pair("state", request.state)
        .append_pair("nonce", request.nonce.expose_secret())
        .append_pair("code_challenge", request.code_challenge)
        .append_pair("code_challenge_method", "S256");
    url
}

/// Whether the endpoint's own query has a parameter that a login sets.
pub(super) fn has_reserved_parameter(endpoint: &Url) -> bool {
    const RESERVED: [&str; 10] = [
        "response_type",
        "response_mode",
        "client_id",
        "redirect_uri",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
        "request",
    ];
    endpoint.query_pairs().any(|(name, _)| RESERVED.contains(&name.as_ref()))
}
