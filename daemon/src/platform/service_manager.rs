//! Notifies systemd (sd_notify(3)). Does nothing if another program started the daemon.

use std::time::Duration;

use sd_notify::NotifyState;

/// Extra time for a step of the start before systemd gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The service manager that started the daemon, if any.
pub struct ServiceManager;

impl ServiceManager {
    /// Reports that the daemon serves requests.
    pub fn ready() {
        notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
    }

    /// Reports that the start waits for `cause` and retries after `pause`.
    pub fn waiting(cause: &str, pause: Duration) {
        let patience = u32::try_from((pause + PATIENCE).as_micros()).unwrap_or(u32::MAX);
        // Each line is a separate statement, so a line feed in the cause must not create one.
        let status = format!("waiting: {}", cause.replace(char::is_control, " "));
        notify(&[NotifyState::Status(&status), NotifyState::ExtendTimeoutUsec(patience)]);
    }

    /// Reports a reload. [`Self::ready`] follows.
    pub fn reloading() {
        let Ok(now) = NotifyState::monotonic_usec_now() else { return };
        notify(&[NotifyState::Reloading, now]);
    }

    /// Reports that the daemon accepts no new work.
    pub fn stopping() {
        notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    /// Reports that the daemon works. Must be repeated within [`Self::watchdog_interval`].
    pub fn alive() {
        notify(&[NotifyState::Watchdog]);
    }

    /// How long the daemon may be silent before systemd restarts it (`WatchdogSec=`). `None` without a watchdog.
    pub fn watchdog_interval() -> Option<Duration> {
        sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero())
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "cannot notify the service manager");
    }
}
