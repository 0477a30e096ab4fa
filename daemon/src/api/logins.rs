//! `POST /v1/logins` and `POST /v1/logins/finish`.

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::Response;
use infra_shared::api::{FinishLoginRequest, StartLoginRequest};
use tracing::Instrument;

use super::Api;
use super::body::JSON;
use super::problem::{ProblemResponse, json_response};
use super::rates;
use crate::listener::{PeerAddress, request_id};
use crate::sessions::LoginError;

pub(super) async fn start(
    State(api): State<Api>,
    Extension(PeerAddress(from)): Extension<PeerAddress>,
    JSON(request): JSON<StartLoginRequest>,
) -> Result<Response, ProblemResponse> {
    rates::check_start(&api, from)?;
    let started = api.sessions.start_login(&request).await;
    api.sessions.record_login_start(&request, &started);
    let started = started?;
    api.rates.count_start(from);
    Ok(json_response(StatusCode::OK, &started))
}

pub(super) async fn finish(
    State(api): State<Api>,
    Extension(PeerAddress(from)): Extension<PeerAddress>,
    JSON(request): JSON<FinishLoginRequest>,
) -> Result<Response, ProblemResponse> {
    rates::check_finish(&api, from)?;
    let request_id = request_id();
    let finishing = async move {
        let finished = api.sessions.finish_login(&request, from.ip()).await;
        api.sessions.record_login_finish(&request, &finished, from.ip(), &request_id);
        if finished.as_ref().is_err_and(LoginError::counts_toward_rate_limit) {
            api.rates.count_failed_finish(from);
        }
        finished
    };
    // Finish the login even if the client disconnects, so that none stays half done.
    let finished = tokio::spawn(finishing.in_current_span()).await.map_err(|_| {
        ProblemResponse::new(infra_shared::api::ProblemCode::Unavailable, &"finishing the login panicked")
    })??;
    tracing::info!(session = %finished.session.id, provider = finished.user.provider, "signed in");
    Ok(json_response(StatusCode::CREATED, &finished))
}
