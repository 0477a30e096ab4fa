//! Waits for a condition, with a time limit.

use std::time::{Duration, Instant};

const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// For a `look` that waits by itself.
const MOST_FOR_COST: Duration = Duration::from_millis(500);

/// Calls `look` until it finds something, at first every few milliseconds and later less often. Many a `look` starts a
/// program, so no more than a third of the time is spent in it. Returns `None` after `limit`.
pub fn until<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let begin = Instant::now();
        if let Some(found) = look() {
            return Some(found);
        }
        let (elapsed, cost) = (start.elapsed(), begin.elapsed());
        if elapsed > limit {
            return None;
        }
        let pause = (elapsed / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        std::thread::sleep(pause.max((2 * cost).min(MOST_FOR_COST)));
    }
}
