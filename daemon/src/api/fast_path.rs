//! Fast path: answers the validations that services request thousands of times a second from the cache, before
//! routing. Anything not in the cache falls through to the handlers.

use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::IntoResponse;

use super::body::{FORM, body_timeout, credentials, has_media_type, token_in};
use super::{Api, introspection, service_credential, session, verification};
use crate::listener::{FastAnswer, PendingBody};

/// The path prefix for reverse proxies.
const VERIFY: &str = "/v1/verify/";
/// Fits a token and the other form fields. Below every configurable body limit.
const MAX_FORM_BYTES: usize = 4096;

pub(super) fn answer(api: &Api, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<FastAnswer> {
    let path = uri.path();
    if let Some(rest) = path.strip_prefix(VERIFY) {
        let service = api.services.find(rest.split_once('/').map_or(rest, |(service, _)| service))?;
        let authorized = api.services.authorize_cached(service, credentials(headers, "bearer")?)?;
        return Some(FastAnswer::Ready(verification::allow(&authorized)));
    }
    if uri.query().is_some() || headers.contains_key(header::ORIGIN) {
        return None;
    }
    match (method.as_str(), path) {
        ("GET", "/v1/session") => {
            let cached = api.sessions.authenticate_cached(credentials(headers, "bearer")?)?;
            Some(FastAnswer::Ready(session::show_cached(api, &cached)))
        }
        ("POST", "/v1/introspect") if has_media_type(headers, FORM) => {
            introspect(api, headers).map(FastAnswer::NeedsBody)
        }
        _ => None,
    }
}

/// For an authenticated service, waits for the token in the body.
fn introspect(api: &Api, headers: &HeaderMap) -> Option<PendingBody> {
    let name = service_credential::cached_service(api, headers)?;
    let (api, timeout) = (api.clone(), api.bodies.time);
    let answer = move |form: &[u8]| {
        let service = api.services.find(&name)?;
        let authorized = api.services.authorize_cached(service, &token_in(form)?)?;
        Some(introspection::describe(&authorized, service))
    };
    let incomplete = || body_timeout().into_response();
    Some(PendingBody { max_bytes: MAX_FORM_BYTES, timeout, answer: Box::new(answer), incomplete })
}
