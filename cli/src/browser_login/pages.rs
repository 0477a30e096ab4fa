//! Pages of the loopback listener. Nothing from a request is shown. The daemon supplies the account name, which is
//! escaped.

mod html;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY};
use hyper::header::{HeaderValue, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use hyper::{Response, StatusCode};

use html::{Icon, POLICY};

/// Responses of the listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Page<'a> {
    LoggedIn(&'a LoginSummary),
    NotLoggedIn,
    /// A response that is not for this sign-in.
    UnexpectedResponse,
    NotFound,
    /// Not a plain GET for this host.
    BadRequest,
    MethodNotAllowed,
    /// The head exceeds the limit.
    TooLarge,
    /// Another local user followed the sign-in's address.
    AnotherUser,
}

/// Account, server and provider of a successful sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoginSummary {
    pub(super) account: String,
    pub(super) server: String,
    pub(super) provider: String,
}

impl Page<'_> {
    fn status(self) -> StatusCode {
        match self {
            Self::LoggedIn(_) => StatusCode::OK,
            Self::NotLoggedIn | Self::AnotherUser => StatusCode::FORBIDDEN,
            Self::UnexpectedResponse | Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }

    fn icon(self) -> Icon {
        match self {
            Self::LoggedIn(_) => Icon::Success,
            Self::NotLoggedIn | Self::TooLarge | Self::AnotherUser => Icon::Failure,
            _ => Icon::Neutral,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::LoggedIn(_) => "Signed in",
            Self::NotLoggedIn => "Not signed in",
            Self::UnexpectedResponse => "Another sign-in",
            Self::NotFound => "Page not found",
            Self::BadRequest | Self::MethodNotAllowed => "Request not accepted",
            Self::TooLarge => "Too many cookies",
            Self::AnotherUser => "Sign-in of another user",
        }
    }

    /// The content below the title, as HTML.
    fn body(self) -> String {
        let fixed = match self {
            Self::LoggedIn(summary) => return html::logged_in(summary),
            Self::NotLoggedIn => {
                "<p>Nothing has changed. Your terminal shows why, and what to try.</p>\
                 <p class=\"aside\">You can close this page.</p>"
            }
            Self::UnexpectedResponse => {
                "<p>This response belongs to another sign-in, or to one that has ended. Your terminal is still waiting for \
                 its own.</p>"
            }
            Self::NotFound => {
                "<p>A terminal on this machine is waiting for a sign-in, but on another page.</p>"
            }
            Self::BadRequest | Self::MethodNotAllowed => {
                "<p>A terminal on this machine is waiting for a sign-in, but for another request.</p>"
            }
            Self::TooLarge => {
                "<p>This browser sent more than 64 kB of headers, mostly cookies from other programs on 127.0.0.1.</p>\
                 <p>To finish this sign-in, copy the address of this page and paste it into your terminal.</p>\
                 <p class=\"aside\">For the next sign-in, delete the cookies of 127.0.0.1 in this browser.</p>"
            }
            Self::AnotherUser => {
                "<p>Another user of this machine started this sign-in. It continues only in that user's browser.</p>\
                 <p class=\"aside\">Is it your own? Press Enter in the terminal that is waiting: it shows the address to \
                 open here.</p>"
            }
        };
        fixed.to_owned()
    }

    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let html = html::document(self.icon(), self.title(), &self.body());
        let mut response = secured(Response::new(Full::new(Bytes::from(html))));
        *response.status_mut() = self.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        if self == Self::MethodNotAllowed {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        }
        response
    }
}

/// Redirects the browser with a GET and without a `Referer`.
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
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_forbid_caching_framing_and_referrer() {
        for response in [
            Page::NotLoggedIn.response(),
            Page::NotFound.response(),
            see_other(HeaderValue::from_static("/")),
        ] {
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
