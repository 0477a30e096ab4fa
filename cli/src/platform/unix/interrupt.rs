//! Ctrl-C, a closing terminal, and termination requests of a process manager.

use std::future::poll_fn;
use std::task::Poll;

use infra_shared::signals::{is_hangup_ignored, is_stop_ignored};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::keyboard::{self, CUTS_LINES};

/// Signal handlers, active from the creation of this value.
pub(crate) struct Interrupts {
    ending: Vec<Signal>,
    /// Ctrl-Z, if the terminal's settings may have to be restored first.
    stopping: Option<Signal>,
}

impl Interrupts {
    /// Must be called within a runtime.
    pub(crate) fn listen() -> Self {
        let hangup = (!is_hangup_ignored()).then(SignalKind::hangup);
        // Otherwise, Ctrl-\ ends this process at once.
        let quit = CUTS_LINES.then(SignalKind::quit);
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()].into_iter().chain(hangup).chain(quit);
        let stop = (CUTS_LINES && !is_stop_ignored()).then(|| SignalKind::from_raw(STOP));
        Self {
            ending: kinds.filter_map(|kind| signal(kind).ok()).collect(),
            stopping: stop.and_then(|kind| signal(kind).ok()),
        }
    }

    pub(crate) async fn next(&mut self) {
        poll_fn(|context| {
            while let Some(stopping) = &mut self.stopping
                && stopping.poll_recv(context) == Poll::Ready(Some(()))
            {
                keyboard::stop();
            }
            let came = self.ending.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if came { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

const STOP: i32 = rustix::process::Signal::TSTP.as_raw();
