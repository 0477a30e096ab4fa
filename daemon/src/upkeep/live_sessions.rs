//! The cached number of live sessions for metrics, because counting a million takes longer than a scrape may.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sessions::Sessions;

/// The number at the last count. Clones share it.
#[derive(Clone, Default)]
pub struct LiveSessions(Arc<AtomicU64>);

impl LiveSessions {
    pub fn last(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts the sessions. On failure, the number stays as it was.
    pub(super) async fn count(&self, sessions: &Sessions) {
        if let Ok(count) = sessions.count_live().await {
            self.0.store(count, Ordering::Relaxed);
        }
    }
}
