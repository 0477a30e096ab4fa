//! Lets the service manager know that the daemon works: that its threads run, and that its store answers.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::platform::ServiceManager;
use crate::store::Store;

/// Says so twice in each interval that there is, for as long as it is so. A store that answers with an error does answer:
/// to be started anew would not give a disk more room.
pub(super) async fn keep_alive(store: Store) {
    let Some(period) = ServiceManager::watchdog_interval().map(|allowed| allowed / 2) else { return };
    let mut turns = interval(period.max(Duration::from_millis(1)));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let store = store.clone();
        let asking = tokio::task::spawn_blocking(move || store.check());
        match timeout(period, asking).await {
            Ok(Ok(_)) => ServiceManager::alive(),
            _ => {
                tracing::error!(
                    "the store does not answer: the service manager is not told that all is well"
                );
            }
        }
    }
}
