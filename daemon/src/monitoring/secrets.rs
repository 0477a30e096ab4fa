//! Reads of client secrets by purpose.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;

use crate::secrets::{Backends, ReadReason};

#[derive(Debug)]
pub(super) struct SecretReads(pub(super) Backends);

impl Collector for SecretReads {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        const HELP: &str = "How often client secrets were read";
        let counter = ConstCounter::new(0_u64);
        let mut reads = encoder.encode_descriptor("secret_reads", HELP, None, counter.metric_type())?;
        for reason in ReadReason::ALL {
            let counter = ConstCounter::new(self.0.reads(reason));
            counter.encode(reads.encode_family(&[("purpose", reason.name())])?)?;
        }
        Ok(())
    }
}
