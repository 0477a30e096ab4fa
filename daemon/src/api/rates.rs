//! How often one address may start logins, and fail to finish them.

mod buckets;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::problem::{Refusal, TOO_MANY_LOGINS};
use crate::addresses::one_party;
use crate::listener::PeerAddress;
use crate::sessions::TooOften;
use buckets::Buckets;

/// How often, for each address (IPv6: each /64) and minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimits {
    pub login_starts: u32,
    /// Those that succeed do not count, nor do those that fail for a reason that is not the caller's.
    pub failed_login_finishes: u32,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { login_starts: 60, failed_login_finishes: 20 }
    }
}

/// What each address has used of its limits.
pub(super) struct Rates {
    begun: Instant,
    starts: Buckets,
    failed_finishes: Buckets,
}

impl Rates {
    pub(super) fn new(limits: &RateLimits) -> Arc<Self> {
        Arc::new(Self {
            begun: Instant::now(),
            starts: Buckets::new(limits.login_starts),
            failed_finishes: Buckets::new(limits.failed_login_finishes),
        })
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }
}

/// Lets a login start, where its address has not started too many.
pub(super) async fn limit_starts(State(api): State<Api>, request: Request, next: Next) -> Response {
    if let Some(party) = party(&request)
        && let Err(wait) = api.rates.starts.take(party, api.rates.now())
    {
        return too_often(&api, TooOften::Start, wait);
    }
    next.run(request).await
}

/// Lets a login be finished, where too many did not fail from its address before.
pub(super) async fn limit_failed_finishes(State(api): State<Api>, request: Request, next: Next) -> Response {
    let party = party(&request);
    if let Some(party) = party
        && let Err(wait) = api.rates.failed_finishes.look(party, api.rates.now())
    {
        return too_often(&api, TooOften::Finish, wait);
    }
    let response = next.run(request).await;
    let status = response.status();
    if let Some(party) = party
        && status.is_client_error()
        && status != StatusCode::TOO_MANY_REQUESTS
    {
        // However many came at once: what is used up is used up.
        let _ = api.rates.failed_finishes.take(party, api.rates.now());
    }
    response
}

fn party(request: &Request) -> Option<IpAddr> {
    request.extensions().get::<PeerAddress>().map(|PeerAddress(peer)| one_party(peer.ip()))
}

fn too_often(api: &Api, what: TooOften, wait: Duration) -> Response {
    api.sessions.count_too_often(what);
    Refusal::too_many(wait, TOO_MANY_LOGINS).into_response()
}
