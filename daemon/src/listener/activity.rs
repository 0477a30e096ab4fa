//! What a connection is doing, so that one that does nothing can be ended, and one that is in the way be cut off.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::ListenerLimits;

/// Of one connection, seen by all who decide about it.
pub(super) struct Activity {
    doing: Mutex<Doing>,
    /// Somebody else needs the place more.
    cut: Notify,
    /// It has had all the requests that it may have.
    spent: Notify,
    /// One request after the other: a head that began has to end soon. Streams of HTTP/2 are not seen from outside.
    is_serial: AtomicBool,
}

struct Doing {
    /// Since when it does nothing, or its peer sends a head.
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

    /// HTTP begins. The head of a first request is awaited, by a peer that came to send one.
    pub(super) fn begin(&self, is_serial: bool) {
        self.is_serial.store(is_serial, Ordering::Relaxed);
        let mut doing = self.doing();
        (doing.since, doing.sends_a_head) = (Instant::now(), true);
    }

    /// Bytes came.
    pub(super) fn heard(&self) {
        if !self.is_serial.load(Ordering::Relaxed) {
            return;
        }
        let mut doing = self.doing();
        if doing.being_answered == 0 && !doing.sends_a_head {
            (doing.since, doing.sends_a_head) = (Instant::now(), true);
        }
    }

    /// A request is being answered while the value lives.
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

    /// Since when it only waits for its peer; `None` while requests of it are being answered.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        let doing = self.doing();
        (doing.being_answered == 0).then_some(doing.since)
    }

    /// Ends it, wherever it is.
    pub(super) fn cut_off(&self) {
        self.cut.notify_one();
    }

    pub(super) async fn is_cut_off(&self) {
        self.cut.notified().await;
    }

    pub(super) async fn is_spent(&self) {
        self.spent.notified().await;
    }

    /// Done once the peer has kept it waiting for too long.
    pub(super) async fn is_overdue(&self, limits: &ListenerLimits) {
        loop {
            let Some(end) = self.deadline(limits) else {
                // What is being answered has a limit of its own, and is looked at again afterwards.
                tokio::time::sleep(limits.idle.min(limits.request_head)).await;
                continue;
            };
            if Instant::now() >= end {
                return;
            }
            // What it does next may have less time.
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

/// A request that is being answered.
pub(super) struct Answering {
    activity: Arc<Activity>,
    /// There will be no other on its connection.
    pub(super) is_last: bool,
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut doing = self.activity.doing();
        doing.being_answered = doing.being_answered.saturating_sub(1);
        doing.since = Instant::now();
    }
}
