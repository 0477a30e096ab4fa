//! Tracks what a connection does, so that idle connections can be closed and obstructive ones evicted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::ListenerLimits;

/// Activity of one connection, shared by all tasks that may end it.
pub(super) struct Activity {
    doing: Mutex<Doing>,
    /// Signals eviction.
    cut: Notify,
    /// Signals that the connection reached its request limit.
    spent: Notify,
    /// HTTP/1: a head that has begun must end soon. HTTP/2 streams are not visible at this layer.
    is_serial: AtomicBool,
}

struct Doing {
    /// Start of the idle period, or of the head that the peer is sending.
    since: Instant,
    sends_a_head: bool,
    being_answered: usize,
    answered: usize,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            doing: Mutex::new(Doing {
                since: Instant::now(),
                sends_a_head: false,
                being_answered: 0,
                answered: 0,
            }),
            cut: Notify::new(),
            spent: Notify::new(),
            is_serial: AtomicBool::new(false),
        })
    }

    /// HTTP begins. The first request's head is due now.
    pub(super) fn begin(&self, is_serial: bool) {
        self.is_serial.store(is_serial, Ordering::Relaxed);
        let mut doing = self.doing();
        (doing.since, doing.sends_a_head) = (Instant::now(), true);
    }

    /// Records that bytes arrived.
    pub(super) fn heard(&self) {
        if !self.is_serial.load(Ordering::Relaxed) {
            return;
        }
        let mut doing = self.doing();
        if doing.being_answered == 0 && !doing.sends_a_head {
            (doing.since, doing.sends_a_head) = (Instant::now(), true);
        }
    }

    /// Records that a request is being answered, until the value is dropped.
    pub(super) fn answering(self: &Arc<Self>, at_most: usize) -> Answering {
        let mut doing = self.doing();
        doing.being_answered += 1;
        doing.answered += 1;
        doing.sends_a_head = false;
        let is_last = doing.answered >= at_most;
        drop(doing);
        if is_last {
            self.spent.notify_one();
        }
        Answering { activity: self.clone(), is_last }
    }

    /// Start of the wait for the peer; `None` while requests are being answered.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        let doing = self.doing();
        (doing.being_answered == 0).then_some(doing.since)
    }

    /// Evicts the connection in any state.
    pub(super) fn cut_off(&self) {
        self.cut.notify_one();
    }

    pub(super) async fn is_cut_off(&self) {
        self.cut.notified().await;
    }

    pub(super) async fn is_spent(&self) {
        self.spent.notified().await;
    }

    /// Resolves once the peer exceeds the idle or head timeout.
    pub(super) async fn is_overdue(&self, limits: &ListenerLimits) {
        loop {
            let Some(end) = self.deadline(limits) else {
                // A request in flight has its own timeout. Check again afterwards.
                tokio::time::sleep(limits.idle.min(limits.request_head)).await;
                continue;
            };
            if Instant::now() >= end {
                return;
            }
            // The next state may have a shorter timeout.
            let soonest = Instant::now() + limits.idle.min(limits.request_head);
            tokio::time::sleep_until(end.min(soonest)).await;
        }
    }

    fn deadline(&self, limits: &ListenerLimits) -> Option<Instant> {
        let doing = self.doing();
        let patience = if doing.sends_a_head { limits.request_head } else { limits.idle };
        (doing.being_answered == 0).then(|| doing.since + patience)
    }

    fn doing(&self) -> MutexGuard<'_, Doing> {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request in flight.
pub(super) struct Answering {
    activity: Arc<Activity>,
    /// Whether it is the last request on its connection.
    pub(super) is_last: bool,
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut doing = self.activity.doing();
        doing.being_answered = doing.being_answered.saturating_sub(1);
        doing.since = Instant::now();
    }
}
