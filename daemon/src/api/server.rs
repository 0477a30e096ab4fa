//! `GET /v1/server`: what a client must know before it logs in.

use axum::extract::State;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use infra_shared::api::{Provider, Server};
use infra_shared::ca_rollover;

use super::Api;
use super::problem::json_response;

pub(super) async fn describe(State(api): State<Api>, uri: Uri, headers: HeaderMap) -> Response {
    let providers = api.sessions.providers().iter().map(|provider| {
        let settings = provider.settings();
        Provider {
            name: settings.name.clone(),
            kind: settings.kind.to_string(),
            issuer: settings.issuer.clone(),
            redirect_uris: settings.redirect_uris.clone(),
        }
    });
    let server = Server {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now: api.sessions.now(),
        providers: providers.collect(),
        pins: api.sessions.daemon_identity().pins_of(requested_host(&uri, &headers).as_deref()),
        public_urls: api.sessions.public_urls().to_vec(),
        ca_rollover: api.sessions.daemon_identity().statement(),
    };
    with_rollover_header(&api, json_response(StatusCode::OK, &server))
}

/// Adds a header if a CA rollover is announced, so that clients fetch the announcement.
pub(super) fn with_rollover_header(api: &Api, answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    if let Some(sequence) = api.sessions.daemon_identity().sequence() {
        response.headers_mut().insert(ca_rollover::HEADER, sequence.into());
    }
    response
}

/// The host that the client requested, without its port (RFC 9113 §8.3.1, RFC 9112 §3.2).
fn requested_host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = host.and_then(|host| host.parse::<Authority>().ok());
    uri.authority().or(authority.as_ref()).map(|authority| authority.host().to_owned())
}
