//! `POST /v1/introspect`: token introspection for services (RFC 7662).

use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use infra_shared::api::ProblemCode;
use serde::Serialize;

use super::Api;
use super::actor::{Actor, actor};
use super::body::{
    FORM, UnverifiedToken, body_timeout, has_media_type, is_from_web_page, presented, token_in,
};
use super::problem::{ProblemResponse, json_response};
use super::service_credential::{authenticate_any_service, authenticate_any_service_cached};
use crate::listener::{CachedResponse, PeerAddress, PendingBody};
use crate::services::{Denied, Service};
use crate::sessions::{AuthorizedCaller, NotAuthenticated};

/// Fits a token and the other form fields. Below every configurable body limit.
const MAX_CACHED_FORM: usize = 4096;

/// The response of RFC 7662 §2.2, with claims of OpenID Connect.
#[derive(Serialize)]
struct Introspection<'a> {
    active: bool,
    token_type: &'static str,
    sub: &'a str,
    iss: &'a str,
    aud: &'a str,
    exp: i64,
    iat: i64,
    sid: &'a str,
    /// The e-mail address if the provider verified it, otherwise the subject.
    username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    groups: &'a [String],
    /// The provider's name in the daemon's configuration, or `workload:NAME`.
    provider: &'a str,
    /// The name of the rule if the token belongs to a workload. Left out for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<&'a str>,
    /// Left out if the user acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Actor<'a>>,
}

#[derive(Serialize)]
struct Inactive {
    active: bool,
}

/// Unknown, expired, revoked and foreign tokens, and users whom the service does not admit, get the same answer.
pub(super) async fn introspect(
    State(api): State<Api>,
    Extension(PeerAddress(from)): Extension<PeerAddress>,
    UnverifiedToken { token, headers }: UnverifiedToken,
) -> Result<Response, ProblemResponse> {
    let service = authenticate_any_service(&api, &headers).await?;
    match api.services.authorize(service, presented(&token, from)).await {
        Ok(authorized) => Ok(describe(&authorized, service)),
        Err(Denied::Token(NotAuthenticated::Store(error))) => {
            Err(ProblemResponse::new(ProblemCode::Unavailable, &error))
        }
        Err(reason) => {
            tracing::debug!(service = service.settings().name, %reason, "a token is inactive");
            Ok(json_response(StatusCode::OK, &Inactive { active: false }))
        }
    }
}

/// Answers [`introspect`] from the cache. Waits for the body of authenticated services only.
pub(super) fn introspect_cached(api: &Api, uri: &Uri, headers: &HeaderMap) -> Option<CachedResponse> {
    if uri.query().is_some() || is_from_web_page(headers) || !has_media_type(headers, FORM) {
        return None;
    }
    let service = authenticate_any_service_cached(api, headers)?.clone();
    let (api, timeout) = (api.clone(), api.bodies.timeout);
    let answer = move |form: &[u8]| {
        let authorized = api.services.authorize_cached(&service, &token_in(form)?)?;
        Some(describe(&authorized, &service))
    };
    let incomplete = || body_timeout().into_response();
    Some(CachedResponse::NeedsBody(PendingBody {
        max_bytes: MAX_CACHED_FORM,
        timeout,
        respond: Box::new(answer),
        incomplete,
    }))
}

/// Describes the user of a token that is active at `service`.
fn describe(authorized: &AuthorizedCaller, service: &Service) -> Response {
    json_response(StatusCode::OK, &introspection(authorized, &service.settings().audience))
}

fn introspection<'a>(authorized: &'a AuthorizedCaller, audience: &'a str) -> Introspection<'a> {
    let (caller, user) = (authorized.caller(), authorized.caller().user());
    Introspection {
        active: true,
        token_type: "Bearer",
        sub: &user.subject,
        iss: &user.issuer,
        aud: audience,
        exp: authorized.expires_at().as_second(),
        iat: authorized.issued_at().as_second(),
        sid: caller.session().id.as_str(),
        username: caller.verified_email().unwrap_or(&user.subject),
        email: caller.verified_email(),
        name: user.name.as_deref(),
        groups: &user.groups,
        provider: &user.provider,
        workload: user.workload(),
        act: actor(caller),
    }
}
