//! Notifies the service manager's watchdog while the daemon's threads run and its store responds.

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

use super::ticks;
use crate::platform::ServiceManager;
use crate::store::Store;

/// Notifies twice per watchdog interval while the store responds. An error counts as a response, because a restart
/// would not free disk space. A database of several daemons is not waited for: a restart would not bring it back.
pub(super) async fn keep_alive(store: Store) {
    let Some(period) = ServiceManager::watchdog_interval().map(|allowed| allowed / 2) else { return };
    let mut ticks = ticks(period.max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        let (store, runtime) = (store.clone(), Handle::current());
        // Not on the threads of the runtime, which a store that hangs would occupy.
        let asking = tokio::task::spawn_blocking(move || {
            if store.is_shared() { Ok(()) } else { runtime.block_on(store.check()) }
        });
        match timeout(period, asking).await {
            Ok(Ok(_)) => ServiceManager::alive(),
            _ => {
                tracing::error!("the store does not respond: skipped the watchdog notification to systemd");
            }
        }
    }
}
