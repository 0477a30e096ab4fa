//! Ctrl-C, and the wish of a process manager that the program ends.

use std::process;
use std::sync::mpsc::Sender;

use super::Arrival;
use crate::failure::Exit;

/// Tells the first interrupt to the login, which ends in its own way; does not return. A second one ends the program.
#[expect(clippy::disallowed_methods, reason = "who interrupts twice does not wait for destructors")]
pub(super) async fn tell(arrivals: Sender<Arrival>) {
    next().await;
    // The login may be over by now, or wait for the daemon: then its end is what counts.
    let _ = arrivals.send(Arrival::Interrupted);
    next().await;
    process::exit(Exit::Interrupted as i32);
}

#[cfg(unix)]
async fn next() {
    use tokio::signal::unix::{SignalKind, signal};

    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn next() {
    let _ = tokio::signal::ctrl_c().await;
}
