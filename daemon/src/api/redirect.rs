//! Redirects plain HTTP to HTTPS.

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use infra_shared::origin::Origin;

/// Answers every request with 308 (RFC 9110 §15.4.9) to the same path at one of `public_urls`. Never redirects to a
/// host from the request, and removes the query, which may contain secrets.
pub fn redirect(public_urls: Vec<Origin>) -> Router {
    Router::new().fallback(move |uri: Uri, headers: HeaderMap| {
        let response = to_https(&public_urls, &uri, &headers);
        std::future::ready(response)
    })
}

fn to_https(public_urls: &[Origin], uri: &Uri, headers: &HeaderMap) -> Response {
    // `OPTIONS *` has no path (RFC 9112 §3.2.4).
    let path = Some(uri.path()).filter(|path| path.starts_with('/')).unwrap_or("/");
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let asked = public_urls.iter().find(|origin| is_host(host, origin.host()));
    let location = asked
        .or(public_urls.first())
        .and_then(|origin| HeaderValue::from_str(origin.url(path).as_str()).ok());
    match location {
        Some(location) => {
            let headers =
                [(header::LOCATION, location), (header::CONNECTION, HeaderValue::from_static("close"))];
            (StatusCode::PERMANENT_REDIRECT, headers).into_response()
        }
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// Whether a `Host` header names `host`, with or without a port.
fn is_host(header: &str, host: &str) -> bool {
    let (name, rest) = header.split_at_checked(host.len()).unwrap_or_default();
    name.eq_ignore_ascii_case(host) && (rest.is_empty() || rest.starts_with(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(host: &str, uri: &str) -> String {
        let public_urls = ["infra.test", "old.test:8443", "[::1]:8443"];
        let public_urls = public_urls.map(|text| text.parse().expect("an origin"));
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a header"));
        let response = to_https(&public_urls, &uri.parse().expect("a URI"), &headers);
        assert_eq!(response.status(), 308);
        response.headers()[header::LOCATION].to_str().expect("text").to_owned()
    }

    #[test]
    fn redirect_keeps_path_and_requested_host() {
        assert_eq!(location("infra.test", "/v1/server"), "https://infra.test/v1/server");
        assert_eq!(location("OLD.test:80", "/"), "https://old.test:8443/");
        assert_eq!(location("[::1]", "/a"), "https://[::1]:8443/a");
    }

    #[test]
    fn redirect_ignores_foreign_host_and_query() {
        for host in ["evil.test", "infra.test.evil.test", "infra.test@evil.test", "", "infra.tes"] {
            assert_eq!(location(host, "/?token=secret"), "https://infra.test/", "{host}");
        }
        for uri in ["//evil.test/", "/\\evil.test", "http://evil.test/a", "/%0d%0aSet-Cookie:a"] {
            let location = location("infra.test", uri);
            assert!(location.starts_with("https://infra.test/"), "{uri}: {location}");
        }
    }
}
