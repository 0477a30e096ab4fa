//! `GET /v1/server`: what a client has to know before it logs in.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use infra_shared::api::{Provider, Server};

use super::Api;
use super::problem::answer;

pub(super) async fn describe(State(api): State<Api>) -> Response {
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
        pins: api.sessions.pins().to_vec(),
    };
    answer(StatusCode::OK, &server)
}
