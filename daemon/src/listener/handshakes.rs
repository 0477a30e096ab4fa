//! How many handshakes are worked on at a time. Each costs a signature; who asks for many waits in line with all others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::activity::Activity;

/// A handshake that still waits for its peer after this time gives up its place, where others wait for one.
const LONG: Duration = Duration::from_secs(1);

pub(super) struct Handshakes {
    places: Arc<Semaphore>,
    long: Duration,
    under_way: Mutex<UnderWay>,
}

#[derive(Default)]
struct UnderWay {
    next: u64,
    handshakes: BTreeMap<u64, (Instant, Arc<Activity>)>,
}

/// A handshake that is worked on.
pub(super) struct Handshake<'a> {
    handshakes: &'a Handshakes,
    number: u64,
    _place: OwnedSemaphorePermit,
}

impl Handshakes {
    pub(super) fn new(at_most: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(at_most)), long: LONG, under_way: Mutex::default() }
    }

    /// Waits for a place.
    pub(super) async fn enter(&self, activity: &Arc<Activity>) -> Handshake<'_> {
        if self.places.available_permits() == 0 {
            self.cut_off_the_oldest();
        }
        let place = self.places.clone().acquire_owned().await.expect("the semaphore is never closed");
        let mut under_way = self.under_way();
        let number = under_way.next;
        under_way.next += 1;
        under_way.handshakes.insert(number, (Instant::now(), activity.clone()));
        Handshake { handshakes: self, number, _place: place }
    }

    fn cut_off_the_oldest(&self) {
        let mut under_way = self.under_way();
        let is_long = under_way
            .handshakes
            .first_key_value()
            .is_some_and(|(_, (since, _))| since.elapsed() >= self.long);
        if is_long && let Some((_, (_, activity))) = under_way.handshakes.pop_first() {
            activity.cut_off();
        }
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        self.handshakes.under_way().handshakes.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_handshakes_than_allowed_wait_and_one_that_stalls_gives_way() {
        let handshakes = Handshakes::new(1);
        let (slow, next, last) = (Activity::new(), Activity::new(), Activity::new());
        let stalled = handshakes.enter(&slow).await;
        let short = tokio::time::timeout(Duration::ZERO, handshakes.enter(&next)).await;
        assert!(short.is_err(), "the place is taken");
        let early = tokio::time::timeout(Duration::ZERO, slow.is_cut_off()).await;
        assert!(early.is_err(), "it had no time");
        drop(stalled);

        let handshakes = Handshakes { long: Duration::ZERO, ..Handshakes::new(1) };
        let stalled = handshakes.enter(&slow).await;
        tokio::join!(
            async {
                slow.is_cut_off().await;
                drop(stalled);
            },
            async { drop(handshakes.enter(&last).await) }
        );
        assert!(handshakes.under_way().handshakes.is_empty());
    }
}
