//! Request metrics: counts by method, route and status, and durations by method and route.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;

use crate::listener::RouteCounts;

const REQUESTS: &str = "Requests that were answered";
const TIMES: &str = "From the head of a request to that of its answer";

pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, routes: &[RouteCounts]) -> Result<(), fmt::Error> {
    let mut requests = encoder.encode_descriptor("http_requests", REQUESTS, None, MetricType::Counter)?;
    for route in routes {
        let [method, path] = labels(route);
        for (status, count) in &route.statuses {
            let status = status.to_string();
            let labels = [method, path, ("status", status.as_str())];
            ConstCounter::new(*count).encode(requests.encode_family(&labels)?)?;
        }
    }
    let name = "http_request_duration";
    let mut times = encoder.encode_descriptor(name, TIMES, Some(&Unit::Seconds), MetricType::Histogram)?;
    for route in routes {
        Times(route).encode(times.encode_family(&labels(route))?)?;
    }
    Ok(())
}

/// All unknown routes share one label, so that clients cannot create more series.
fn labels(counts: &RouteCounts) -> [(&'static str, &'static str); 2] {
    let (method, path) = counts.route.map_or(("other", "other"), |route| (route.method, route.path));
    [("method", method), ("route", path)]
}

struct Times<'a>(&'a RouteCounts);

impl EncodeMetric for Times<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let within: u64 = self.0.times.iter().map(|(_, count)| count).sum();
        let beyond = (f64::INFINITY, self.0.count.saturating_sub(within));
        let times: Vec<(f64, u64)> = self.0.times.iter().copied().chain([beyond]).collect();
        encoder.encode_histogram::<NoLabelSet>(self.0.seconds, self.0.count, &times, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
