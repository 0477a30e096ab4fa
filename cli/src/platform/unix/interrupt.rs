//! Ctrl-C, a closing terminal, and termination requests of a process manager.

use std::future::poll_fn;
use std::task::Poll;

use infra_shared::signals::is_hangup_ignored;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signal handlers, active from the creation of this value.
pub(crate) struct Interrupts(Vec<Signal>);

impl Interrupts {
    /// Must be called within a runtime.
    pub(crate) fn listen() -> Self {
        let hangup = (!is_hangup_ignored()).then(SignalKind::hangup);
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()].into_iter().chain(hangup);
        Self(kinds.filter_map(|kind| signal(kind).ok()).collect())
    }

    pub(crate) async fn next(&mut self) {
        poll_fn(|context| {
            let came = self.0.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if came { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
