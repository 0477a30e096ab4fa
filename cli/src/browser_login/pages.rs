//! The pages of the loopback listener. Their text is fixed: nothing from a request is ever shown.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY};
use hyper::header::{HeaderValue, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use hyper::{Response, StatusCode};

/// What the listener may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    LoggedIn,
    NotLoggedIn,
    /// A response that is not of this login, or comes a second time.
    NotAwaited,
    NotFound,
    /// Anything but a plain GET of this host.
    BadRequest,
    MethodNotAllowed,
    OpenedTwice,
}

const STYLE: &str = "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem}h1{font-size:1.6rem}";

/// Allows nothing but the style above, by its hash.
const POLICY: &str = "default-src 'none'; style-src 'sha256-tPkpiVG0LYpGOVnYToVWaTNh2qI2vlK2JOQPd9nuiYo='; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

impl Page {
    fn status(self) -> StatusCode {
        match self {
            Self::LoggedIn => StatusCode::OK,
            Self::NotLoggedIn => StatusCode::FORBIDDEN,
            Self::NotAwaited | Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::OpenedTwice => StatusCode::GONE,
        }
    }

    fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::LoggedIn => ("Logged in", "Your terminal has the session. You can close this page."),
            Self::NotLoggedIn => ("Not logged in", "Your terminal says why. You can close this page."),
            Self::NotAwaited => (
                "Not the login that is awaited",
                "This page belongs to another login, or to one that is over. The terminal still waits for its own.",
            ),
            Self::NotFound => {
                ("Nothing here", "A terminal on this machine waits for a login, and not for this page.")
            }
            Self::BadRequest | Self::MethodNotAllowed => (
                "Not a request for this page",
                "A terminal on this machine waits for a login, and not for this.",
            ),
            Self::OpenedTwice => (
                "This address works once",
                "It was opened a second time, so the login is given up. Run infra login again.",
            ),
        }
    }

    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let (title, text) = self.text();
        let html = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\"><title>{title} - infra</title>\
             <style>{STYLE}</style></head><body><h1>{title}</h1><p>{text}</p></body></html>\n"
        );
        let mut response = secured(Response::new(Full::new(Bytes::from(html))));
        *response.status_mut() = self.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        if self == Self::MethodNotAllowed {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        }
        response
    }
}

/// Sends the browser on with a GET, and without a word about where it was.
pub(super) fn see_other(location: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = secured(Response::new(Full::new(Bytes::new())));
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, location);
    response
}

fn secured(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
    response
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_policy_allows_exactly_the_style() {
        let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
        assert!(POLICY.contains(&format!("'sha256-{hash}'")), "the style's hash is {hash}");
    }

    #[test]
    fn every_answer_forbids_to_be_kept_framed_or_told_on() {
        for response in
            [Page::LoggedIn.response(), Page::NotFound.response(), see_other(HeaderValue::from_static("/"))]
        {
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            assert_eq!(header("cache-control"), Some("no-store"));
            assert_eq!(header("referrer-policy"), Some("no-referrer"));
            assert_eq!(header("x-frame-options"), Some("DENY"));
            assert!(
                header("content-security-policy")
                    .is_some_and(|policy| policy.contains("frame-ancestors 'none'"))
            );
            assert_eq!(header("access-control-allow-origin"), None);
        }
    }
}
