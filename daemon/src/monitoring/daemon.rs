//! The daemon's own metrics, collected once per scrape.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::{Observed, Watched, certificates, requests};

pub(super) struct DaemonCollector(Watched);

impl DaemonCollector {
    pub(super) fn new(watched: Watched) -> Self {
        Self(watched)
    }
}

impl Collector for DaemonCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let is_ready = ConstGauge::new(i64::from((self.0.readiness)().is_none()));
        is_ready.encode(encoder.encode_descriptor("ready", READY, None, is_ready.metric_type())?)?;
        counter(&mut encoder, "log_lines_dropped", DROPPED_LINES, (self.0.dropped_lines)())?;
        let Some(observed) = (self.0.observe)() else { return Ok(()) };
        certificates::encode(&mut encoder, &observed.certificates)?;
        requests::encode(&mut encoder, &observed.requests)?;
        encode_sessions(&mut encoder, &observed)?;
        encode_store(&mut encoder, &observed)?;
        counter(&mut encoder, "task_failures", TASK_FAILURES, observed.task_failures)?;
        counter(&mut encoder, "audit_write_failures", AUDIT_FAILURES, observed.audit_failures)
    }
}

const READY: &str = "1 when users are served, 0 while something is missing";
const TASK_FAILURES: &str = "How often a task of the daemon panicked and was started again";
const DROPPED_LINES: &str = "How many lines of the log were lost because their reader was too slow";
const AUDIT_FAILURES: &str = "How many lines of the audit log could not be written";

fn encode_sessions(encoder: &mut DescriptorEncoder<'_>, observed: &Observed) -> Result<(), fmt::Error> {
    const LOGINS: &str = "How logins ended: finished, or the reason of the refusal";
    const ENDED: &str = "How many sessions were ended before their time, by reason";
    const REVALIDATIONS: &str = "How often providers were asked again: confirmed, userinfo_failed, unverified, rejected, response_lost, denied_by_policy, unavailable";
    const LIVE: &str = "How many sessions live, as counted within the last minute";
    let kind = ConstCounter::new(0_u64).metric_type();
    let mut logins = encoder.encode_descriptor("logins", LOGINS, None, kind)?;
    for ((provider, outcome), count) in &observed.sessions.logins {
        let labels = [("provider", provider.as_str()), ("outcome", outcome)];
        ConstCounter::new(*count).encode(logins.encode_family(&labels)?)?;
    }
    let mut ended = encoder.encode_descriptor("sessions_ended", ENDED, None, kind)?;
    for (reason, count) in &observed.sessions.ended {
        ConstCounter::new(*count).encode(ended.encode_family(&[("reason", *reason)])?)?;
    }
    let mut asked = encoder.encode_descriptor("revalidations", REVALIDATIONS, None, kind)?;
    for ((provider, outcome), count) in &observed.sessions.revalidations {
        let labels = [("provider", provider.as_str()), ("outcome", outcome)];
        ConstCounter::new(*count).encode(asked.encode_family(&labels)?)?;
    }
    let live = ConstGauge::new(observed.live_sessions);
    live.encode(encoder.encode_descriptor("sessions_live", LIVE, None, live.metric_type())?)
}

fn encode_store(encoder: &mut DescriptorEncoder<'_>, observed: &Observed) -> Result<(), fmt::Error> {
    const WRITES: &str = "Transactions that were written";
    const FAILURES: &str = "Transactions that could not be written";
    const ROLLED_BACK: &str = "1 once part of the database was found to be older than it was";
    const TIME: &str = "What transactions took together";
    counter(encoder, "store_writes", WRITES, observed.writes.done)?;
    counter(encoder, "store_write_failures", FAILURES, observed.writes.failed)?;
    let is_rolled_back = ConstGauge::new(i64::from(observed.is_rolled_back));
    let kind = is_rolled_back.metric_type();
    is_rolled_back.encode(encoder.encode_descriptor(
        "store_rollback_detected",
        ROLLED_BACK,
        None,
        kind,
    )?)?;
    let time = ConstCounter::new(observed.writes.seconds);
    time.encode(encoder.encode_descriptor(
        "store_write_duration",
        TIME,
        Some(&Unit::Seconds),
        time.metric_type(),
    )?)
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    count: u64,
) -> Result<(), fmt::Error> {
    let counter = ConstCounter::new(count);
    counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
}

impl fmt::Debug for DaemonCollector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DaemonCollector").finish_non_exhaustive()
    }
}
