//! `GET /.well-known/openid-configuration` and `GET /v1/jwks`: what a service needs to validate signed tokens itself.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use infra_shared::api::ProblemCode;
use serde::Serialize;

use super::Api;
use super::problem::{ProblemResponse, json_response};
use crate::jwt::{Algorithm, TokenKeys};

/// Long enough for many services, short for an emergency. A planned key is published for a day before it signs.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=300");

/// OpenID Connect Discovery §3, as far as it is about keys.
#[derive(Serialize)]
struct Configuration<'a> {
    issuer: &'a str,
    jwks_uri: String,
    /// The daemon has no authorization endpoint.
    response_types_supported: [&'static str; 1],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: Vec<Algorithm>,
}

pub(super) async fn configuration(State(api): State<Api>) -> Result<Response, ProblemResponse> {
    let keys = token_keys(&api)?;
    let issuer = keys.issuer();
    Ok(public(&Configuration {
        issuer,
        jwks_uri: format!("{issuer}/v1/jwks"),
        response_types_supported: ["none"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: keys.algorithms(),
    }))
}

pub(super) async fn public_keys(State(api): State<Api>) -> Result<Response, ProblemResponse> {
    Ok(public(&token_keys(&api)?.public_keys()))
}

fn token_keys(api: &Api) -> Result<&Arc<TokenKeys>, ProblemResponse> {
    api.sessions.token_keys().ok_or_else(|| {
        ProblemResponse::new(ProblemCode::NotFound, &"no service has signed tokens")
            .with_detail("no service of the daemon has signed tokens: `tokens: jwt` in its configuration")
    })
}

fn public(document: &impl Serialize) -> Response {
    let mut response = json_response(StatusCode::OK, document);
    response.headers_mut().insert(header::CACHE_CONTROL, CACHED);
    response
}
