//! `POST /v1/kubernetes/{cluster}/tokenreview`: the token webhook of Kubernetes API servers
//! (`authentication.k8s.io/v1`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use infra_shared::api::ProblemCode;
use infra_shared::printable::printable;
use serde::{Deserialize, Serialize};

use super::Api;
use super::actor::actor;
use super::body::{JSON, presented};
use super::log_limiter::LogLimiter;
use super::problem::{ProblemResponse, json_response};
use super::service_credential::authenticate_service;
use crate::listener::PeerAddress;
use crate::services::{Cluster, ClusterUser, Denied, Service};
use crate::sessions::{AuthorizedCaller, NotAuthenticated};

const API_VERSION: &str = "authentication.k8s.io/v1";
const KIND: &str = "TokenReview";
/// The key of the session id in `user.extra`.
const SESSION: &str = "infra.session/id";
/// The key in `user.extra` of the command that acts for the user, if one does.
const ACTOR: &str = "infra.session/actor";
/// Longer than any cluster name or API version.
const MAX_NAME: usize = 60;

/// Warnings about misconfigured API servers. Any client can trigger them, so they are rate-limited.
static MISCONFIGURATION_LOG: LogLimiter = LogLimiter::new();

/// The fields of a `TokenReview` that the daemon reads.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReviewRequest {
    api_version: String,
    kind: String,
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    token: String,
    #[serde(default)]
    audiences: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenReview<'a> {
    api_version: &'static str,
    kind: &'static str,
    status: Status<'a>,
}

#[derive(Serialize)]
struct Status<'a> {
    authenticated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserInfo<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    audiences: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct UserInfo<'a> {
    username: String,
    /// Issuer and subject: a later user with the same name is another person.
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<&'static str, [Cow<'a, str>; 1]>,
}

/// Omits `Retry-After` from errors: an API server would wait for it up to ten times, and its own client with it.
pub(super) async fn review(
    State(api): State<Api>,
    Path(cluster): Path<String>,
    Extension(PeerAddress(from)): Extension<PeerAddress>,
    headers: HeaderMap,
    JSON(asked): JSON<ReviewRequest>,
) -> Result<Response, ProblemResponse> {
    validate(&api, &cluster, &headers, from, &asked).await.map_err(ProblemResponse::without_retry_after)
}

async fn validate(
    api: &Api,
    cluster: &str,
    headers: &HeaderMap,
    from: SocketAddr,
    asked: &ReviewRequest,
) -> Result<Response, ProblemResponse> {
    let no_cluster = || {
        if MISCONFIGURATION_LOG.take().is_some() {
            tracing::warn!(
                asked_for = printable(cluster, MAX_NAME),
                clusters = api.services.clusters().collect::<Vec<_>>().join(", "),
                "received a TokenReview for an unknown cluster: correct the cluster's name in the URL of the API \
                 server's webhook file, or add a service with that name and `kind: kubernetes`"
            );
        }
        ProblemResponse::new(ProblemCode::NotFound, &"no such cluster")
            .with_detail("the daemon has no service with that name and `kind: kubernetes`")
    };
    let service = api.services.find(cluster).ok_or_else(no_cluster)?;
    let name = &service.settings().name;
    let cluster = service.cluster().ok_or_else(no_cluster)?;
    authenticate_service(api, service, headers).await.inspect_err(|error| {
        if error.code() == ProblemCode::NotAuthenticated && MISCONFIGURATION_LOG.take().is_some() {
            tracing::warn!(
                service = name,
                "received a TokenReview without the cluster's credential: compare `token` in the API server's \
                 webhook file with `credentials` of the service"
            );
        }
    })?;
    if asked.api_version != API_VERSION || asked.kind != KIND {
        if MISCONFIGURATION_LOG.take().is_some() {
            tracing::warn!(
                service = name,
                sent = printable(&asked.api_version, MAX_NAME),
                "received a TokenReview of an unsupported version, so users cannot sign in to the cluster: start \
                 kube-apiserver with `--authentication-token-webhook-version=v1`"
            );
        }
        return Err(ProblemResponse::new(
            ProblemCode::BadRequest,
            &"not a TokenReview of authentication.k8s.io/v1",
        )
        .with_detail(
            "send a TokenReview of authentication.k8s.io/v1: start kube-apiserver with \
             `--authentication-token-webhook-version=v1`",
        ));
    }
    let authorized = match api.services.authorize(service, presented(&asked.spec.token, from)).await {
        Ok(authorized) => authorized,
        Err(Denied::Token(NotAuthenticated::Store(error))) => {
            return Err(ProblemResponse::new(ProblemCode::Unavailable, &error));
        }
        Err(reason) => {
            tracing::debug!(service = name, %reason, "a token is invalid for the cluster");
            return Ok(rejected(None));
        }
    };
    Ok(status(service, cluster, &authorized, asked.spec.audiences.as_deref().unwrap_or_default()))
}

fn status(service: &Service, cluster: &Cluster, authorized: &AuthorizedCaller, asked: &[String]) -> Response {
    let name = &service.settings().name;
    let Some(audiences) = cluster.audiences(&service.settings().audience, asked) else {
        tracing::warn!(
            service = name,
            "the API server requested audiences that this cluster does not have: add them to its `apiAudiences`"
        );
        return rejected(Some("the token is for none of the requested audiences"));
    };
    let ClusterUser { username, groups } = match cluster.map_user(authorized.caller()) {
        Ok(user) => user,
        Err(reason) => {
            tracing::warn!(service = name, %reason, "a user has no name in the cluster");
            return rejected(Some("the user has no name in this cluster"));
        }
    };
    let (session, user) = (&authorized.caller().session().id, authorized.caller().user());
    let uid = format!("{}#{}", user.issuer, user.subject);
    let actor = actor(authorized.caller()).map(|actor| (ACTOR, [Cow::from(actor.sub)]));
    let extra = [(SESSION, [Cow::from(session.as_str())])].into_iter().chain(actor).collect();
    respond(Status {
        authenticated: true,
        user: Some(UserInfo { username, uid, groups, extra }),
        audiences,
        error: None,
    })
}

fn rejected(error: Option<&str>) -> Response {
    respond(Status { authenticated: false, user: None, audiences: Vec::new(), error })
}

fn respond(status: Status<'_>) -> Response {
    json_response(StatusCode::OK, &TokenReview { api_version: API_VERSION, kind: KIND, status })
}
