//! Whose token it is, from memory: the questions that services ask thousands of times a second are answered before anything
//! is routed, timed or written. Whatever is not plainly known here goes the long way, which decides.

use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::IntoResponse;

use super::body::{FORM, credentials, is_of, missing, token_in};
use super::{Api, introspection, service_credential, session, verification};
use crate::listener::{Awaited, Known};

/// Where reverse proxies ask.
const VERIFY: &str = "/v1/verify/";
/// A token and what else belongs into the form: less than any configuration allows a body.
const MOST_FORM_BYTES: usize = 4096;

pub(super) fn answer(api: &Api, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Known> {
    let path = uri.path();
    if let Some(rest) = path.strip_prefix(VERIFY) {
        let service = api.services.find(rest.split_once('/').map_or(rest, |(service, _)| service))?;
        let visitor = api.services.let_in_at_once(service, credentials(headers, "bearer")?)?;
        return Some(Known::Answer(verification::let_through(&visitor)));
    }
    if uri.query().is_some() || headers.contains_key(header::ORIGIN) {
        return None;
    }
    match (method.as_str(), path) {
        ("GET", "/v1/session") => {
            let known = api.sessions.authenticate_at_once(credentials(headers, "bearer")?)?;
            Some(Known::Answer(session::show_known(api, &known)))
        }
        ("POST", "/v1/introspect") if is_of(headers, FORM) => introspect(api, headers).map(Known::ByBody),
        _ => None,
    }
}

/// Of a service that is known, the token in the body is all that is missing.
fn introspect(api: &Api, headers: &HeaderMap) -> Option<Awaited> {
    let name = service_credential::known_service(api, headers)?;
    let (api, time) = (api.clone(), api.bodies.time);
    let answer = move |form: &[u8]| {
        let service = api.services.find(&name)?;
        let visitor = api.services.let_in_at_once(service, &token_in(form)?)?;
        Some(introspection::describe(&visitor, service))
    };
    let missing = || missing().into_response();
    Some(Awaited { most_bytes: MOST_FORM_BYTES, time, answer: Box::new(answer), missing })
}
