//! The last known hosts of the providers' endpoints, as JSON.

use rusqlite::{OptionalExtension, params};

use super::Sqlite;
use crate::store::{EndpointHosts, RememberedEndpoints, StoreError, time};

impl Sqlite {
    pub(in crate::store) async fn provider_endpoints(
        &self,
        provider: &str,
    ) -> Result<Option<RememberedEndpoints>, StoreError> {
        let row = self
            .connections
            .look_up(|reader| {
                let mut select = reader.prepare_cached(
                "SELECT issuer, hosts, changed_at, hosts_before FROM provider_endpoints WHERE provider = ?1",
            )?;
                Ok(select
                    .query_row([provider], |row| {
                        Ok((
                            row.get::<_, String>(0)?,
                            row.get::<_, String>(1)?,
                            row.get::<_, Option<i64>>(2)?,
                            row.get::<_, Option<String>>(3)?,
                        ))
                    })
                    .optional()?)
            })
            .await?;
        let Some((issuer, hosts, changed_at, before)) = row else { return Ok(None) };
        let changed = match (changed_at, before) {
            (Some(at), Some(before)) => Some((time::from_database(at)?, read(&before)?)),
            _ => None,
        };
        Ok(Some(RememberedEndpoints { issuer, hosts: read(&hosts)?, changed }))
    }

    pub(in crate::store) async fn remember_provider_endpoints(
        &self,
        provider: String,
        endpoints: RememberedEndpoints,
    ) -> Result<(), StoreError> {
        let write = |hosts: &EndpointHosts| serde_json::to_string(hosts).expect("texts are JSON");
        let (hosts, changed) = (write(&endpoints.hosts), endpoints.changed);
        let changed_at = changed.as_ref().map(|(at, _)| time::to_database(*at));
        let before = changed.as_ref().map(|(_, before)| write(before));
        self.connections
            .write(move |transaction| {
                transaction
                    .prepare_cached(
                        "INSERT OR REPLACE INTO provider_endpoints (provider, issuer, hosts, changed_at, hosts_before) \
                         VALUES (?1, ?2, ?3, ?4, ?5)",
                    )?
                    .execute(params![provider, endpoints.issuer, hosts, changed_at, before])?;
                Ok(())
            })
            .await
    }
}

fn read(hosts: &str) -> Result<EndpointHosts, StoreError> {
    serde_json::from_str(hosts).map_err(|_| StoreError::UnexpectedRow("the hosts of a provider"))
}
