//! The clock, passed in so that tests can set the time.

use jiff::Timestamp;

/// A source of the current time.
///
/// Implementations must be cheap, because every request reads the clock, and must not block.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
