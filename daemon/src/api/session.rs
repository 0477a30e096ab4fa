//! `GET /v1/session`: describes the session of a token. `DELETE /v1/session`: revokes it.

use axum::extract::{Extension, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use infra_shared::api::{CurrentSession, NewerSessions, ProblemCode};

use super::Api;
use super::body::{UnverifiedBearer, credentials, is_from_web_page, presented};
use super::problem::{ProblemResponse, json_response, no_content};
use super::server::with_rollover_header;
use crate::listener::{CachedResponse, PeerAddress};
use crate::sessions::{AcceptedTokens, Caller, NotAuthenticated, SessionUse};
use crate::store::{CachedJson, Presented};

/// Describes the token's holder. For a revoked or expired session it says so, which only the token's holder can
/// learn.
pub(super) async fn show(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
    Extension(PeerAddress(from)): Extension<PeerAddress>,
    UnverifiedBearer(token): UnverifiedBearer,
) -> Response {
    with_rollover_header(&api, show_session(&api, query, presented(&token, from)).await)
}

async fn show_session(
    api: &Api,
    query: Option<String>,
    token: Presented<'_>,
) -> Result<Response, ProblemResponse> {
    let session_use = match query.as_deref() {
        None | Some("" | "use=true") => SessionUse::Recorded,
        Some("use=false") => SessionUse::NotRecorded,
        Some(_) => {
            return Err(ProblemResponse::new(ProblemCode::BadRequest, &"unknown query").with_detail(
                "the only parameter is `use=false`: read the session without counting this as use",
            ));
        }
    };
    let authenticated =
        api.sessions.authenticate_for(token, AcceptedTokens::SESSION_TOKEN, session_use).await;
    let authorized = authenticated.map_err(|error| match error {
        NotAuthenticated::Expired => ProblemResponse::new(ProblemCode::SessionExpired, &error),
        NotAuthenticated::Revoked => ProblemResponse::new(ProblemCode::SessionRevoked, &error),
        other => other.into(),
    })?;
    let caller = authorized.caller();
    // Users want to know if another sign-in happened. Services only validate the caller, and a command with a delegated
    // session learns nothing about others.
    let newer = match (session_use, caller.delegation()) {
        (SessionUse::NotRecorded, None) => {
            api.sessions.find_newer(&caller.clone().require_undelegated()?).await?
        }
        _ => None,
    };
    Ok(describe(api, caller, newer))
}

pub(super) fn show_cached(api: &Api, uri: &Uri, headers: &HeaderMap) -> Option<CachedResponse> {
    if uri.query().is_some() || is_from_web_page(headers) {
        return None;
    }
    let token = credentials(headers, "bearer")?;
    let authorized = api.sessions.authenticate_cached(token, AcceptedTokens::SESSION_TOKEN)?;
    Some(CachedResponse::Ready(with_rollover_header(api, describe(api, authorized.caller(), None))))
}

fn describe(api: &Api, caller: &Caller, newer: Option<NewerSessions>) -> Response {
    let CachedJson { session, user } = caller.json();
    json_response(StatusCode::OK, &CurrentSession { session, user, now: api.sessions.now(), newer })
}

pub(super) async fn revoke(
    State(api): State<Api>,
    Extension(PeerAddress(from)): Extension<PeerAddress>,
    UnverifiedBearer(token): UnverifiedBearer,
) -> Response {
    with_rollover_header(&api, log_out(&api, presented(&token, from)).await)
}

async fn log_out(api: &Api, token: Presented<'_>) -> Result<Response, ProblemResponse> {
    let caller = api.sessions.authenticate(token, SessionUse::Recorded).await.inspect_err(|error| {
        if matches!(error, NotAuthenticated::Store(_)) {
            api.sessions.forget_token(token.token);
        }
    })?;
    api.sessions.log_out(&caller).await?;
    tracing::info!(session = %caller.session().id, "signed out");
    Ok(no_content())
}
