//! Formats times for people.

use std::sync::LazyLock;

use infra_shared::printable::counted;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ZonedDateTime};

use crate::platform;
use crate::settings;
use crate::terminal::Terminal;

/// Clock offset in seconds from which a warning is shown.
pub(super) const MIN_SKEW_SHOWN: i64 = 60;

const DATED: &str = "%Y-%m-%d at %H:%M %Z";

/// A duration, such as `3 days`, `3 h 59 min`, `4 min` or `30 s`.
pub(super) fn left(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match (seconds / 3600, seconds % 3600 / 60, seconds) {
        (48.., _, seconds) => counted(seconds / 86400, "day"),
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, _) => format!("{minutes} min"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Two durations that differ, with seconds if they would look alike.
pub(super) fn distinct(one: SignedDuration, other: SignedDuration) -> (String, String) {
    let with_seconds = |duration: SignedDuration| match (left(duration), duration.as_secs() % 60) {
        (text, 1..) if (60..48 * 3600).contains(&duration.as_secs()) => {
            format!("{text} {} s", duration.as_secs() % 60)
        }
        (text, _) => text,
    };
    let shown = (left(one), left(other));
    if shown.0 == shown.1 { (with_seconds(one), with_seconds(other)) } else { shown }
}

/// A moment in local time: time of day with zone, and the date unless it is today.
pub(super) fn local(moment: Timestamp, now: Timestamp) -> String {
    local_in(&ZONE, moment, now)
}

/// The same within a sentence: `at 16:02 UTC`, `tomorrow at 16:02 UTC`.
pub(super) fn at(moment: Timestamp, now: Timestamp) -> String {
    in_a_sentence(&local(moment, now))
}

/// A moment with its date, even if it is today.
pub(super) fn dated(moment: Timestamp) -> String {
    ZonedDateTime::new(moment, ZONE.clone()).strftime(DATED).to_string()
}

fn in_a_sentence(local: &str) -> String {
    match local.split_once(" at ") {
        None => format!("at {local}"),
        Some((day, _)) if day.starts_with(|first: char| first.is_ascii_digit()) => format!("on {local}"),
        Some(_) => local.to_owned(),
    }
}

fn local_in(zone: &TimeZone, moment: Timestamp, now: Timestamp) -> String {
    let (moment, now) = (ZonedDateTime::new(moment, zone.clone()), ZonedDateTime::new(now, zone.clone()));
    let format = match moment.date() {
        date if date == now.date() => "%H:%M %Z",
        date if now.date().yesterday().is_ok_and(|yesterday| date == yesterday) => "yesterday at %H:%M %Z",
        date if now.date().tomorrow().is_ok_and(|tomorrow| date == tomorrow) => "tomorrow at %H:%M %Z",
        _ => DATED,
    };
    moment.strftime(format).to_string()
}

/// The user's time zone. Without `TZ`, the machine's zone file is read directly. Looking up its name would read all
/// zones first, which takes longer than everything else.
static ZONE: LazyLock<TimeZone> = LazyLock::new(|| {
    let of_machine = || TimeZone::tzif("", &std::fs::read(platform::TIME_ZONE_FILE?).ok()?).ok();
    let zone = if settings::has_time_zone() { None } else { of_machine() };
    zone.unwrap_or_else(TimeZone::system)
});

/// Warns about a clock offset, because a wrong local clock makes every shown time wrong.
pub(super) fn warn_of_skew(offset_seconds: i64, terminal: Terminal) {
    if offset_seconds.abs() > MIN_SKEW_SHOWN {
        let difference = left(SignedDuration::from_secs(offset_seconds.abs()));
        let direction = direction(offset_seconds);
        terminal.warn(&format!("the clock of this machine is {difference} {direction} the server's"));
    }
}

/// Whether the local clock is behind or ahead of the daemon's, which is ahead by `offset_seconds`.
pub(super) fn direction(offset_seconds: i64) -> &'static str {
    if offset_seconds > 0 { "behind" } else { "ahead of" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moment_shows_zone_and_other_days() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let now = at("2026-11-23T12:00:00Z");
        let tokyo = TimeZone::posix("JST-9").expect("a zone");
        for (moment, utc, there) in [
            ("2026-11-23T13:05:00Z", "13:05 UTC", "22:05 JST"),
            ("2026-11-23T16:00:00Z", "16:00 UTC", "tomorrow at 01:00 JST"),
            ("2026-11-24T00:00:00Z", "tomorrow at 00:00 UTC", "tomorrow at 09:00 JST"),
            ("2026-11-25T14:59:00Z", "2026-11-25 at 14:59 UTC", "2026-11-25 at 23:59 JST"),
            ("2026-11-22T14:59:00Z", "yesterday at 14:59 UTC", "yesterday at 23:59 JST"),
        ] {
            assert_eq!(local_in(&TimeZone::UTC, at(moment), now), utc);
            assert_eq!(local_in(&tokyo, at(moment), now), there);
        }
    }

    #[test]
    fn moment_is_formatted_for_sentences() {
        for (local, sentence) in [
            ("16:02 UTC", "at 16:02 UTC"),
            ("tomorrow at 16:02 UTC", "tomorrow at 16:02 UTC"),
            ("2026-11-25 at 14:59 UTC", "on 2026-11-25 at 14:59 UTC"),
        ] {
            assert_eq!(in_a_sentence(local), sentence);
        }
    }

    #[test]
    fn durations_that_look_alike_get_seconds() {
        let texts = |one, other| distinct(SignedDuration::from_secs(one), SignedDuration::from_secs(other));
        let owned = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(texts(14_392, 14_399), owned("3 h 59 min 52 s", "3 h 59 min 59 s"));
        assert_eq!(texts(14_400, 14_410), owned("4 h", "4 h 10 s"));
        assert_eq!(texts(3600, 7200), owned("1 h", "2 h"));
        assert_eq!(texts(30, 30), owned("30 s", "30 s"));
    }

    #[test]
    fn duration_has_two_units_at_most() {
        for (seconds, text) in [
            (172_800, "2 days"),
            (172_799, "47 h 59 min"),
            (14_392, "3 h 59 min"),
            (3600, "1 h"),
            (3599, "59 min"),
            (60, "1 min"),
            (59, "59 s"),
            (-5, "0 s"),
        ] {
            assert_eq!(left(SignedDuration::from_secs(seconds)), text);
        }
    }
}
