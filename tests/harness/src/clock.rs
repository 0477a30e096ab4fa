//! A clock that a test moves by hand.

use std::sync::{Arc, Mutex};

use infra_shared::clock::Clock;
use jiff::{SignedDuration, Timestamp};

/// Stands still until a test moves it. Clones share the time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<Timestamp>>);

impl ManualClock {
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    /// Moves the time by `duration`, backwards if negative.
    pub fn advance(&self, duration: SignedDuration) {
        let mut now = self.0.lock().expect("nobody panics while moving the clock");
        *now = now.checked_add(duration).expect("a time that can be written");
    }

    pub fn set(&self, now: Timestamp) {
        *self.0.lock().expect("nobody panics while moving the clock") = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("nobody panics while moving the clock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_moves_only_by_hand_and_for_every_clone() {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let other = clock.clone();
        assert_eq!(clock.now(), Timestamp::UNIX_EPOCH);

        clock.advance(SignedDuration::from_secs(61));

        assert_eq!(other.now().as_second(), 61);
    }
}
