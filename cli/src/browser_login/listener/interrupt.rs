//! Ctrl-C, a closing terminal, and termination requests of a process manager.

use std::process;
use std::sync::mpsc::Sender;

use super::Event;
use crate::failure::Exit;

/// Sends the first interrupt to the sign-in, which then ends. A second one exits the program. Does not return.
#[expect(clippy::disallowed_methods, reason = "a second interrupt exits at once, without destructors")]
pub(super) async fn forward(mut interrupts: Interrupts, events: Sender<Event>) {
    interrupts.next().await;
    // Sending fails if the sign-in has already ended. Its result then counts.
    let _ = events.send(Event::Interrupted);
    interrupts.next().await;
    process::exit(Exit::Interrupted as i32);
}

/// Signal handlers, active from the creation of this value.
#[cfg(unix)]
pub(super) struct Interrupts(Vec<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Interrupts {
    /// Must be called within a runtime.
    pub(super) fn listen() -> Self {
        use infra_shared::signals::is_hangup_ignored;
        use tokio::signal::unix::{SignalKind, signal};

        let hangup = (!is_hangup_ignored()).then(SignalKind::hangup);
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()].into_iter().chain(hangup);
        Self(kinds.filter_map(|kind| signal(kind).ok()).collect())
    }

    async fn next(&mut self) {
        std::future::poll_fn(|context| {
            let came = self.0.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if came { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

#[cfg(not(unix))]
pub(super) struct Interrupts;

#[cfg(not(unix))]
impl Interrupts {
    /// Must be called within a runtime.
    pub(super) fn listen() -> Self {
        Self
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
