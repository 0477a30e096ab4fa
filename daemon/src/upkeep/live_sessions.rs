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

    /// Counts the sessions on a blocking thread. On failure, the number stays as it was.
    pub(super) async fn count(&self, sessions: Arc<Sessions>) {
        let counted = tokio::task::spawn_blocking(move || sessions.count_live()).await;
        if let Ok(Ok(count)) = counted {
            self.0.store(count, Ordering::Relaxed);
        }
    }
}
