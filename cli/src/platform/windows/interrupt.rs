//! Ctrl-C, Ctrl-Break and a closing console.

use std::future::poll_fn;
use std::task::Poll;

use tokio::signal::windows::{CtrlBreak, CtrlC, CtrlClose, ctrl_break, ctrl_c, ctrl_close};

/// Handlers, active from the creation of this value.
pub(crate) struct Interrupts {
    c: Option<CtrlC>,
    r#break: Option<CtrlBreak>,
    close: Option<CtrlClose>,
}

impl Interrupts {
    /// Must be called within a runtime.
    pub(crate) fn listen() -> Self {
        Self { c: ctrl_c().ok(), r#break: ctrl_break().ok(), close: ctrl_close().ok() }
    }

    pub(crate) async fn next(&mut self) {
        poll_fn(|context| {
            // Each is polled, so that each wakes this task.
            let came = [
                self.c.as_mut().is_some_and(|signal| signal.poll_recv(context).is_ready()),
                self.r#break.as_mut().is_some_and(|signal| signal.poll_recv(context).is_ready()),
                self.close.as_mut().is_some_and(|signal| signal.poll_recv(context).is_ready()),
            ];
            if came.contains(&true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
