//! The last known hosts of the providers' endpoints, stored so that a restart does not hide a change.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Hosts by endpoint name in the provider metadata.
pub type EndpointHosts = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedEndpoints {
    pub issuer: String,
    pub hosts: EndpointHosts,
    /// When the hosts last changed, and the hosts before.
    pub changed: Option<(Timestamp, EndpointHosts)>,
}
