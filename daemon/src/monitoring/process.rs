//! The standard process metrics under Prometheus's names.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::platform::ProcessUsage;

#[derive(Debug)]
pub(super) struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(usage) = ProcessUsage::now() else { return Ok(()) };
        let gauges = [
            ("resident_memory", "Resident memory", Some(&Unit::Bytes), Some(usage.resident_bytes)),
            ("open_fds", "Open files, connections among them", None, Some(usage.open_files)),
            ("max_fds", "How many files may be open", None, usage.max_open_files),
        ];
        for (name, help, unit, value) in gauges {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
