//! Whose token it is, from memory: the questions that services ask thousands of times a second are answered before anything
//! is routed, timed or written. Whatever is not plainly known here goes the long way, which decides.

use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::Response;

use super::body::credentials;
use super::{Api, session, verification};

/// Where reverse proxies ask.
const VERIFY: &str = "/v1/verify/";

pub(super) fn answer(api: &Api, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<Response> {
    let path = uri.path();
    if let Some(rest) = path.strip_prefix(VERIFY) {
        let service = api.services.find(rest.split_once('/').map_or(rest, |(service, _)| service))?;
        let visitor = api.services.let_in_at_once(service, credentials(headers, "bearer")?)?;
        return Some(verification::let_through(&visitor));
    }
    let is_plain = method == Method::GET
        && path == "/v1/session"
        && uri.query().is_none()
        && !headers.contains_key(header::ORIGIN);
    if !is_plain {
        return None;
    }
    let known = api.sessions.authenticate_at_once(credentials(headers, "bearer")?)?;
    Some(session::show_known(api, &known))
}
