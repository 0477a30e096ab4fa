//! Limits concurrent TLS handshakes, because each costs a signature. Clients share the queue round-robin.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::activity::Activity;
use crate::addresses::one_party;
use crate::turns::{NoTurn, Turn, TurnLimits, Turns};

/// A handshake that still waits for its peer after this time can be evicted if others are queued.
const LONG: Duration = Duration::from_secs(1);

pub(super) struct Handshakes {
    turns: Turns,
    long: Duration,
    under_way: Mutex<UnderWay>,
}

#[derive(Default)]
struct UnderWay {
    next: u64,
    handshakes: BTreeMap<u64, (Instant, Arc<Activity>)>,
    waiting: usize,
    /// Number of evicted handshakes that have not ended yet.
    giving_way: usize,
}

/// A handshake in progress.
pub(super) struct Handshake<'a> {
    handshakes: &'a Handshakes,
    number: u64,
    _turn: Turn,
}

/// A queued handshake.
struct Waiting<'a>(&'a Handshakes);

impl Handshakes {
    /// `time` is the timeout of a handshake, including the wait in the queue.
    pub(super) fn new(at_once: usize, time: Duration) -> Self {
        // The queue needs no limit, because each waiter holds a connection and those are limited.
        let limits = TurnLimits { at_once, waiting_of_party: usize::MAX, waiting: usize::MAX, time };
        Self { turns: Turns::new(limits), long: LONG, under_way: Mutex::default() }
    }

    /// Waits for a slot, round-robin by client.
    pub(super) async fn enter(
        &self,
        peer: IpAddr,
        activity: &Arc<Activity>,
    ) -> Result<Handshake<'_>, NoTurn> {
        let waiting = Waiting::new(self);
        let mut turn = std::pin::pin!(self.turns.take(one_party(peer)));
        let turn = loop {
            match timeout(self.long / 4, &mut turn).await {
                Ok(turn) => break turn?,
                Err(_) => self.make_way(),
            }
        };
        drop(waiting);
        let mut under_way = self.under_way();
        let number = under_way.next;
        under_way.next += 1;
        under_way.handshakes.insert(number, (Instant::now(), activity.clone()));
        Ok(Handshake { handshakes: self, number, _turn: turn })
    }

    /// Evicts the oldest handshake if it had its time, unless as many are ending as are queued.
    fn make_way(&self) {
        let mut under_way = self.under_way();
        if under_way.giving_way >= under_way.waiting {
            return;
        }
        let is_long = under_way
            .handshakes
            .first_key_value()
            .is_some_and(|(_, (since, _))| since.elapsed() >= self.long);
        if is_long && let Some((_, (_, activity))) = under_way.handshakes.pop_first() {
            under_way.giving_way += 1;
            activity.cut_off();
        }
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Waiting<'a> {
    fn new(handshakes: &'a Handshakes) -> Self {
        handshakes.under_way().waiting += 1;
        Self(handshakes)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.under_way().waiting -= 1;
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        let mut under_way = self.handshakes.under_way();
        if under_way.handshakes.remove(&self.number).is_none() {
            under_way.giving_way -= 1;
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

    fn handshakes(at_once: usize, long: Duration) -> Handshakes {
        Handshakes { long, ..Handshakes::new(at_once, Duration::from_secs(5)) }
    }

    /// Whether the future is still pending after `time`.
    async fn waits(time: Duration, what: impl Future) -> bool {
        timeout(time, what).await.is_err()
    }

    #[tokio::test]
    async fn stalled_handshake_is_evicted_after_its_time() {
        let long = Duration::from_millis(20);
        let handshakes = handshakes(1, long);
        let (slow, next) = (Activity::new(), Activity::new());
        let stalled = handshakes.enter(STALLING, &slow).await.expect("a place");
        let began = Instant::now();
        let both = async {
            tokio::join!(
                async {
                    slow.is_cut_off().await;
                    assert!(began.elapsed() >= long, "it had no time");
                    drop(stalled);
                },
                handshakes.enter(HONEST, &next)
            )
        };
        let ((), entered) = timeout(Duration::from_secs(10), both).await.expect("it gives way");
        drop(entered.expect("a place"));
        let under_way = handshakes.under_way();
        assert_eq!((under_way.handshakes.len(), under_way.waiting, under_way.giving_way), (0, 0, 0));
    }

    #[tokio::test]
    async fn eviction_ends_no_more_handshakes_than_wait() {
        let long = Duration::from_millis(4);
        let handshakes = handshakes(4, long);
        let slow: Vec<_> = (0..3).map(|_| Activity::new()).collect();
        let mut stalled = Vec::new();
        for activity in &slow {
            stalled.push(handshakes.enter(STALLING, activity).await.expect("a place"));
        }
        let other = Activity::new();
        stalled.push(handshakes.enter(HONEST, &other).await.expect("a place"));
        let next = Activity::new();
        // The evicted handshake does not end, and no other is evicted.
        assert!(waits(long * 8, handshakes.enter(HONEST, &next)).await);
        let mut cut = 0;
        for activity in slow.iter().chain([&other]) {
            cut += usize::from(!waits(Duration::ZERO, activity.is_cut_off()).await);
        }
        assert_eq!(cut, 1);
    }

    #[tokio::test]
    async fn thousand_queued_handshakes_delay_others_by_one() {
        let handshakes = handshakes(1, LONG);
        let activity = Activity::new();
        let first = handshakes.enter(STALLING, &activity).await.expect("a place");
        let mut line: Vec<_> = (0..1000).map(|_| Box::pin(handshakes.enter(STALLING, &activity))).collect();
        let mut honest = Box::pin(handshakes.enter(HONEST, &activity));
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
