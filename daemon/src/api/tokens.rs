//! `POST /v1/tokens`: issues an audience token of a session, or with a form, to a workload.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{Extension, FromRequest, FromRequestParts, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use infra_shared::api::{AudienceTokenRequest, AudienceTokenResponse, ProblemCode};

use super::body::{FORM, JSON, UnverifiedBearer, has_media_type, presented};
use super::problem::{ProblemResponse, json_response};
use super::{Api, token_exchange};
use crate::listener::PeerAddress;
use crate::services::{IssueError, NotAClusterUser};
use crate::sessions::{AudienceTokenError, SessionUse};

pub(super) async fn issue(
    State(api): State<Api>,
    Extension(PeerAddress(from)): Extension<PeerAddress>,
    request: Request,
) -> Response {
    if has_media_type(request.headers(), FORM) {
        return token_exchange::exchange(api, from, request).await;
    }
    issue_to_session(&api, from, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn issue_to_session(
    api: &Api,
    from: SocketAddr,
    request: Request,
) -> Result<Response, ProblemResponse> {
    let (mut parts, body) = request.into_parts();
    let UnverifiedBearer(token) = UnverifiedBearer::from_request_parts(&mut parts, api).await?;
    let JSON(wanted) =
        JSON::<AudienceTokenRequest>::from_request(Request::from_parts(parts, body), api).await?;
    let caller = api.sessions.authenticate(presented(&token, from), SessionUse::Recorded).await?;
    let counted = caller.delegation().map_or(&caller.session().id, |delegation| &delegation.parent);
    api.rates.take_session_token(counted).map_err(|wait| {
        ProblemResponse::rate_limited(
            wait,
            "your session requests too many audience tokens: wait, then try again",
        )
    })?;
    let (issued, service) = api.services.issue(&caller, &wanted.audience).await?;
    tracing::info!(session = %caller.session().id, service = service.settings().name, "issued an audience token");
    let body = AudienceTokenResponse {
        token: issued.token.expose().into(),
        audience: service.settings().audience.clone(),
        expires_at: issued.expires_at,
        now: api.sessions.now(),
    };
    Ok(json_response(StatusCode::CREATED, &body))
}

impl From<IssueError> for ProblemResponse {
    fn from(reason: IssueError) -> Self {
        match &reason {
            IssueError::NoService => Self::new(ProblemCode::NotFound, &reason).with_detail(
                "the daemon has no service with that audience: compare it with `services` in its configuration",
            ),
            IssueError::NotAllowed => Self::new(ProblemCode::Forbidden, &reason)
                .with_detail("this service does not admit you: ask your operator to admit you or one of your groups"),
            IssueError::NotAClusterUser(NotAClusterUser::NoVerifiedEmail) => {
                Self::new(ProblemCode::Forbidden, &reason).with_detail(
                    "your identity provider has not verified your e-mail address, which would be your name in this cluster: \
                     have it verified there, or ask the daemon's operator to set `username: subject`",
                )
            }
            IssueError::NotAClusterUser(NotAClusterUser::Reserved) => {
                Self::new(ProblemCode::Forbidden, &reason)
                    .with_detail("your name in this cluster would be reserved by Kubernetes: ask your operator")
            }
            IssueError::NotDelegated(reason) => (*reason).into(),
            IssueError::AudienceToken(AudienceTokenError::SessionEnded) => Self::new(ProblemCode::NotAuthenticated, &reason),
            IssueError::AudienceToken(AudienceTokenError::LimitReached(wait)) => Self::rate_limited(
                Duration::try_from(*wait).unwrap_or_default(),
                "your session has the maximum number of audience tokens: wait until one of them expires",
            ),
            IssueError::AudienceToken(AudienceTokenError::Store(error)) => {
                Self::new(ProblemCode::Unavailable, &reason).with_cause_in_store(error)
            }
        }
    }
}
