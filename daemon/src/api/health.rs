//! `GET /healthz` and `GET /readyz`: health checks.

use axum::extract::State;
use axum::response::Response;

use super::Api;
use super::problem::{ProblemResponse, no_content};

pub(super) async fn alive() -> Response {
    no_content()
}

/// The store answers too, so logins and validations work.
pub(super) async fn ready(State(api): State<Api>) -> Result<Response, ProblemResponse> {
    api.sessions.check_store().await?;
    Ok(no_content())
}
