//! Connects the development provider to its HTTP server.

use std::io::Read;

use tiny_http::{Header, Request, Response, StatusCode};

use super::provider::{Answer, Asked, Provider};

const MAX_BODY: u64 = 16 * 1024;

/// Answers one request. Rejects any `Host` other than the loopback address, to prevent DNS rebinding by web pages.
pub(super) fn serve(provider: &mut Provider, host: &str, mut request: Request) {
    let header = |name: &'static str| {
        request
            .headers()
            .iter()
            .find(|header| header.field.equiv(name))
            .map(|header| header.value.as_str().to_owned())
    };
    let answer = if header("Host").as_deref() == Some(host) {
        let authorization = header("Authorization");
        let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
        let (path, query) = (path.to_owned(), query.to_owned());
        let mut body = String::new();
        // An overlong or non-text body becomes a form that the provider rejects.
        let _ = request.as_reader().take(MAX_BODY).read_to_string(&mut body);
        let method = request.method().as_str().to_owned();
        provider.answer(&Asked { method: &method, path: &path, query: &query, authorization, body: &body })
    } else {
        Answer::page(400, "not for this host")
    };
    let mut response = Response::from_data(answer.body).with_status_code(StatusCode(answer.status));
    for (name, value) in answer.headers {
        if let Ok(header) = Header::from_bytes(name, value) {
            response.add_header(header);
        }
    }
    // The client may have disconnected.
    let _ = request.respond(response);
}
