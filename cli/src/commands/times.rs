//! Times as people read them.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ZonedDateTime};

use crate::terminal::Terminal;

/// A difference of clocks that the user is told of, in seconds.
pub(super) const SKEW_TOLD: i64 = 60;

/// What is left, as `3 h 59 min`, `4 min` or `30 s`.
pub(super) fn left(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match (seconds / 3600, seconds % 3600 / 60, seconds) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, _) => format!("{minutes} min"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// A moment on the local clock: the time of day, and the date where it is not today.
pub(super) fn local(moment: Timestamp, now: Timestamp) -> String {
    let zone = TimeZone::system();
    let (moment, now) = (ZonedDateTime::new(moment, zone.clone()), ZonedDateTime::new(now, zone));
    let format = if moment.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    moment.strftime(format).to_string()
}

/// The daemon's time, by the local clock and its known offset.
pub(super) fn daemon_time(now: Timestamp, offset_seconds: i64) -> Timestamp {
    now.checked_add(SignedDuration::from_secs(offset_seconds)).unwrap_or(now)
}

/// How much the daemon's clock is ahead of the local one.
pub(super) fn offset(daemon: Timestamp, local: Timestamp) -> i64 {
    daemon.duration_since(local).as_secs()
}

/// Tells of a difference of clocks: with a local clock that is wrong, every time that is shown is wrong.
pub(super) fn tell_skew(offset_seconds: i64, terminal: Terminal) {
    if offset_seconds.abs() > SKEW_TOLD {
        let difference = left(SignedDuration::from_secs(offset_seconds.abs()));
        let direction = direction(offset_seconds);
        terminal.warn(&format!("the clock of this machine is {difference} {direction} the server's"));
    }
}

/// Where the local clock stands, with the daemon's ahead by this much.
pub(super) fn direction(offset_seconds: i64) -> &'static str {
    if offset_seconds > 0 { "behind" } else { "ahead of" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_in_two_units_at_most() {
        for (seconds, text) in [
            (14_392, "3 h 59 min"),
            (3600, "1 h 0 min"),
            (3599, "59 min"),
            (60, "1 min"),
            (59, "59 s"),
            (-5, "0 s"),
        ] {
            assert_eq!(left(SignedDuration::from_secs(seconds)), text);
        }
    }
}
