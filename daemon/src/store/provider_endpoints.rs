//! The last known hosts of the providers' endpoints, stored so that a restart does not hide a change.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::engine::await_engine;
use super::{Store, StoreError};

/// Hosts by endpoint name in the provider metadata.
pub type EndpointHosts = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedEndpoints {
    pub issuer: String,
    pub hosts: EndpointHosts,
    /// When the hosts last changed, and the hosts before.
    pub changed: Option<(Timestamp, EndpointHosts)>,
}

impl Store {
    pub async fn provider_endpoints(
        &self,
        provider: &str,
    ) -> Result<Option<RememberedEndpoints>, StoreError> {
        await_engine!(self, engine => engine.provider_endpoints(provider))
    }

    pub async fn remember_provider_endpoints(
        &self,
        provider: String,
        endpoints: RememberedEndpoints,
    ) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.remember_provider_endpoints(provider, endpoints))
    }
}
