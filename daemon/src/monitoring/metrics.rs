//! The metrics of one scrape.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::{Registry, Unit};

use super::{Observed, Watched};
use crate::listener::RouteCounts;
use crate::platform::ProcessUsage;
use crate::secrets::ReadReason;
use crate::sessions::SessionCounts;
use crate::store::CacheCounts;
use crate::tls::CertificateState;

/// The daemon's own metrics. Most are missing while it waits for its root key.
pub(super) fn of_daemon(watched: &Watched, is_ready: bool) -> Registry {
    let mut registry = Registry::with_prefix("infrad");
    let version = ([("version", env!("CARGO_PKG_VERSION"))], 1);
    registry.register("build_info", "Version of infrad", gauges([version]));
    let reads = ReadReason::ALL.map(|reason| ([("purpose", reason.name())], watched.secrets.reads(reason)));
    registry.register("secret_reads", "Reads of client secrets", counters(reads));
    let help = "Whether users are served";
    registry.register("ready", help, ConstGauge::new(i64::from(is_ready)));
    let help = "Log lines dropped because their reader was too slow";
    registry.register("log_lines_dropped", help, ConstCounter::new((watched.dropped_lines)()));
    let Some(observed) = (watched.observe)() else { return registry };
    register_certificates(&mut registry, &observed.certificates);
    register_store(&mut registry, &observed);
    let help = "Whether the root key in the configuration is missing or another one, so that the daemon cannot start again";
    registry.register("root_key_missing", help, ConstGauge::new(i64::from(observed.is_root_key_missing)));
    let help = "Panics of background tasks, each followed by a restart";
    registry.register("task_failures", help, ConstCounter::new(observed.task_failures));
    let help = "Audit log lines that could not be written";
    registry.register("audit_write_failures", help, ConstCounter::new(observed.audit_failures));
    let help = "Live sessions, counted within the last minute";
    registry.register("sessions_live", help, ConstGauge::new(observed.live_sessions));
    register_sessions(&mut registry, observed.sessions);
    register_requests(&mut registry, observed.requests);
    let help = "Connections that were closed at once, by the limit that they would exceed";
    let refused = observed.refused_connections.into_iter().map(|(limit, count)| ([("limit", limit)], count));
    registry.register("connections_refused", help, counters(refused));
    registry
}

/// The standard process metrics under Prometheus's names.
pub(super) fn of_process() -> Registry {
    let mut registry = Registry::with_prefix("process");
    let Some(usage) = ProcessUsage::now() else { return registry };
    let memory = ConstGauge::new(usage.resident_bytes);
    registry.register_with_unit("resident_memory", "Resident memory", Unit::Bytes, memory);
    registry.register("open_fds", "Open files, including connections", ConstGauge::new(usage.open_files));
    if let Some(max) = usage.max_open_files {
        registry.register("max_fds", "Maximum open files", ConstGauge::new(max));
    }
    registry
}

fn register_certificates(registry: &mut Registry, states: &[CertificateState]) {
    let by_source = |value: fn(&CertificateState) -> Option<i64>| {
        let samples = states.iter().map(|state| Some(([("source", state.source.name())], value(state)?)));
        gauges(samples.flatten())
    };
    let expiry = by_source(|state| state.expires_at.map(jiff::Timestamp::as_second));
    let help = "Expiry time of the certificate";
    registry.register_with_unit("certificate_expiry_timestamp", help, Unit::Seconds, expiry);
    let issue = by_source(|state| state.issued_at.map(jiff::Timestamp::as_second));
    let help = "Issue time of the certificate";
    registry.register_with_unit("certificate_issue_timestamp", help, Unit::Seconds, issue);
    let help = "Whether the last attempt to obtain or load a certificate failed";
    let failing = by_source(|state| Some(state.last_error.is_some().into()));
    registry.register("certificate_renewal_failing", help, failing);
    let help = "Whether a certificate that is due waits for something, such as a DNS record";
    let waiting = by_source(|state| Some(state.waiting_for.is_some().into()));
    registry.register("certificate_renewal_pending", help, waiting);
    let help = "Failed attempts to obtain or load a certificate";
    let failures = states.iter().map(|state| ([("source", state.source.name())], state.failures));
    registry.register("certificate_renewal_failures", help, counters(failures));
}

fn register_store(registry: &mut Registry, observed: &Observed) {
    let writes = &observed.writes;
    registry.register("store_writes", "Successful write transactions", ConstCounter::new(writes.done));
    let help = "Failed write transactions";
    registry.register("store_write_failures", help, ConstCounter::new(writes.failed));
    let help = "Whether part of the database is older than it was";
    registry.register("store_rollback_detected", help, ConstGauge::new(i64::from(observed.is_rolled_back)));
    let (help, time) = ("Total time spent in write transactions", ConstCounter::new(writes.seconds));
    registry.register_with_unit("store_write_duration", help, Unit::Seconds, time);
    register_cache(registry, observed.cache);
}

