//! Metrics and health for whoever watches the daemon: on an address of their own, in the clear, and there already while
//! the daemon waits for its root key.

mod certificates;

use std::future::Future;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, serve};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::secrets::{Backends, ReadReason};
use crate::tls::CertificateState;
use certificates::CertificateCollector;

/// Why the daemon is not ready; `None` when it is.
pub type Readiness = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// How the daemon's certificates are.
pub type CertificateStates = Arc<dyn Fn() -> Vec<CertificateState> + Send + Sync>;

/// What is watched.
pub struct Watched {
    pub secrets: Backends,
    pub certificates: CertificateStates,
    pub readiness: Readiness,
    pub audit: AuditFailures,
}

/// How many lines of the audit log could not be written.
pub type AuditFailures = Arc<dyn Fn() -> u64 + Send + Sync>;

/// OpenMetrics 1.0, which Prometheus reads.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone)]
struct Monitoring {
    registry: Arc<Registry>,
    readiness: Readiness,
}

/// Answers `/metrics`, `/healthz` and `/readyz` until `stop` is done.
pub async fn serve_monitoring(
    listener: TcpListener,
    watched: Watched,
    stop: impl Future<Output = ()> + Send + 'static,
) {
    let mut registry = Registry::with_prefix("infrad");
    let build = Family::<[(&str, &str); 1], Gauge>::default();
    build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
    registry.register("build_info", "Which infrad this is", build);
    registry.register_collector(Box::new(SecretReads(watched.secrets)));
    registry.register_collector(Box::new(CertificateCollector::new(watched.certificates)));
    registry.register_collector(Box::new(AuditCollector(watched.audit)));
    let monitoring = Monitoring { registry: Arc::new(registry), readiness: watched.readiness };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| std::future::ready(StatusCode::NO_CONTENT)))
        .route("/readyz", get(ready))
        .with_state(monitoring);
    if let Err(error) = serve(listener, router).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "metrics cannot be served any more");
    }
}

async fn metrics(State(monitoring): State<Monitoring>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &monitoring.registry) {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn ready(State(monitoring): State<Monitoring>) -> Response {
    match (monitoring.readiness)() {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(cause) => (StatusCode::SERVICE_UNAVAILABLE, cause + "\n").into_response(),
    }
}

/// Lines of the audit log that are missing.
struct AuditCollector(AuditFailures);

impl Collector for AuditCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        const HELP: &str = "How many lines of the audit log could not be written";
        let counter = ConstCounter::new((self.0)());
        counter.encode(encoder.encode_descriptor("audit_failures", HELP, None, counter.metric_type())?)
    }
}

impl std::fmt::Debug for AuditCollector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AuditCollector").finish_non_exhaustive()
    }
}

/// Reads of client secrets by reason, as the backends count them.
#[derive(Debug)]
struct SecretReads(Backends);

impl Collector for SecretReads {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        const HELP: &str = "How often client secrets were read";
        let counter = ConstCounter::new(0_u64);
        let mut reads = encoder.encode_descriptor("secret_reads", HELP, None, counter.metric_type())?;
        for reason in ReadReason::ALL {
            let counter = ConstCounter::new(self.0.reads(reason));
            counter.encode(reads.encode_family(&[("reason", reason.name())])?)?;
        }
        Ok(())
    }
}
