//! When a certificate expires, and from when on that needs an operator.

use jiff::{SignedDuration, Timestamp};

/// The last part of a lifetime and the last days, both of which have to be reached. The alert `InfradCertificateExpiring`
/// has the same numbers.
const LAST_PART: i32 = 6;
const LAST_DAYS: SignedDuration = SignedDuration::from_hours(14 * 24);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

/// What an operator has to know about a validity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    Later,
    /// A renewal is overdue.
    Soon,
    Past,
}

impl Validity {
    pub fn expiry(&self, now: Timestamp) -> Expiry {
        let (left, lifetime) =
            (self.expires_at.duration_since(now), self.expires_at.duration_since(self.issued_at));
        if left <= SignedDuration::ZERO {
            Expiry::Past
        } else if left < LAST_DAYS && left < lifetime / LAST_PART {
            Expiry::Soon
        } else {
            Expiry::Later
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_soon_in_last_sixth_and_last_14_days() {
        const DAY: i64 = 24 * 3_600;
        let expiry = |lifetime: i64, left: i64| {
            let at = |second| Timestamp::from_second(second).expect("a time");
            Validity { issued_at: at(0), expires_at: at(lifetime) }.expiry(at(lifetime - left))
        };
        for (lifetime, soon_from) in [(90 * DAY, 14 * DAY), (365 * DAY, 14 * DAY), (6 * DAY, DAY)] {
            assert_eq!(expiry(lifetime, soon_from), Expiry::Later, "{lifetime}");
            assert_eq!(expiry(lifetime, soon_from - 1), Expiry::Soon, "{lifetime}");
            assert_eq!((expiry(lifetime, 1), expiry(lifetime, 0)), (Expiry::Soon, Expiry::Past));
        }
    }
}
