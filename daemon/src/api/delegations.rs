//! `POST /v1/delegations`: opens a session for a command, limited to some services.

use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::Response;
use infra_shared::api::{DelegationRequest, DelegationResponse, ProblemCode};
use jiff::SignedDuration;

use super::Api;
use super::body::{JSON, UnverifiedBearer, presented};
use super::problem::{ProblemResponse, json_response};
use crate::listener::PeerAddress;
use crate::services::DelegateError;
use crate::sessions::{DelegationError, Label, MintedSession, NotDelegated, SessionUse};

pub(super) async fn open(
    State(api): State<Api>,
    Extension(PeerAddress(from)): Extension<PeerAddress>,
    UnverifiedBearer(token): UnverifiedBearer,
    JSON(wanted): JSON<DelegationRequest>,
) -> Result<Response, ProblemResponse> {
    let caller = api.sessions.authenticate(presented(&token, from), SessionUse::Recorded).await?;
    let caller = caller.require_undelegated()?;
    let label = Label::parse(&wanted.label).ok_or_else(|| {
        ProblemResponse::new(ProblemCode::BadRequest, &"the label of a delegation is malformed")
            .with_detail("`label` has 1 to 32 lower-case letters, digits and dashes")
    })?;
    if wanted.lifetime_seconds == 0 {
        return Err(ProblemResponse::new(ProblemCode::BadRequest, &"the lifetime of a delegation is zero")
            .with_detail("`lifetimeSeconds` is 1 or more"));
    }
    api.rates.take_delegation(&caller.session().id).map_err(|wait| {
        ProblemResponse::rate_limited(wait, "your session delegates too many sessions: wait, then try again")
    })?;
    let lifetime = SignedDuration::from_secs(wanted.lifetime_seconds.into());
    let opened = api.services.delegate(&caller, &wanted.audiences, label, lifetime, from.ip()).await;
    let MintedSession { token, session } = opened?;
    tracing::info!(session = %session.id, parent = %caller.session().id, label = wanted.label, "delegated a session");
    let body = DelegationResponse { token: token.expose().into(), session, now: api.sessions.now() };
    Ok(json_response(StatusCode::CREATED, &body))
}

impl From<DelegateError> for ProblemResponse {
    fn from(reason: DelegateError) -> Self {
        match reason {
            DelegateError::AudienceCount => {
                Self::new(ProblemCode::BadRequest, &reason).with_detail("`audiences` names 1 to 16 services")
            }
            DelegateError::Service(error) => error.into(),
            DelegateError::Session(DelegationError::SessionEnded) => {
                Self::new(ProblemCode::NotAuthenticated, &reason)
            }
            DelegateError::Session(DelegationError::LimitReached(wait)) => Self::rate_limited(
                Duration::try_from(wait).unwrap_or_default(),
                "your session has the maximum number of delegated sessions: revoke one, or wait until one of them expires",
            ),
            DelegateError::Session(DelegationError::Store(ref error)) => {
                Self::new(ProblemCode::Unavailable, &reason).with_cause_in_store(error)
            }
        }
    }
}

impl From<NotDelegated> for ProblemResponse {
    fn from(reason: NotDelegated) -> Self {
        Self::new(ProblemCode::Delegated, &reason).with_detail(match reason {
            NotDelegated::Route => {
                "this session was delegated to a command: it can show itself, end itself and get tokens for its services"
            }
            NotDelegated::Audience => {
                "this session was delegated to a command, for other services: add the audience where it is opened"
            }
        })
    }
}
