//! How much a server's clock is ahead of the local one. It holds for the clock that it was measured by, until that is set.

use infra_shared::clock::{Clock, SystemClock};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Seconds by which the local clock may be corrected before what was measured by it counts no more.
const TOLERANCE: i64 = 60;
/// Seconds that the network may add to a measurement.
const PRECISION: i64 = 1;

/// An offset, and the clock that it was measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClockOffset {
    #[serde(rename = "clockOffsetSeconds")]
    seconds: i64,
    /// When the machine started, by its clock then: another value once the clock is set, or the machine restarted. `None`
    /// where the system does not say for how long it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine_started: Option<i64>,
}

impl ClockOffset {
    /// Of a server that shows `daemon` while the local clock shows `local`, just now.
    pub fn measure(daemon: Timestamp, local: Timestamp) -> Self {
        Self { seconds: daemon.duration_since(local).as_secs(), machine_started: machine_started() }
    }

    /// 0 where the local clock was set since: it was wrong then, or is now, and only the server knows.
    pub fn seconds(self) -> i64 {
        if self.holds_at(machine_started()) { self.seconds } else { 0 }
    }

    /// The server's time, when the local clock shows `now`.
    pub fn daemon_time(self, now: Timestamp) -> Timestamp {
        now.checked_add(SignedDuration::from_secs(self.seconds())).unwrap_or(now)
    }

    /// Whether `other` says the same of the same clock.
    pub fn is_about(self, other: Self) -> bool {
        (self.seconds - other.seconds).abs() <= PRECISION && self.holds_at(other.machine_started)
    }

    fn holds_at(self, machine_started: Option<i64>) -> bool {
        match (self.machine_started, machine_started) {
            (Some(then), Some(now)) => (then - now).abs() <= TOLERANCE,
            _ => true,
        }
    }

    /// One that holds for every clock.
    #[cfg(test)]
    pub fn fixed(seconds: i64) -> Self {
        Self { seconds, machine_started: None }
    }
}

/// When the machine started, in seconds, by its clock of now.
fn machine_started() -> Option<i64> {
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds: i64 = uptime.split(['.', ' ']).next()?.parse().ok()?;
    Some(SystemClock.now().as_second() - seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_holds_until_the_local_clock_is_set() {
        let measured = ClockOffset { seconds: 7200, machine_started: Some(1_000_000) };
        for (started, holds) in [
            (Some(1_000_000), true),
            (Some(1_000_060), true),
            (Some(999_900), false),
            (Some(1_864_000), false),
            (None, true),
        ] {
            assert_eq!(measured.holds_at(started), holds, "{started:?}");
        }
        assert!(ClockOffset { machine_started: None, ..measured }.holds_at(Some(5)));
    }
}
