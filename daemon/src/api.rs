//! The HTTP API: routes, request bodies and problem responses.

mod body;
mod fast_path;
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
use axum::routing::{any, delete, get, post};

use crate::listener::{FastPath, Route};
use crate::services::Services;
use crate::sessions::Sessions;
use rates::Rates;

pub use body::BodyLimits;
pub use problem::refusals;
pub use rates::RateLimits;
pub use redirect::redirect;

/// The routes with their own counters, the busiest first.
pub const ROUTES: &[Route] = &[
    Route { method: "GET", path: "/v1/session", is_busy: true },
    Route { method: "*", path: "/v1/verify/{service}", is_busy: true },
    Route { method: "*", path: "/v1/verify/{service}/{*rest}", is_busy: true },
    Route { method: "DELETE", path: "/v1/session", is_busy: false },
    Route { method: "GET", path: "/v1/sessions", is_busy: false },
    Route { method: "DELETE", path: "/v1/sessions", is_busy: false },
    Route { method: "DELETE", path: "/v1/sessions/{id}", is_busy: false },
    Route { method: "GET", path: "/v1/server", is_busy: false },
    Route { method: "POST", path: "/v1/logins", is_busy: false },
    Route { method: "POST", path: "/v1/logins/finish", is_busy: false },
    Route { method: "POST", path: "/v1/logouts", is_busy: false },
    Route { method: "POST", path: "/v1/tokens", is_busy: false },
    Route { method: "POST", path: "/v1/introspect", is_busy: true },
    Route { method: "POST", path: "/v1/kubernetes/{cluster}/tokenreview", is_busy: true },
    Route { method: "GET", path: "/healthz", is_busy: false },
    Route { method: "GET", path: "/readyz", is_busy: false },
];

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
    let cached_api = api.clone();
    let fast_path: FastPath =
        Arc::new(move |method, uri, headers| fast_path::answer(&cached_api, method, uri, headers));
    let router = Router::new()
        .route("/v1/server", get(server::describe))
        .route("/v1/logins", post(logins::start))
        .route("/v1/logins/finish", post(logins::finish))
        .route("/v1/session", get(session::show).delete(session::revoke))
        .route("/v1/sessions", get(sessions::list).delete(sessions::revoke_others))
        .route("/v1/sessions/{id}", delete(sessions::revoke))
        .route("/v1/logouts", post(logouts::revoke))
        .route("/v1/tokens", post(tokens::issue))
        .route("/v1/introspect", post(introspection::introspect))
        .route("/v1/verify/{service}", any(verification::verify))
        // A proxy that appends the path of its root. `{*rest}` matches at least one character.
        .route("/v1/verify/{service}/", any(verification::verify))
        .route("/v1/verify/{service}/{*rest}", any(verification::verify_below))
        .route("/v1/kubernetes/{cluster}/tokenreview", post(kubernetes::review))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(api);
    (router, fast_path)
}
