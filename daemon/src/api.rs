//! The HTTP API: routes, request bodies and problem responses.

mod body;
mod health;
mod introspection;
mod kubernetes;
mod lines;
mod logins;
mod logouts;
mod problem;
mod rates;
mod redirect;
mod server;
mod service_credential;
mod session;
mod sessions;
mod tokens;
mod verification;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderMap, Uri};
use axum::routing::{MethodRouter, any, delete, get, post};

use crate::listener::{FastAnswer, FastPath, Route};
use crate::services::Services;
use crate::sessions::Sessions;
use rates::Rates;

pub use body::BodyLimits;
pub use problem::refusals;
pub use rates::RateLimits;
pub use redirect::redirect;

/// An endpoint: its route, its handler and, for the busiest, its answer from the cache.
struct Endpoint {
    route: Route,
    handler: fn() -> MethodRouter<Api>,
    cached: Option<CachedHandler>,
}

/// Answers a request from the cache, before the router. `None` leaves it to the router.
type CachedHandler = fn(&Api, &Uri, &HeaderMap) -> Option<FastAnswer>;

/// All endpoints.
const ENDPOINTS: &[Endpoint] = &[
    endpoint("GET", "/v1/session", || get(session::show)).cached(session::show_cached),
    endpoint("*", "/v1/verify/{service}", || any(verification::verify)).cached(verification::verify_cached),
    // A proxy that appends the path of its root. `{*rest}` matches at least one character.
    endpoint("*", "/v1/verify/{service}/", || any(verification::verify)).cached(verification::verify_cached),
    endpoint("*", "/v1/verify/{service}/{*rest}", || any(verification::verify_below))
        .cached(verification::verify_cached),
    endpoint("POST", "/v1/introspect", || post(introspection::introspect))
        .cached(introspection::introspect_cached),
    endpoint("POST", "/v1/kubernetes/{cluster}/tokenreview", || post(kubernetes::review)).busy(),
    endpoint("DELETE", "/v1/session", || delete(session::revoke)),
    endpoint("GET", "/v1/sessions", || get(sessions::list)),
    endpoint("DELETE", "/v1/sessions", || delete(sessions::revoke_others)),
    endpoint("DELETE", "/v1/sessions/{id}", || delete(sessions::revoke)),
    endpoint("GET", "/v1/server", || get(server::describe)),
    endpoint("POST", "/v1/logins", || post(logins::start)),
    endpoint("POST", "/v1/logins/finish", || post(logins::finish)),
    endpoint("POST", "/v1/logouts", || post(logouts::revoke)),
    endpoint("POST", "/v1/tokens", || post(tokens::issue)),
    endpoint("GET", "/healthz", || get(health::alive)),
    endpoint("GET", "/readyz", || get(health::ready)),
];

const fn endpoint(method: &'static str, path: &'static str, handler: fn() -> MethodRouter<Api>) -> Endpoint {
    Endpoint { route: Route { method, path, is_busy: false }, handler, cached: None }
}

impl Endpoint {
    const fn busy(mut self) -> Self {
        self.route.is_busy = true;
        self
    }

    /// A busy endpoint that the fast path answers if it can.
    const fn cached(mut self, handler: CachedHandler) -> Self {
        self.cached = Some(handler);
        self.busy()
    }
}

/// The routes of all endpoints, in the order in which the fast path expects their indices.
pub fn routes() -> impl Iterator<Item = Route> {
    ENDPOINTS.iter().map(|endpoint| endpoint.route)
}

/// The state shared by all routes. Cloned for each request.
#[derive(Clone)]
struct Api(Arc<Parts>);

struct Parts {
    sessions: Arc<Sessions>,
    services: Services,
    rates: Arc<Rates>,
    bodies: BodyLimits,
}

impl Deref for Api {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Limits of requests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiLimits {
    pub rates: RateLimits,
    pub bodies: BodyLimits,
}

/// Builds the router of all API routes, and the fast path that answers some of them from the cache.
pub fn interface(sessions: Arc<Sessions>, services: Services, limits: &ApiLimits) -> (Router, FastPath) {
    let (rates, bodies) = (Rates::new(&limits.rates), limits.bodies);
    let api = Api(Arc::new(Parts { sessions, services, rates, bodies }));
    let router = ENDPOINTS
        .iter()
        .fold(Router::new(), |router, endpoint| router.route(endpoint.route.path, (endpoint.handler)()))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(api.clone());
    let fast_path: FastPath = Arc::new(move |route, uri, headers| {
        let answer_from_cache = ENDPOINTS.get(route)?.cached?;
        answer_from_cache(&api, uri, headers)
    });
    (router, fast_path)
}
