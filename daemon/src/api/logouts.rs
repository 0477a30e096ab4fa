//! `POST /v1/logouts`: revokes a session with proof of having held its token.

use axum::extract::State;
use axum::response::Response;
use infra_shared::api::{Logout, ProblemCode};
use infra_shared::token_text::LogoutProof;
use secrecy::ExposeSecret;

use super::Api;
use super::body::JSON;
use super::problem::{ProblemResponse, no_content};

/// Gives the same answer whether or not the session existed.
pub(super) async fn revoke(
    State(api): State<Api>,
    JSON(request): JSON<Logout>,
) -> Result<Response, ProblemResponse> {
    let proof = LogoutProof::parse(request.proof.expose_secret())
        .ok_or_else(|| ProblemResponse::new(ProblemCode::BadRequest, &"malformed logout proof"))?;
    api.sessions.log_out_by_proof(&request.id, &proof).await?;
    Ok(no_content())
}
