//! Rate limit for log lines that unauthenticated clients can trigger. The rest is counted.

use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The same limit as in the audit log.
const MAX_LINES: u32 = 600;
const WINDOW: Duration = Duration::from_mins(1);

/// The rate limit of one kind of line, for the whole process.
pub(super) struct LogLimiter(Mutex<Window>);

struct Window {
    begun: Option<Instant>,
    written: u32,
    suppressed: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogPermit {
    /// Number of lines suppressed before it, if any.
    pub(super) suppressed: Option<NonZeroU64>,
}

impl LogLimiter {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(Window { begun: None, written: 0, suppressed: 0 }))
    }

    /// Permits a line, or counts it as suppressed.
    pub(super) fn take(&self) -> Option<LogPermit> {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> Option<LogPermit> {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if window.begun.is_none_or(|begun| now.duration_since(begun) >= WINDOW) {
            (window.begun, window.written) = (Some(now), 0);
        }
        if window.written >= MAX_LINES {
            window.suppressed += 1;
            return None;
        }
        window.written += 1;
        Some(LogPermit { suppressed: NonZeroU64::new(std::mem::take(&mut window.suppressed)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suppressed_lines_are_reported_by_next_line() {
        let lines = LogLimiter::new();
        let line = |suppressed| Some(LogPermit { suppressed: NonZeroU64::new(suppressed) });
        let begin = Instant::now();
        for _ in 0..MAX_LINES {
            assert_eq!(lines.take_at(begin), line(0));
        }
        for _ in 0..10_000 {
            assert_eq!(lines.take_at(begin + WINDOW / 2), None);
        }
        assert_eq!(lines.take_at(begin + WINDOW), line(10_000));
        assert_eq!(lines.take_at(begin + WINDOW), line(0));
    }
}
