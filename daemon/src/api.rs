//! The HTTP API: routes, request bodies and problem responses.

mod actor;
mod body;
mod delegations;
mod discovery;
mod health;
mod introspection;
mod kubernetes;
mod log_limiter;
mod logins;
mod logouts;
mod problem;
mod rates;
mod redirect;
mod server;
mod service_credential;
mod session;
mod sessions;
#[cfg(test)]
mod tests;
mod token_exchange;
mod tokens;
mod verification;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, Uri};
use axum::routing::{MethodRouter, any, delete, get, post};

use crate::listener::{CachedResponse, FastPath, Route};
use crate::services::Services;
use crate::sessions::Sessions;
use rates::Rates;

pub use body::BodyLimits;
pub use problem::error_responses;
pub use rates::RateLimits;
pub use redirect::redirect;

/// An endpoint: its route, its handler and, for some, its answer from the cache.
struct Endpoint {
    route: Route,
    handler: fn() -> MethodRouter<Api>,
    cached: Option<CachedHandler>,
}

/// Answers a request from the cache, before the router. `None` leaves it to the router.
type CachedHandler = fn(&Api, &Uri, &HeaderMap) -> Option<CachedResponse>;

const ENDPOINTS: &[Endpoint] = &[
    protected("GET", "/v1/session", || get(session::show)).cached(session::show_cached),
    protected("*", "/v1/verify/{service}", || any(verification::verify)).cached(verification::verify_cached),
    // A proxy that appends the path of its root. `{*rest}` matches at least one character.
    protected("*", "/v1/verify/{service}/", || any(verification::verify)).cached(verification::verify_cached),
    protected("*", "/v1/verify/{service}/{*rest}", || any(verification::verify_below))
        .cached(verification::verify_cached),
    protected("POST", "/v1/introspect", || post(introspection::introspect))
        .cached(introspection::introspect_cached),
    protected("POST", "/v1/kubernetes/{cluster}/tokenreview", || post(kubernetes::review)).high_volume(),
    protected("DELETE", "/v1/session", || delete(session::revoke)),
    protected("GET", "/v1/sessions", || get(sessions::list)),
    protected("DELETE", "/v1/sessions", || delete(sessions::revoke_others)),
    protected("DELETE", "/v1/sessions/{id}", || delete(sessions::revoke)),
    protected("POST", "/v1/tokens", || post(tokens::issue)),
    protected("POST", "/v1/delegations", || post(delegations::open)),
    public("GET", "/v1/server", || get(server::describe)),
    public("GET", "/v1/jwks", || get(discovery::public_keys)),
    public("GET", "/.well-known/openid-configuration", || get(discovery::configuration)),
    public("POST", "/v1/logins", || post(logins::start)),
    public("POST", "/v1/logins/finish", || post(logins::finish)),
    public("POST", "/v1/logouts", || post(logouts::revoke)),
    public("GET", "/healthz", || get(health::alive)),
    public("GET", "/readyz", || get(health::ready)),
];

/// An endpoint that answers with success only if the request carries a valid token or service credential.
const fn protected(method: &'static str, path: &'static str, handler: fn() -> MethodRouter<Api>) -> Endpoint {
    let route = Route { method, path, requires_credentials: true, is_high_volume: false };
    Endpoint { route, handler, cached: None }
}

/// An endpoint for everyone.
const fn public(method: &'static str, path: &'static str, handler: fn() -> MethodRouter<Api>) -> Endpoint {
    let route = Route { method, path, requires_credentials: false, is_high_volume: false };
    Endpoint { route, handler, cached: None }
}

impl Endpoint {
    const fn high_volume(mut self) -> Self {
        self.route.is_high_volume = true;
        self
    }

    /// An endpoint that the fast path answers if it can.
    const fn cached(mut self, handler: CachedHandler) -> Self {
        self.cached = Some(handler);
        self.high_volume()
    }
}

/// The routes of all endpoints, in the order in which the fast path expects their indices.
pub fn routes() -> impl Iterator<Item = Route> {
    ENDPOINTS.iter().map(|endpoint| endpoint.route)
}

/// The state shared by all routes. Cloned for each request.
#[derive(Clone)]
struct Api(Arc<ApiState>);

struct ApiState {
    sessions: Arc<Sessions>,
    services: Services,
    rates: Arc<Rates>,
    bodies: BodyLimits,
}

impl Deref for Api {
    type Target = ApiState;

    fn deref(&self) -> &ApiState {
        &self.0
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiLimits {
    pub rates: RateLimits,
    pub bodies: BodyLimits,
}

/// Builds the router of all API routes, and the fast path that answers some of them from the cache.
pub fn build_router(sessions: Arc<Sessions>, services: Services, limits: &ApiLimits) -> (Router, FastPath) {
    let (rates, bodies) = (Rates::new(&limits.rates), limits.bodies);
    let api = Api(Arc::new(ApiState { sessions, services, rates, bodies }));
    let router = ENDPOINTS
        .iter()
        .fold(Router::new(), |router, endpoint| router.route(endpoint.route.path, (endpoint.handler)()))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(api.clone());
    let fast_path: FastPath = Arc::new(move |route, uri, headers| {
        let respond_from_cache = ENDPOINTS.get(route)?.cached?;
        respond_from_cache(&api, uri, headers)
    });
    (router, fast_path)
}
