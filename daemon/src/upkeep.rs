//! What the daemon does by itself while it runs: drops what has expired, renews its certificate.

use std::sync::Arc;
use std::time::Duration;

use infra_shared::clock::Clock;

use crate::store::Store;
use crate::tls::LocalAuthority;

/// How often is looked whether something is due.
const INTERVAL: Duration = Duration::from_mins(1);

/// Looks after the store and the certificate until it is dropped. A failure is logged and tried again at the next turn.
pub async fn run(store: Store, authority: Arc<LocalAuthority>, clock: Arc<dyn Clock>) {
    let mut turns = tokio::time::interval(INTERVAL);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        match store.purge(clock.now()).await {
            Ok(0) => {}
            Ok(count) => tracing::debug!(count, "dropped sessions that ended long ago"),
            Err(error) => tracing::error!(%error, "cannot drop what has expired"),
        }
        match authority.renew_leaf_if_due().await {
            Ok(false) => {}
            Ok(true) => tracing::info!("renewed the certificate"),
            Err(error) => {
                tracing::error!(%error, "cannot renew the certificate: the old one goes on serving");
            }
        }
    }
}
