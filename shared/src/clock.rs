//! The time, handed to whoever needs it, so that a test can move it.

use jiff::Timestamp;

/// Tells the time of day.
///
/// An implementation must be cheap (it is asked for each request) and must not block.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}
