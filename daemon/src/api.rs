//! The HTTP API: routes, bodies, and the problems that callers are told of.

mod body;
mod health;
mod logins;
mod logouts;
mod problem;
mod redirect;
mod server;
mod session;
mod sessions;

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post};

use crate::listener::Route;
use crate::sessions::Sessions;

pub use redirect::redirect;

/// What is answered, as it is counted.
pub const ROUTES: &[Route] = &[
    Route { method: "GET", path: "/v1/session" },
    Route { method: "DELETE", path: "/v1/session" },
    Route { method: "GET", path: "/v1/sessions" },
    Route { method: "DELETE", path: "/v1/sessions/{id}" },
    Route { method: "GET", path: "/v1/server" },
    Route { method: "POST", path: "/v1/logins" },
    Route { method: "POST", path: "/v1/logins/finish" },
    Route { method: "POST", path: "/v1/logouts" },
    Route { method: "GET", path: "/healthz" },
    Route { method: "GET", path: "/readyz" },
];

/// What every route may use.
#[derive(Clone)]
struct Api {
    sessions: Arc<Sessions>,
}

/// The routes of design §4, over what the daemon has assembled.
pub fn router(sessions: Arc<Sessions>) -> Router {
    Router::new()
        .route("/v1/server", get(server::describe))
        .route("/v1/logins", post(logins::start))
        .route("/v1/logins/finish", post(logins::finish))
        .route("/v1/session", get(session::show).delete(session::end))
        .route("/v1/sessions", get(sessions::list))
        .route("/v1/sessions/{id}", delete(sessions::end))
        .route("/v1/logouts", post(logouts::end))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(Api { sessions })
}
