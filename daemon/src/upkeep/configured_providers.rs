//! Revokes the sessions whose provider or user left the configuration: at start, and once the last member that lists the
//! provider has stopped.

use crate::sessions::Sessions;
use crate::store::{ProviderChange, ProviderRow, Store, StoreError};

/// The providers of this daemon's configuration.
pub struct ConfiguredProviders {
    store: Store,
    rows: Vec<ProviderRow>,
}

impl ConfiguredProviders {
    pub fn new(store: Store, rows: Vec<ProviderRow>) -> Self {
        Self { store, rows }
    }

    /// Revokes what no running daemon admits, then stores the configured providers.
    pub async fn apply(&self, sessions: &Sessions) -> Result<(), StoreError> {
        let compared = self.store.compare_providers(&self.rows).await?;
        self.revoke(compared.change, sessions).await?;
        // Last, so that a start that fails before this point repeats the check.
        self.store.replace_providers(self.rows.clone(), &compared).await
    }

    /// Revokes what only members admitted that have stopped since. Two members may do the same at the same time: each
    /// session ends once.
    pub(super) async fn follow_members(&self, sessions: &Sessions) -> Result<(), StoreError> {
        if !self.store.is_shared() {
            return Ok(());
        }
        let compared = self.store.compare_providers(&self.rows).await?;
        self.revoke(compared.change, sessions).await?;
        if compared.settles_any() {
            self.store.replace_providers(self.rows.clone(), &compared).await?;
        }
        Ok(())
    }

    async fn revoke(&self, change: ProviderChange, sessions: &Sessions) -> Result<(), StoreError> {
        match change {
            ProviderChange::None => {}
            ProviderChange::ListedByOther => tracing::debug!(
                "another member lists providers that this configuration does not: their sessions stay until it stops"
            ),
            ProviderChange::Left => {
                let revoked = sessions.revoke_outside_configuration().await?;
                tracing::info!(
                    revoked,
                    "the providers changed: revoked the sessions that the configuration no longer admits"
                );
            }
        }
        Ok(())
    }
}
