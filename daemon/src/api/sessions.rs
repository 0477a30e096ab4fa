//! `GET /v1/sessions`: lists the caller's sessions, or for an administrator a user's. `DELETE /v1/sessions/{id}`:
//! revokes one. `DELETE /v1/sessions?which=others`: revokes all but the caller's.

use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use infra_shared::api::{ListedSessions, ProblemCode};
use infra_shared::token_text::SessionID;
use serde::Deserialize;

use super::Api;
use super::body::{UnverifiedBearer, presented};
use super::problem::{ProblemResponse, json_response, no_content};
use crate::listener::PeerAddress;
use crate::sessions::SessionUse;
use crate::store::UserFilter;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// E-mail address or subject of another user.
    user: Option<String>,
}

pub(super) async fn list(
    State(api): State<Api>,
    wanted: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
    Extension(PeerAddress(from)): Extension<PeerAddress>,
    UnverifiedBearer(token): UnverifiedBearer,
) -> Result<Response, ProblemResponse> {
    let Ok(Query(wanted)) = wanted else {
        return Err(ProblemResponse::new(ProblemCode::BadRequest, &"unknown query")
            .with_detail("the only parameter is `user`: another user's e-mail or subject"));
    };
    let caller = api.sessions.authenticate(presented(&token, from), SessionUse::Recorded).await?;
    let caller = caller.require_undelegated()?;
    let sessions = match wanted.user {
        None => api.sessions.list_own(&caller).await?,
        Some(user) => api
            .sessions
            .list_as_administrator(&caller, UserFilter::Named(user))
            .await?
            .ok_or_else(not_an_administrator)?,
    };
    Ok(json_response(StatusCode::OK, &ListedSessions { sessions, now: api.sessions.now() }))
}

/// Requires `others`, so that a request without a session id does not revoke all sessions by mistake.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Others {
    #[serde(rename = "which")]
    _which: OthersAlone,
    user: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum OthersAlone {
    Others,
}

pub(super) async fn revoke_others(
    State(api): State<Api>,
    others: Result<Query<Others>, axum::extract::rejection::QueryRejection>,
    Extension(PeerAddress(from)): Extension<PeerAddress>,
    UnverifiedBearer(token): UnverifiedBearer,
) -> Result<Response, ProblemResponse> {
    let Ok(Query(others)) = others else {
        return Err(ProblemResponse::new(ProblemCode::BadRequest, &"unknown query").with_detail(
            "send `which=others` to revoke all sessions except the caller's own; add `user` for another user's \
             sessions",
        ));
    };
    let caller = api.sessions.authenticate(presented(&token, from), SessionUse::Recorded).await?;
    let caller = caller.require_undelegated()?;
    let response =
        api.sessions.revoke_others_for(&caller, others.user).await?.ok_or_else(not_an_administrator)?;
    tracing::info!(
        count = response.revoked,
        by = %caller.session().id,
        "revoked sessions at the request of another session"
    );
    Ok(json_response(StatusCode::OK, &response))
}

fn not_an_administrator() -> ProblemResponse {
    ProblemResponse::new(ProblemCode::Forbidden, &"not an administrator").with_detail(
        "only administrators may list and revoke other users' sessions: `admins` in the daemon's configuration",
    )
}

/// Sessions of other users, revoked ones and unknown ones get the same answer.
pub(super) async fn revoke(
    State(api): State<Api>,
    id: Result<Path<String>, axum::extract::rejection::PathRejection>,
    Extension(PeerAddress(from)): Extension<PeerAddress>,
    UnverifiedBearer(token): UnverifiedBearer,
) -> Result<Response, ProblemResponse> {
    let caller = api.sessions.authenticate(presented(&token, from), SessionUse::Recorded).await?;
    let caller = caller.require_undelegated()?;
    // A path that is not UTF-8 is an unknown id.
    let id = id.ok().and_then(|Path(id)| SessionID::parse(&id));
    let is_revoked = match &id {
        Some(id) => api.sessions.revoke_for(&caller, id).await?,
        None => false,
    };
    if !is_revoked {
        return Err(ProblemResponse::new(ProblemCode::NotFound, &"no session that the caller may revoke")
            .with_detail("there is no live session with that ID that you may revoke"));
    }
    tracing::info!(
        session = id.as_ref().map(SessionID::as_str),
        by = %caller.session().id,
        "revoked a session at the request of another session"
    );
    Ok(no_content())
}
