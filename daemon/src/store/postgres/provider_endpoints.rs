//! The last known hosts of the providers' endpoints, as JSON.

use super::Postgres;
use super::named_rows::NamedRow;
use super::transactions::in_transaction;
use crate::store::{RememberedEndpoints, StoreError};

pub(super) const ENDPOINTS: NamedRow = NamedRow { table: "provider_endpoints", key: "provider_key" };

impl Postgres {
    pub(in crate::store) async fn provider_endpoints(
        &self,
        provider: &str,
    ) -> Result<Option<RememberedEndpoints>, StoreError> {
        let Some(opened) = ENDPOINTS.find(self, provider).await? else { return Ok(None) };
        serde_json::from_slice(&opened).map_err(|_| StoreError::UnexpectedRow("the hosts of a provider"))
    }

    pub(in crate::store) async fn remember_provider_endpoints(
        &self,
        provider: String,
        endpoints: RememberedEndpoints,
    ) -> Result<(), StoreError> {
        let keys = &*self.rows;
        let hosts = serde_json::to_vec(&endpoints).expect("texts are JSON");
        in_transaction!(self, transaction => ENDPOINTS.save(&transaction, keys, &provider, &hosts).await)
    }
}
