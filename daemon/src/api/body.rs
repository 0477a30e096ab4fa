//! Request input: a bounded JSON body, a bearer token, and a check that rejects web pages.

use std::borrow::Cow;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use infra_shared::api::ProblemCode;
use serde::de::DeserializeOwned;

use super::Api;
use super::problem::{ProblemResponse, no_memory};
use crate::listener::NoMemory;
use crate::store::Presented;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    pub bytes: usize,
    pub timeout: Duration,
}

impl Default for BodyLimits {
    fn default() -> Self {
        Self { bytes: 64 * 1024, timeout: Duration::from_secs(10) }
    }
}

/// RFC 7662 §2.1.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";
/// Maximum JSON depth: twice what this API uses, and safe for a parser.
const MAX_DEPTH: usize = 16;

/// A JSON body of a known shape.
pub(super) struct JSON<T>(pub(super) T);

/// The token in `Authorization: Bearer`, not validated yet.
pub(super) struct UnverifiedBearer(pub(super) String);

/// The token that a client presents from this address.
pub(super) fn presented(token: &str, from: SocketAddr) -> Presented<'_> {
    Presented { token, client: from.ip() }
}

/// The single `token` of a form (RFC 7662 §2.1), not validated yet. Other fields are ignored.
pub(super) struct UnverifiedToken {
    pub(super) token: String,
    /// Contain the service's credential.
    pub(super) headers: HeaderMap,
}

impl<T: DeserializeOwned> FromRequest<Api> for JSON<T> {
    type Rejection = ProblemResponse;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ProblemResponse> {
        let (_, bytes) = read(request, api, "application/json").await?;
        if depth(&bytes) > MAX_DEPTH {
            return Err(ProblemResponse::new(ProblemCode::BadRequest, &"JSON is nested too deeply"));
        }
        // Hide the parser's message, which could repeat the request.
        serde_json::from_slice(&bytes).map(Self).map_err(|_| {
            ProblemResponse::new(ProblemCode::BadRequest, &"the body is not the JSON that this route expects")
        })
    }
}

impl FromRequest<Api> for UnverifiedToken {
    type Rejection = ProblemResponse;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ProblemResponse> {
        if request.uri().query().is_some() {
            return Err(ProblemResponse::new(ProblemCode::BadRequest, &"a token in the query")
                .with_detail("send the token only in the body, as `token=…`"));
        }
        let (headers, bytes) = read(request, api, FORM).await?;
        let token = token_in(&bytes).ok_or_else(|| {
            ProblemResponse::new(ProblemCode::BadRequest, &"the body does not contain exactly one token")
                .with_detail("send a body with exactly one `token=…`")
        })?;
        Ok(Self { token: token.into_owned(), headers })
    }
}

/// Finds the `token` of a form; `None` if it is missing or repeated.
pub(super) fn token_in(form: &[u8]) -> Option<Cow<'_, str>> {
    let mut tokens = url::form_urlencoded::parse(form).filter(|(name, _)| name == "token");
    let (_, token) = tokens.next()?;
    tokens.next().is_none().then_some(token)
}

/// Reads the headers and the whole body, of one media type and within limits.
pub(super) async fn read(
    request: Request,
    api: &Api,
    media_type: &str,
) -> Result<(HeaderMap, Bytes), ProblemResponse> {
    let limits = api.bodies;
    let (parts, body) = request.into_parts();
    reject_web_pages(&parts)?;
    if !has_media_type(&parts.headers, media_type) {
        let is_json = media_type == "application/json";
        return Err(ProblemResponse::new(ProblemCode::BadRequest, &"the body has another media type")
            .with_detail(if is_json {
                "send the body with `Content-Type: application/json`"
            } else {
                "send the body with `Content-Type: application/x-www-form-urlencoded`"
            }));
    }
    let collected = tokio::time::timeout(limits.timeout, Limited::new(body, limits.bytes).collect())
        .await
        .map_err(|_| body_timeout())?;
    match collected {
        Ok(collected) => Ok((parts.headers, collected.to_bytes())),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(ProblemResponse::new(ProblemCode::BodyTooLarge, &"the body is too large"))
        }
        Err(error) if is_no_memory(error.as_ref()) => Err(no_memory()),
        Err(_) => Err(ProblemResponse::new(ProblemCode::BadRequest, &"the body is incomplete")),
    }
}

fn is_no_memory(error: &(dyn Error + 'static)) -> bool {
    error.is::<NoMemory>() || error.source().is_some_and(is_no_memory)
}

/// The rejection of a body that did not arrive in time.
pub(super) fn body_timeout() -> ProblemResponse {
    ProblemResponse::new(ProblemCode::BadRequest, &"receiving the body timed out")
}

pub(super) fn has_media_type(headers: &HeaderMap, media_type: &str) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|found| found.trim().eq_ignore_ascii_case(media_type))
}

impl<S: Sync> FromRequestParts<S> for UnverifiedBearer {
    type Rejection = ProblemResponse;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ProblemResponse> {
        reject_web_pages(parts)?;
        // RFC 6750 §2.3 is not supported, because a token in a URL ends up in logs.
        if parts.uri.query().is_some_and(|query| query.contains("access_token=")) {
            return Err(ProblemResponse::new(ProblemCode::BadRequest, &"a token in the query")
                .with_detail("send the token as `Authorization: Bearer …`, never in a URL"));
        }
        let token = credentials(&parts.headers, "bearer");
        token.map(|token| Self(token.to_owned())).ok_or_else(|| {
            ProblemResponse::new(
                ProblemCode::NotAuthenticated,
                &"the request needs exactly one Authorization: Bearer header",
            )
        })
    }
}

/// Finds the credentials for `scheme` (case-insensitive, RFC 9110 §11.1) in the only `Authorization` header.
pub(super) fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().and_then(|value| of_scheme(value, scheme)),
        _ => None,
    }
}

fn of_scheme<'a>(value: &'a str, wanted: &str) -> Option<&'a str> {
    let (scheme, credentials) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case(wanted).then(|| credentials.trim_matches(' '))
}

/// Whether a request has `Origin`: browsers send it for web pages, which must not call this API.
pub(super) fn is_from_web_page(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN)
}

fn reject_web_pages(parts: &Parts) -> Result<(), ProblemResponse> {
    if is_from_web_page(&parts.headers) {
        return Err(ProblemResponse::new(ProblemCode::BadRequest, &"sent by a web page (Origin)")
            .with_detail(
                "the request has an `Origin` header, as browsers send for web pages: leave it out",
            ));
    }
    Ok(())
}

/// Returns the maximum nesting of arrays and objects, from the brackets outside strings.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_depth_ignores_brackets_in_strings() {
        assert_eq!(depth(br#"{"a":[1,{"b":"[[[[{"}],"c":"\"[["}"#), 3);
        assert_eq!(depth(b"1"), 0);
        assert_eq!(depth("[".repeat(20).as_bytes()), 20);
    }

    #[test]
    fn bearer_scheme_is_case_insensitive() {
        assert_eq!(of_scheme("bEARER  abc ", "bearer"), Some("abc"));
        assert_eq!(of_scheme("Basic abc", "bearer"), None);
        assert_eq!(of_scheme("abc", "bearer"), None);
    }
}
