//! How many sessions live, for metrics: counting a million takes longer than those who measure wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use crate::store::Store;

/// The number as it was at the last turn. Clones are the same number.
#[derive(Clone, Default)]
pub struct LiveSessions(Arc<AtomicU64>);

impl LiveSessions {
    pub fn last(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts anew, away from the threads that serve requests. What cannot be counted stays as it was.
    pub(super) async fn count(&self, store: Store, now: Timestamp) {
        let counted = tokio::task::spawn_blocking(move || store.count_live_sessions(now)).await;
        if let Ok(Ok(count)) = counted {
            self.0.store(count, Ordering::Relaxed);
        }
    }
}
