//! Ctrl-C, a terminal that closes, and the wish of a process manager that the program ends.

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
    let hangup = async {
        let hangup = if is_hangup_ignored() { None } else { signal(SignalKind::hangup()).ok() };
        match hangup {
            Some(mut hangup) => hangup.recv().await,
            None => std::future::pending().await,
        };
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        () = hangup => {}
    }
}

/// Whether whoever started this process wants it to outlive the terminal, as `nohup` does. Told where there is `/proc`.
#[cfg(unix)]
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    // SIGHUP is 1, the lowest bit.
    ignored & 1 == 1
}

#[cfg(not(unix))]
async fn next() {
    let _ = tokio::signal::ctrl_c().await;
}
