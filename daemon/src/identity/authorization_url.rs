//! The authorization request (OpenID Connect Core §3.1.2.1, RFC 7636 §4.3).

use oauth2::{CsrfToken, Scope};
use secrecy::ExposeSecret;
use url::Url;

use super::metadata::Metadata;
use super::{AuthorizationRequest, IdentityError, ProviderSettings, oauth_client};

/// Adds the parameters of this login after the endpoint's own query (RFC 6749 §3.1).
pub(super) fn build(
    metadata: &Metadata,
    settings: &ProviderSettings,
    request: &AuthorizationRequest<'_>,
) -> Result<Url, IdentityError> {
    let (url, _) = oauth_client::client(metadata, settings)
        .authorize_url(|| CsrfToken::new(request.state.to_owned()))
        .set_redirect_uri(oauth_client::redirect_url(request.redirect_uri)?)
        .add_scopes(settings.scopes.iter().cloned().map(Scope::new))
        .add_extra_param("nonce", request.nonce.expose_secret())
        // `oauth2` makes challenges only from verifiers, and the client keeps its verifier.
        .add_extra_param("code_challenge", request.code_challenge)
        .add_extra_param("code_challenge_method", "S256")
        .url();
    Ok(url)
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