fn register_cache(registry: &mut Registry, cache: CacheCounts) {
    let help = "Tokens that were found in the cache";
    registry.register("token_cache_hits", help, ConstCounter::new(cache.hits));
    let help = "Tokens that were looked up in the database";
    registry.register("token_cache_misses", help, ConstCounter::new(cache.misses));
    let help = "Sessions and audience tokens that left the cache to make room for others";
    registry.register("token_cache_evictions", help, ConstCounter::new(cache.evictions));
    let bytes = ConstGauge::new(i64::try_from(cache.bytes).unwrap_or(i64::MAX));
    registry.register_with_unit("token_cache", "Memory of the cache", Unit::Bytes, bytes);
}

fn register_sessions(registry: &mut Registry, counts: SessionCounts) {
    let help = "Session tokens validated from memory while the database was away";
    registry.register("validations_in_grace", help, ConstCounter::new(counts.validations_in_grace));
    let by_outcome = |((provider, outcome), count): ((String, &'static str), u64)| {
        ([("provider", provider), ("outcome", outcome.to_owned())], count)
    };
    let help = "Logins by outcome: finished, or why they were rejected";
    registry.register("logins", help, counters(counts.logins.into_iter().map(by_outcome)));
    let help = "Logins sent to the provider; each has an outcome only if its user comes back";
    let started = counts.started.into_iter().map(|(provider, count)| ([("provider", provider)], count));
    registry.register("logins_started", help, counters(started));
    let help = "Token exchanges of workloads by outcome: issued, or why they were rejected";
    let by_rule = |((workload, outcome), count): ((String, &'static str), u64)| {
        ([("workload", workload), ("outcome", outcome.to_owned())], count)
    };
    registry.register("workload_tokens", help, counters(counts.workload_tokens.into_iter().map(by_rule)));
    let help = "Sessions revoked before they expired";
    let ended = counts.ended.into_iter().map(|(reason, count)| ([("reason", reason)], count));
    registry.register("sessions_ended", help, counters(ended));
    let help = "Revalidations at providers by outcome: confirmed, userinfo_failed, unverified, rejected, response_lost, denied_by_policy, unavailable";
    registry.register("revalidations", help, counters(counts.revalidations.into_iter().map(by_outcome)));
}

fn register_requests(registry: &mut Registry, routes: Vec<RouteCounts>) {
    let by_status = routes.iter().flat_map(|route| {
        route.statuses.iter().map(|(status, count)| ((labels(route), [("status", *status)]), *count))
    });
    registry.register("http_requests", "Answered requests", counters(by_status));
    let help = "Time from the head of a request to the head of its answer";
    let times = Samples(routes.into_iter().map(|route| (labels(&route), Durations(route))).collect());
    registry.register_with_unit("http_request_duration", help, Unit::Seconds, times);
}

/// All unknown routes share one label, so that clients cannot create more series.
fn labels(counts: &RouteCounts) -> [(&'static str, &'static str); 2] {
    let (method, path) = counts.route.map_or(("other", "other"), |route| (route.method, route.path));
    [("method", method), ("route", path)]
}

/// A metric with labels: its samples, in order.
#[derive(Debug)]
struct Samples<L, M>(Vec<(L, M)>);

fn counters<L>(samples: impl IntoIterator<Item = (L, u64)>) -> Samples<L, ConstCounter<u64>> {
    Samples(samples.into_iter().map(|(labels, count)| (labels, ConstCounter::new(count))).collect())
}

fn gauges<L>(samples: impl IntoIterator<Item = (L, i64)>) -> Samples<L, ConstGauge<i64>> {
    Samples(samples.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value))).collect())
}

impl<L: EncodeLabelSet, M: EncodeMetric + TypedMetric> EncodeMetric for Samples<L, M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(labels, metric)| metric.encode(encoder.encode_family(labels)?))
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}

#[derive(Debug)]
struct Durations(RouteCounts);

impl TypedMetric for Durations {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let within: u64 = self.0.times.iter().map(|(_, count)| count).sum();
        let beyond = (f64::INFINITY, self.0.count.saturating_sub(within));
        let times: Vec<(f64, u64)> = self.0.times.iter().copied().chain([beyond]).collect();
        encoder.encode_histogram::<NoLabelSet>(self.0.seconds, self.0.count, &times, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}
