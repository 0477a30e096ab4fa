//! Tracks what a connection does, so that idle connections can be closed and obstructive ones evicted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::ListenerLimits;
use super::connection_task::ConnectionTask;
use super::drained_body::UnreadBody;

/// Activity of one connection, shared by all tasks that may end it.
pub(super) struct Activity {
    state: Mutex<State>,
    pub(super) task: Arc<ConnectionTask>,
    /// Signals that the connection reached its request limit.
    request_limit: Notify,
    /// HTTP/1: a head that has begun must end soon. HTTP/2 streams are not visible at this layer.
    is_serial: AtomicBool,
    /// HTTP/1: the body of the request in progress, once its handler has dropped it.
    unread: Mutex<Option<UnreadBody>>,
}

struct State {
    /// Start of the idle period, or of the head that the peer is sending.
    since: Instant,
    receiving_head: bool,
    in_flight: usize,
    responses: usize,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                since: Instant::now(),
                receiving_head: false,
                in_flight: 0,
                responses: 0,
            }),
            task: Arc::default(),
            request_limit: Notify::new(),
            is_serial: AtomicBool::new(false),
            unread: Mutex::default(),
        })
    }

    /// HTTP begins. The first request's head is due now.
    pub(super) fn begin_http(&self, is_serial: bool) {
        self.is_serial.store(is_serial, Ordering::Relaxed);
        let mut state = self.state();
        (state.since, state.receiving_head) = (Instant::now(), true);
    }

    /// Records that bytes arrived.
    pub(super) fn received(&self) {
        if !self.is_serial.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state();
        if state.in_flight == 0 && !state.receiving_head {
            (state.since, state.receiving_head) = (Instant::now(), true);
        }
    }

    /// Records that a request is being answered, until the value is dropped.
    pub(super) fn begin_response(self: &Arc<Self>, at_most: usize) -> ResponseGuard {
        let mut state = self.state();
        state.in_flight += 1;
        state.responses += 1;
        state.receiving_head = false;
        let is_last = state.responses >= at_most;
        drop(state);
        if is_last {
            self.request_limit.notify_one();
        }
        ResponseGuard { activity: self.clone(), is_last }
    }

    pub(super) fn leave_unread(&self, body: UnreadBody) {
        *self.unread.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }

    pub(super) fn take_unread(&self) -> Option<UnreadBody> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Start of the wait for the peer; `None` while requests are being answered.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.in_flight == 0).then_some(state.since)
    }

    pub(super) async fn reached_request_limit(&self) {
        self.request_limit.notified().await;
    }

    /// Resolves once the peer exceeds the idle or head timeout.
    pub(super) async fn overdue(&self, limits: &ListenerLimits) {
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
        let state = self.state();
        let patience = if state.receiving_head { limits.request_head } else { limits.idle };
        (state.in_flight == 0).then(|| state.since + patience)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct ResponseGuard {
    activity: Arc<Activity>,
    is_last: bool,
}

impl ResponseGuard {
    /// Whether it is the last request on its connection. A method, because a block that reads a field captures the field alone,
    /// and the guard would end too early.
    pub(super) fn is_last(&self) -> bool {
        self.is_last
    }
}

impl Drop for ResponseGuard {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.since = Instant::now();
    }
}
