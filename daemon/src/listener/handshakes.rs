//! Limits concurrent TLS handshakes, because each costs a signature. Clients share the queue round-robin.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::activity::Activity;
use crate::addresses::client_key;
use crate::fair_queue::{FairQueue, Permit, QueueError, QueueLimits};

/// A handshake that still waits for its peer after this time can be evicted if others are queued.
const EVICTABLE_AFTER: Duration = Duration::from_secs(1);

pub(super) struct Handshakes {
    queue: FairQueue,
    evictable_after: Duration,
    in_progress: Mutex<InProgress>,
}

#[derive(Default)]
struct InProgress {
    next: u64,
    handshakes: BTreeMap<u64, (Instant, Arc<Activity>)>,
    waiting: usize,
    /// Number of evicted handshakes that have not ended yet.
    evicting: usize,
}

/// A handshake in progress.
pub(super) struct Handshake<'a> {
    handshakes: &'a Handshakes,
    number: u64,
    _permit: Permit,
}

/// A queued handshake.
struct Waiting<'a>(&'a Handshakes);

impl Handshakes {
    /// `timeout` is the timeout of a handshake, including the wait in the queue.
    pub(super) fn new(concurrent: usize, timeout: Duration) -> Self {
        // The queue needs no limit, because each waiter holds a connection and those are limited.
        let limits = QueueLimits { concurrent, waiting_per_client: usize::MAX, waiting: usize::MAX, timeout };
        Self {
            queue: FairQueue::new(limits),
            evictable_after: EVICTABLE_AFTER,
            in_progress: Mutex::default(),
        }
    }

    /// Waits for a slot, round-robin by client.
    pub(super) async fn acquire(
        &self,
        peer: IpAddr,
        activity: &Arc<Activity>,
    ) -> Result<Handshake<'_>, QueueError> {
        let waiting = Waiting::new(self);
        let mut permit = std::pin::pin!(self.queue.acquire(client_key(peer)));
        let permit = loop {
            match timeout(self.evictable_after / 4, &mut permit).await {
                Ok(permit) => break permit?,
                Err(_) => self.evict_oldest(),
            }
        };
        drop(waiting);
        let mut in_progress = self.in_progress();
        let number = in_progress.next;
        in_progress.next += 1;
        in_progress.handshakes.insert(number, (Instant::now(), activity.clone()));
        Ok(Handshake { handshakes: self, number, _permit: permit })
    }

    /// Evicts the oldest handshake if it had its time, unless as many are ending as are queued.
    fn evict_oldest(&self) {
        let mut in_progress = self.in_progress();
        if in_progress.evicting >= in_progress.waiting {
            return;
        }
        let is_evictable = in_progress
            .handshakes
            .first_key_value()
            .is_some_and(|(_, (since, _))| since.elapsed() >= self.evictable_after);
        if is_evictable && let Some((_, (_, activity))) = in_progress.handshakes.pop_first() {
            in_progress.evicting += 1;
            activity.evict();
        }
    }

    fn in_progress(&self) -> MutexGuard<'_, InProgress> {
        self.in_progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Waiting<'a> {
    fn new(handshakes: &'a Handshakes) -> Self {
        handshakes.in_progress().waiting += 1;
        Self(handshakes)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.in_progress().waiting -= 1;
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        let mut in_progress = self.handshakes.in_progress();
        if in_progress.handshakes.remove(&self.number).is_none() {
            in_progress.evicting -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    const STALLING: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const HONEST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn handshakes(concurrent: usize, evictable_after: Duration) -> Handshakes {
        Handshakes { evictable_after, ..Handshakes::new(concurrent, Duration::from_secs(5)) }
    }

    /// Whether the future is still pending after `time`.
    async fn waits(time: Duration, what: impl Future) -> bool {
        timeout(time, what).await.is_err()
    }

    #[tokio::test]
    async fn stalled_handshake_is_evicted_after_its_time() {
        let evictable_after = Duration::from_millis(20);
        let handshakes = handshakes(1, evictable_after);
        let (slow, next) = (Activity::new(), Activity::new());
        let stalled = handshakes.acquire(STALLING, &slow).await.expect("a place");
        let began = Instant::now();
        let both = async {
            tokio::join!(
                async {
                    slow.evicted().await;
                    assert!(began.elapsed() >= evictable_after, "it had no time");
                    drop(stalled);
                },
                handshakes.acquire(HONEST, &next)
            )
        };
        let ((), entered) = timeout(Duration::from_secs(10), both).await.expect("it gives way");
        drop(entered.expect("a place"));
        let in_progress = handshakes.in_progress();
        assert_eq!((in_progress.handshakes.len(), in_progress.waiting, in_progress.evicting), (0, 0, 0));
    }

    #[tokio::test]
    async fn eviction_ends_no_more_handshakes_than_wait() {
        let evictable_after = Duration::from_millis(4);
        let handshakes = handshakes(4, evictable_after);
        let slow: Vec<_> = (0..3).map(|_| Activity::new()).collect();
        let mut stalled = Vec::new();
        for activity in &slow {
            stalled.push(handshakes.acquire(STALLING, activity).await.expect("a place"));
        }
        let other = Activity::new();
        stalled.push(handshakes.acquire(HONEST, &other).await.expect("a place"));
        let next = Activity::new();
        // The evicted handshake does not end, and no other is evicted.
        assert!(waits(evictable_after * 8, handshakes.acquire(HONEST, &next)).await);
        let mut cut = 0;
        for activity in slow.iter().chain([&other]) {
            cut += usize::from(!waits(Duration::ZERO, activity.evicted()).await);
        }
        assert_eq!(cut, 1);
    }

    #[tokio::test]
    async fn thousand_queued_handshakes_delay_others_by_one() {
        let handshakes = handshakes(1, EVICTABLE_AFTER);
        let activity = Activity::new();
        let first = handshakes.acquire(STALLING, &activity).await.expect("a place");
        let mut line: Vec<_> = (0..1000).map(|_| Box::pin(handshakes.acquire(STALLING, &activity))).collect();
        let mut honest = Box::pin(handshakes.acquire(HONEST, &activity));
        poll_fn(|context| {
            for waiting in &mut line {
                assert!(waiting.as_mut().poll(context).is_pending());
            }
            assert!(honest.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(first);
        drop(line.remove(0).await.expect("the one that came before"));
        drop(honest.await.expect("the next place"));
    }
}
