//! Metrics and health for whoever watches the daemon: on an address of their own, in the clear, and there already while
//! the daemon waits for its root key.

mod certificates;
mod daemon;
mod process;
mod requests;
mod secrets;

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::listener::{self, ListenerLimits, Proxies, RouteCounts, Site, Transport};
use crate::secrets::Backends;
use crate::sessions::SessionCounts;
use crate::store::WriteCounts;
use crate::tls::CertificateState;
use daemon::DaemonCollector;
use process::ProcessCollector;
use secrets::SecretReads;

/// Why the daemon is not ready; `None` when it is.
pub type Readiness = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// What there is to measure; `None` while the daemon waits for its root key.
pub type Observe = Arc<dyn Fn() -> Option<Observed> + Send + Sync>;

/// What is watched.
pub struct Watched {
    pub secrets: Backends,
    pub observe: Observe,
    pub readiness: Readiness,
    /// Lines of the log that were lost.
    pub dropped_lines: fn() -> u64,
}

/// A daemon that serves, as it is at one moment.
pub struct Observed {
    pub certificates: Vec<CertificateState>,
    /// Lines of the audit log that could not be written.
    pub audit_failures: u64,
    pub requests: Vec<RouteCounts>,
    pub sessions: SessionCounts,
    /// As counted within the last minute.
    pub live_sessions: u64,
    pub writes: WriteCounts,
    /// Whether part of the database was found to be older than it was.
    pub is_rolled_back: bool,
    /// How often a task of the daemon panicked.
    pub task_failures: u64,
}

/// OpenMetrics 1.0, which Prometheus reads.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone)]
struct Monitoring {
    registries: Arc<[Registry; 2]>,
    readiness: Readiness,
}

/// Answers `/metrics`, `/healthz` and `/readyz` until `stop` is done.
pub async fn serve_monitoring(
    listener: TcpListener,
    watched: Watched,
    limits: ListenerLimits,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let readiness = watched.readiness.clone();
    let monitoring = Monitoring { registries: Arc::new(registries(watched)), readiness };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| std::future::ready(StatusCode::NO_CONTENT)))
        .route("/readyz", get(ready))
        .with_state(monitoring);
    let site = Site::uncounted(router, Proxies::default());
    listener::serve(listener, Transport::Plain, site, limits, stop).await;
}

/// The daemon's own metrics, and those that every process has, under the names that Prometheus gives them.
fn registries(watched: Watched) -> [Registry; 2] {
    let mut own = Registry::with_prefix("infrad");
    let build = Family::<[(&str, &str); 1], Gauge>::default();
    build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
    own.register("build_info", "Which infrad this is", build);
    own.register_collector(Box::new(SecretReads(watched.secrets.clone())));
    own.register_collector(Box::new(DaemonCollector::new(watched)));
    let mut of_process = Registry::with_prefix("process");
    of_process.register_collector(Box::new(ProcessCollector));
    [own, of_process]
}

async fn metrics(State(monitoring): State<Monitoring>) -> Response {
    let mut written = String::new();
    let encoded = monitoring
        .registries
        .iter()
        .try_for_each(|registry| text::encode_registry(&mut written, registry))
        .and_then(|()| text::encode_eof(&mut written));
    match encoded {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], written).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn ready(State(monitoring): State<Monitoring>) -> Response {
    match (monitoring.readiness)() {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(cause) => (StatusCode::SERVICE_UNAVAILABLE, cause + "\n").into_response(),
    }
}
