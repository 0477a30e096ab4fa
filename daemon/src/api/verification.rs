//! `/v1/verify/{service}`: validates a token for a reverse proxy, and describes the user in response headers.
//!
//! Proxies use the method, the headers and sometimes the path of the original request. Only `Authorization` is
//! evaluated.

use std::net::SocketAddr;

use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use infra_shared::api::ProblemCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Api;
use super::actor::actor;
use super::body::{credentials, presented};
use super::problem::{ProblemResponse, without_body};
use crate::listener::{CachedResponse, PeerAddress};
use crate::services::Denied;
use crate::sessions::{AuthorizedCaller, NotAuthenticated};

const USER: HeaderName = HeaderName::from_static("x-infra-user");
const EMAIL: HeaderName = HeaderName::from_static("x-infra-email");
const NAME: HeaderName = HeaderName::from_static("x-infra-name");
const GROUPS: HeaderName = HeaderName::from_static("x-infra-groups");
const PROVIDER: HeaderName = HeaderName::from_static("x-infra-provider");
const SESSION: HeaderName = HeaderName::from_static("x-infra-session");
/// Empty if the user acts.
const ACTOR: HeaderName = HeaderName::from_static("x-infra-actor");

/// Encodes all but RFC 3986 §2.3 and `@`, so that a comma in a value only separates groups.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

/// RFC 6750 §3: the request has no token.
const MISSING_TOKEN: &str = "Bearer realm=\"infra\"";
/// RFC 6750 §3.1: the token is invalid.
const INVALID_TOKEN: &str = "Bearer realm=\"infra\", error=\"invalid_token\"";

pub(super) async fn verify(
    State(api): State<Api>,
    Path(service): Path<String>,
    Extension(PeerAddress(from)): Extension<PeerAddress>,
    headers: HeaderMap,
) -> Result<Response, ProblemResponse> {
    validate(&api, &service, &headers, from).await
}

/// The same route for proxies that append the original path.
pub(super) async fn verify_below(
    State(api): State<Api>,
    Path((service, _)): Path<(String, String)>,
    Extension(PeerAddress(from)): Extension<PeerAddress>,
    headers: HeaderMap,
) -> Result<Response, ProblemResponse> {
    validate(&api, &service, &headers, from).await
}

async fn validate(
    api: &Api,
    service: &str,
    headers: &HeaderMap,
    from: SocketAddr,
) -> Result<Response, ProblemResponse> {
    let service = api.services.find(service).ok_or_else(|| {
        ProblemResponse::new(ProblemCode::NotFound, &"unknown service").with_detail(
            "the daemon has no service with that name: compare it with `services` in its configuration",
        )
    })?;
    let token = credentials(headers, "bearer").ok_or_else(|| {
        ProblemResponse::new(
            ProblemCode::NotAuthenticated,
            &"the request needs exactly one Authorization: Bearer header",
        )
        .with_challenge(MISSING_TOKEN)
    })?;
    let authorized = api.services.authorize(service, presented(token, from)).await;
    let authorized = authorized.map_err(|reason| match &reason {
        Denied::Token(NotAuthenticated::Store(_)) => ProblemResponse::new(ProblemCode::Unavailable, &reason),
        Denied::Token(_) => {
            ProblemResponse::new(ProblemCode::NotAuthenticated, &reason).with_challenge(INVALID_TOKEN)
        }
        Denied::NotAllowed => ProblemResponse::new(ProblemCode::Forbidden, &reason).with_detail(
            "this service does not admit you: ask your operator to admit you or one of your groups",
        ),
    })?;
    Ok(allow(&authorized))
}

pub(super) fn verify_cached(api: &Api, uri: &Uri, headers: &HeaderMap) -> Option<CachedResponse> {
    // The path is `/v1/verify/{service}`, or one below it.
    let service = api.services.find(uri.path().split('/').nth(3)?)?;
    let authorized = api.services.authorize_cached(service, credentials(headers, "bearer")?)?;
    Some(CachedResponse::Ready(allow(&authorized)))
}

/// Lets the request of `authorized` pass, and describes the user.
fn allow(authorized: &AuthorizedCaller) -> Response {
    let mut response = without_body(StatusCode::OK);
    add_identity(response.headers_mut(), authorized);
    response
}

/// Always sets every header, so that a proxy that copies them overwrites forged headers of the client.
fn add_identity(headers: &mut HeaderMap, authorized: &AuthorizedCaller) {
    let (caller, user) = (authorized.caller(), authorized.caller().user());
    let groups: Vec<String> = user.groups.iter().map(|group| encoded(group)).collect();
    for (name, value) in [
        (USER, encoded(&user.subject)),
        (EMAIL, encoded(caller.verified_email().unwrap_or_default())),
        (NAME, encoded(user.name.as_deref().unwrap_or_default())),
        (GROUPS, groups.join(",")),
        (PROVIDER, encoded(&user.provider)),
        (SESSION, caller.session().id.to_string()),
        (ACTOR, actor(caller).map(|actor| encoded(&actor.sub)).unwrap_or_default()),
    ] {
        let value = HeaderValue::try_from(value).expect("what is left unencoded may stand in a header");
        headers.insert(name, value);
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_header_values_cannot_be_forged() {
        assert_eq!(encoded("alice@example.com"), "alice@example.com");
        assert_eq!(encoded("a,b\r\nX-Infra-User: root%2C"), "a%2Cb%0D%0AX-Infra-User%3A%20root%252C");
        assert_eq!(encoded("Zoë"), "Zo%C3%AB");
    }
}
