//! Serves metrics and health over plain HTTP on a separate address, already while the daemon waits for its root key.

mod metrics;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::BoxFuture;
use prometheus_client::encoding::text;
use tokio::net::TcpListener;

use crate::listener::{self, App, ListenerLimits, Proxies, RouteCounts, Transport};
use crate::secrets::Backends;
use crate::sessions::SessionCounts;
use crate::store::{CacheCounts, WriteCounts};
use crate::tls::CertificateState;

/// Returns why the daemon is not ready; `None` if it is.
pub type Readiness = Arc<dyn Fn() -> BoxFuture<'static, Option<String>> + Send + Sync>;

/// Returns the current measurements; `None` while the daemon waits for its root key.
pub type Observe = Arc<dyn Fn() -> Option<Observed> + Send + Sync>;

pub struct Watched {
    pub secrets: Backends,
    pub observe: Observe,
    pub readiness: Readiness,
    pub dropped_lines: fn() -> u64,
}

/// Measurements of a running daemon at one moment.
pub struct Observed {
    pub certificates: Vec<CertificateState>,
    /// Audit log lines that could not be written.
    pub audit_failures: u64,
    pub requests: Vec<RouteCounts>,
    /// By the limit that they would exceed.
    pub refused_connections: Vec<(&'static str, u64)>,
    pub sessions: SessionCounts,
    /// Counted within the last minute.
    pub live_sessions: u64,
    pub writes: WriteCounts,
    pub cache: CacheCounts,
    /// Whether the root key in the configuration does not open the store, so that the daemon cannot start again.
    pub is_root_key_missing: bool,
    /// Whether part of the database is older than it was.
    pub is_rolled_back: bool,
    pub task_failures: u64,
}

/// OpenMetrics 1.0, which Prometheus reads.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves `/metrics`, `/healthz` and `/readyz` until `stop` completes.
pub async fn serve_monitoring(
    listener: TcpListener,
    watched: Watched,
    limits: ListenerLimits,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let router = Router::new()
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(|| std::future::ready(StatusCode::NO_CONTENT)))
        .route("/readyz", get(show_readiness))
        .with_state(Arc::new(watched));
    let app = App::without_counters(router, Proxies::default());
    listener::serve(listener, Transport::Plain, app, limits, stop).await;
}

async fn show_metrics(State(watched): State<Arc<Watched>>) -> Response {
    let mut written = String::new();
    let is_ready = (watched.readiness)().await.is_none();
    let encoded = [metrics::of_daemon(&watched, is_ready), metrics::of_process()]
        .iter()
        .try_for_each(|registry| text::encode_registry(&mut written, registry))
        .and_then(|()| text::encode_eof(&mut written));
    match encoded {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], written).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn show_readiness(State(watched): State<Arc<Watched>>) -> Response {
    match (watched.readiness)().await {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(cause) => (StatusCode::SERVICE_UNAVAILABLE, cause + "\n").into_response(),
    }
}
