//! What systemd is told (sd_notify(3)); nothing, and nobody minds, where the daemon was started by something else.

use std::time::Duration;

use sd_notify::NotifyState;

/// How much longer than a pause a step of the start may take before systemd gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whoever started the daemon.
pub struct ServiceManager;

impl ServiceManager {
    /// Users are served.
    pub fn ready() {
        notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
    }

    /// The start waits for something, and looks again after `pause`.
    pub fn waiting(cause: &str, pause: Duration) {
        let patience = u32::try_from((pause + PATIENCE).as_micros()).unwrap_or(u32::MAX);
        // A line is a statement of its own: a cause with a line feed in it must not make one.
        let status = format!("waiting: {}", cause.replace(char::is_control, " "));
        notify(&[NotifyState::Status(&status), NotifyState::ExtendTimeoutUsec(patience)]);
    }

    /// What can be is read anew; [`Self::ready`] follows.
    pub fn reloading() {
        let Ok(now) = NotifyState::monotonic_usec_now() else { return };
        notify(&[NotifyState::Reloading, now]);
    }

    /// No new work is taken.
    pub fn stopping() {
        notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    /// The daemon works, as it has to say again within [`Self::watchdog_interval`].
    pub fn alive() {
        notify(&[NotifyState::Watchdog]);
    }

    /// How long the daemon may be silent before it is started anew (`WatchdogSec=`); `None` where nobody watches.
    pub fn watchdog_interval() -> Option<Duration> {
        sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero())
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
