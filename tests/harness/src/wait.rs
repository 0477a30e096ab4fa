//! Waits for a condition, with a time limit.

use std::time::{Duration, Instant};

const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Calls `look` until it finds something, at first every few milliseconds and later less often, because many a `look`
/// starts a program. Returns `None` after `limit`.
pub fn until<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        let elapsed = start.elapsed();
        if elapsed > limit {
            return None;
        }
        std::thread::sleep((elapsed / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
    }
}
