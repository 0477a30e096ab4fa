//! `GET /v1/session`: describes the session of a token. `DELETE /v1/session`: revokes it.

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use infra_shared::api::{CurrentSession, NewerSessions, ProblemCode};

use super::Api;
use super::body::{UnverifiedBearer, credentials, is_from_web_page};
use super::problem::{Refusal, answer, no_content};
use super::server::with_announcement;
use crate::listener::FastAnswer;
use crate::sessions::{Accepted, Caller, NotAuthenticated, Use};
use crate::store::CachedJson;

/// Describes the token's holder. For a revoked or expired session it says so, which only the token's holder can
/// learn.
pub(super) async fn show(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    UnverifiedBearer(token): UnverifiedBearer,
) -> Response {
    with_announcement(&api, show_session(&api, query, &token).await)
}

async fn show_session(api: &Api, query: Option<String>, token: &str) -> Result<Response, Refusal> {
    let use_ = match query.as_deref() {
        None | Some("" | "use=true") => Use::Counts,
        Some("use=false") => Use::OnlyLooks,
        Some(_) => {
            return Err(Refusal::new(ProblemCode::BadRequest, &"unknown query").with_detail(
                "the only parameter is `use=false`: read the session without counting this as use",
            ));
        }
    };
    let caller = api.sessions.authenticate(token, use_).await.map_err(|error| match error {
        NotAuthenticated::Expired => Refusal::new(ProblemCode::SessionExpired, &error),
        NotAuthenticated::Revoked => Refusal::new(ProblemCode::SessionRevoked, &error),
        other => other.into(),
    })?;
    // Users want to know if another sign-in happened. Services only validate the caller.
    let newer = if use_ == Use::OnlyLooks { api.sessions.find_newer(&caller)? } else { None };
    Ok(describe(api, &caller, newer))
}

pub(super) fn show_cached(api: &Api, uri: &Uri, headers: &HeaderMap) -> Option<FastAnswer> {
    if uri.query().is_some() || is_from_web_page(headers) {
        return None;
    }
    let token = credentials(headers, "bearer")?;
    let authorized = api.sessions.authenticate_cached(token, Accepted::SESSION_TOKEN)?;
    Some(FastAnswer::Ready(with_announcement(api, describe(api, authorized.caller(), None))))
}

fn describe(api: &Api, caller: &Caller, newer: Option<NewerSessions>) -> Response {
    let CachedJson { session, user } = caller.json();
    answer(StatusCode::OK, &CurrentSession { session, user, now: api.sessions.now(), newer })
}

pub(super) async fn revoke(State(api): State<Api>, UnverifiedBearer(token): UnverifiedBearer) -> Response {
    with_announcement(&api, sign_out(&api, &token).await)
}

async fn sign_out(api: &Api, token: &str) -> Result<Response, Refusal> {
    let caller = api.sessions.authenticate(token, Use::Counts).await?;
    api.sessions.sign_out(&caller).await?;
    tracing::info!(session = %caller.session().id, "signed out");
    Ok(no_content())
}
