//! Certificate metrics by source, such as expiry for alerts.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::tls::CertificateState;

pub(super) fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    states: &[CertificateState],
) -> Result<(), fmt::Error> {
    let times: [Gauge; 2] = [
        ("certificate_expiry_timestamp", "Until when the certificate is good", |state| {
            state.expires_at.map(jiff::Timestamp::as_second)
        }),
        ("certificate_issue_timestamp", "Since when the certificate is good", |state| {
            state.issued_at.map(jiff::Timestamp::as_second)
        }),
    ];
    for (name, help, value) in times {
        gauge(encoder, name, help, Some(&Unit::Seconds), states, value)?;
    }
    let is_failing = |state: &CertificateState| Some(i64::from(state.last_error.is_some()));
    gauge(encoder, "certificate_renewal_failing", FAILING, None, states, is_failing)?;
    let is_waiting = |state: &CertificateState| Some(i64::from(state.waiting_for.is_some()));
    gauge(encoder, "certificate_renewal_pending", WAITING, None, states, is_waiting)?;
    let counter = ConstCounter::new(0_u64);
    let mut failures =
        encoder.encode_descriptor("certificate_renewal_failures", FAILURES, None, counter.metric_type())?;
    for state in states {
        let counter = ConstCounter::new(state.failures);
        counter.encode(failures.encode_family(&[("source", state.source.name())])?)?;
    }
    Ok(())
}

const FAILING: &str = "1 where getting or taking up a certificate failed last, until it works again";
const WAITING: &str = "1 while a certificate is due and something is awaited, such as a record in the DNS";
const FAILURES: &str = "How often getting or taking up a certificate failed";

/// Name, help, and the value of a source, if it has one.
type Gauge = (&'static str, &'static str, fn(&CertificateState) -> Option<i64>);

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    states: &[CertificateState],
    value: impl Fn(&CertificateState) -> Option<i64>,
) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(0_i64);
    let mut family = encoder.encode_descriptor(name, help, unit, gauge.metric_type())?;
    for state in states {
        if let Some(value) = value(state) {
            ConstGauge::new(value).encode(family.encode_family(&[("source", state.source.name())])?)?;
        }
    }
    Ok(())
}
