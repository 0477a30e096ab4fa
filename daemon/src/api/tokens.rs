//! `POST /v1/tokens`: issues an audience token.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use infra_shared::api::{AudienceTokenRequest, IssuedAudienceToken, ProblemCode};

use super::Api;
use super::body::{JSON, UnverifiedBearer};
use super::problem::{Refusal, answer};
use crate::services::{NotAClusterUser, NotIssued};
use crate::sessions::{AudienceTokenError, Use};

pub(super) async fn issue(
    State(api): State<Api>,
    UnverifiedBearer(token): UnverifiedBearer,
    JSON(wanted): JSON<AudienceTokenRequest>,
) -> Result<Response, Refusal> {
    let caller = api.sessions.authenticate(&token, Use::Counts).await?;
    let (issued, service) = api.services.issue(&caller, &wanted.audience).await?;
    tracing::info!(session = %caller.session().id, service = service.settings().name, "an audience token was issued");
    let body = IssuedAudienceToken {
        token: issued.token.expose().into(),
        audience: service.settings().audience.clone(),
        expires_at: issued.expires_at,
        now: api.sessions.now(),
    };
    Ok(answer(StatusCode::CREATED, &body))
}

impl From<NotIssued> for Refusal {
    fn from(reason: NotIssued) -> Self {
        match &reason {
            NotIssued::NoService => Self::new(ProblemCode::NotFound, &reason).with_detail(
                "this daemon knows no service with that audience: `services` in its configuration",
            ),
            NotIssued::NotAllowed => Self::new(ProblemCode::Forbidden, &reason)
                .with_detail("this service does not admit you: an operator decides whom it does"),
            NotIssued::NotAClusterUser(NotAClusterUser::NoVerifiedEmail) => {
                Self::new(ProblemCode::Forbidden, &reason).with_detail(
                    "your identity provider does not vouch for your e-mail, which would be your name in this cluster",
                )
            }
            NotIssued::NotAClusterUser(NotAClusterUser::Reserved) => {
                Self::new(ProblemCode::Forbidden, &reason)
                    .with_detail("your name in this cluster would be one of Kubernetes' own")
            }
            NotIssued::AudienceToken(AudienceTokenError::SessionEnded) => Self::new(ProblemCode::NotAuthenticated, &reason),
            NotIssued::AudienceToken(AudienceTokenError::LimitReached(wait)) => Self::rate_limited(
                Duration::try_from(*wait).unwrap_or_default(),
                "your session has as many tokens as it may have: wait until the first of them ends",
            ),
            NotIssued::AudienceToken(AudienceTokenError::Store(_)) => Self::new(ProblemCode::Unavailable, &reason),
        }
    }
}
