//! Restarts background tasks that panic. A panic is reported and affects no other task.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::audit::{Audit, Event};

/// The pause before a restart. Each pause is twice the previous one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Reports failures of tasks. Clones share the count.
#[derive(Clone)]
pub struct Supervision {
    audit: Audit,
    failures: Arc<AtomicU64>,
    first_pause: Duration,
}

impl Supervision {
    pub fn new(audit: Audit) -> Self {
        Self { audit, failures: Arc::default(), first_pause: FIRST_PAUSE }
    }

    /// Returns the number of panics since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Runs `work` until it completes. A panic is logged, counted and audited, and `work` restarts after a pause.
    /// Dropping this future stops the task.
    pub(super) async fn keep_running<F: Future<Output = ()> + Send + 'static>(
        &self,
        task: &'static str,
        mut work: impl FnMut() -> F,
    ) {
        let mut pause = self.first_pause;
        loop {
            let started = Instant::now();
            // Aborts the task when dropped.
            let mut running = JoinSet::new();
            running.spawn(work());
            match running.join_next().await {
                Some(Err(error)) if error.is_panic() => {}
                _ => return,
            }
            if started.elapsed() > LONGEST_PAUSE {
                pause = self.first_pause;
            }
            self.failures.fetch_add(1, Ordering::Relaxed);
            self.audit.record(&Event::TaskFailed { task });
            tracing::error!(
                task,
                retry_in_seconds = pause.as_secs(),
                "a background task panicked and was restarted: please report this bug"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panicking_task_is_counted_and_restarted() {
        let supervision =
            Supervision { first_pause: Duration::from_millis(1), ..Supervision::new(Audit::none()) };
        let mut runs = 0;
        let work = || {
            runs += 1;
            let run = runs;
            async move { assert!(run == 4, "a fault") }
        };
        supervision.keep_running("a test", work).await;
        assert_eq!((runs, supervision.failures()), (4, 3));
    }

    #[tokio::test]
    async fn task_ends_with_its_supervision() {
        struct Alive(tokio::sync::mpsc::Sender<()>);
        let (alive, mut ended) = tokio::sync::mpsc::channel(1);
        let supervision = Supervision::new(Audit::none());
        let supervising = tokio::spawn(async move {
            let work = || {
                let alive = Alive(alive.clone());
                async move {
                    let _ = alive.0.send(()).await;
                    std::future::pending::<()>().await;
                }
            };
            supervision.keep_running("a test", work).await;
        });
        assert_eq!(ended.recv().await, Some(()), "it runs");
        supervising.abort();
        assert_eq!(ended.recv().await, None, "it was dropped");
    }
}
