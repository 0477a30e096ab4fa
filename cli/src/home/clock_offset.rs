//! Offset between a server's clock and the local clock. It is valid until the local clock is set.

use infra_shared::clock::{Clock, SystemClock};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::platform;

/// Seconds by which the local clock may be corrected before the offset becomes invalid.
const TOLERANCE: i64 = 60;
/// Seconds that network latency may add to a measurement.
const PRECISION: i64 = 1;

/// An offset, with the state of the local clock that it was measured by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClockOffset {
    #[serde(default, rename = "clockOffsetSeconds")]
    seconds: i64,
    /// Boot time by the clock at the measurement. It changes if the clock is set or the machine reboots. `None` if the
    /// system does not report its uptime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot_time: Option<i64>,
}

impl ClockOffset {
    /// Measures the offset of a server that showed `daemon` when the local clock showed `local`.
    pub fn measure(daemon: Timestamp, local: Timestamp) -> Self {
        Self { seconds: daemon.duration_since(local).as_secs(), boot_time: boot_time() }
    }

    /// The offset, or 0 if the local clock was set since the measurement.
    pub fn seconds(self) -> i64 {
        if self.holds_at(boot_time()) { self.seconds } else { 0 }
    }

    /// The offset, if the local clock is known to run as at the measurement: neither set nor restarted since.
    pub fn known_seconds(self) -> Option<i64> {
        let boot_time = boot_time().filter(|_| self.boot_time.is_some());
        (boot_time.is_some() && self.holds_at(boot_time)).then_some(self.seconds)
    }

    /// The server's time when the local clock shows `now`.
    pub fn daemon_time(self, now: Timestamp) -> Timestamp {
        now.checked_add(SignedDuration::from_secs(self.seconds())).unwrap_or(now)
    }

    /// Whether `other` is about the same offset of the same clock.
    pub fn is_about(self, other: Self) -> bool {
        (self.seconds - other.seconds).abs() <= PRECISION && self.holds_at(other.boot_time)
    }

    fn holds_at(self, boot_time: Option<i64>) -> bool {
        match (self.boot_time, boot_time) {
            (Some(then), Some(now)) => (then - now).abs() <= TOLERANCE,
            _ => true,
        }
    }

    /// An offset that is valid for every clock.
    #[cfg(test)]
    pub fn fixed(seconds: i64) -> Self {
        Self { seconds, boot_time: None }
    }
}

/// Boot time in seconds, by the current clock.
fn boot_time() -> Option<i64> {
    Some(SystemClock.now().as_second() - platform::uptime()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_is_valid_until_local_clock_is_set() {
        let measured = ClockOffset { seconds: 7200, boot_time: Some(1_000_000) };
        for (started, holds) in [
            (Some(1_000_000), true),
            (Some(1_000_060), true),
            (Some(999_900), false),
            (Some(1_864_000), false),
            (None, true),
        ] {
            assert_eq!(measured.holds_at(started), holds, "{started:?}");
        }
        assert!(ClockOffset { boot_time: None, ..measured }.holds_at(Some(5)));
    }
}
