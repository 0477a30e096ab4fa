//! A fair queue for a bounded resource: waiting requests are admitted round-robin by client.
//!
//! A client with a thousand waiting requests delays another by one request at most.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

/// Limits of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnLimits {
    /// Requests served at the same time. One client gets at most three quarters of them.
    pub at_once: usize,
    /// Maximum waiting requests per client.
    pub waiting_of_party: usize,
    /// Maximum waiting requests of all clients.
    pub waiting: usize,
    /// Timeout for waiting and for using the permit, together.
    pub time: Duration,
}

/// Why no permit was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoTurn {
    #[error("too many requests are waiting")]
    TooManyWait,
    #[error("too many were before it")]
    NotInTime,
}

pub struct Turns {
    limits: TurnLimits,
    line: Arc<Mutex<Line>>,
}

/// A permit, valid until `end`. Dropping it admits the next request.
pub struct Turn {
    pub end: Instant,
    party: IpAddr,
    /// `None` once the permit was returned.
    line: Option<Arc<Mutex<Line>>>,
}

struct Line {
    free: usize,
    most_of_party: usize,
    waiting: usize,
    parties: HashMap<IpAddr, Party>,
    /// Clients with waiting requests; the next one is in front.
    order: VecDeque<IpAddr>,
}

#[derive(Default)]
struct Party {
    running: usize,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    end: Instant,
    sender: oneshot::Sender<Turn>,
}

impl Turns {
    pub fn new(limits: TurnLimits) -> Self {
        let line = Line {
            free: limits.at_once,
            most_of_party: (limits.at_once - limits.at_once / 4).max(1),
            waiting: 0,
            parties: HashMap::new(),
            order: VecDeque::new(),
        };
        Self { limits, line: Arc::new(Mutex::new(line)) }
    }

    /// Waits for a permit until the timeout.
    pub async fn take(&self, party: IpAddr) -> Result<Turn, NoTurn> {
        let end = Instant::now() + self.limits.time;
        let turn = {
            let mut line = lock(&self.line);
            let (sender, turn) = oneshot::channel();
            line.wait(party, Waiting { end, sender }, &self.limits)?;
            turn
        };
        hand_on(&self.line);
        match tokio::time::timeout_at(end, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            // The sender is never dropped while a request waits.
            Ok(Err(_)) | Err(_) => Err(NoTurn::NotInTime),
        }
    }
}

impl Line {
    fn wait(&mut self, party: IpAddr, waiting: Waiting, limits: &TurnLimits) -> Result<(), NoTurn> {
        // At least one may wait, because every request passes through the queue.
        let most = limits.waiting_of_party.max(1);
        let is_full = |line: &Self| {
            line.waiting >= limits.waiting
                || line.parties.get(&party).is_some_and(|it| it.waiting.len() >= most)
        };
        if is_full(self) {
            self.forget_cancelled();
            if is_full(self) {
                return Err(NoTurn::TooManyWait);
            }
        }
        let of_party = self.parties.entry(party).or_default();
        if of_party.waiting.is_empty() && !self.order.contains(&party) {
            self.order.push_back(party);
        }
        of_party.waiting.push_back(waiting);
        self.waiting += 1;
        Ok(())
    }

    /// Takes the next request out of the queue and counts its permit.
    fn next(&mut self) -> Option<(IpAddr, Waiting)> {
        if self.free == 0 {
            return None;
        }
        let may = |party: &IpAddr| self.parties.get(party).is_some_and(|it| it.running < self.most_of_party);
        let party = self.order.iter().position(may).and_then(|index| self.order.remove(index))?;
        let of_party = self.parties.get_mut(&party)?;
        let waiting = of_party.waiting.pop_front();
        if !of_party.waiting.is_empty() {
            self.order.push_back(party);
        }
        let waiting = waiting?;
        of_party.running += 1;
        self.waiting -= 1;
        self.free -= 1;
        Some((party, waiting))
    }

    fn give_back(&mut self, party: IpAddr) {
        self.free += 1;
        if let Some(of_party) = self.parties.get_mut(&party) {
            of_party.running = of_party.running.saturating_sub(1);
        }
        self.forget(party);
    }

    fn forget_cancelled(&mut self) {
        for party in self.parties.values_mut() {
            party.waiting.retain(|waiting| !waiting.sender.is_closed());
        }
        self.parties.retain(|_, party| party.running > 0 || !party.waiting.is_empty());
        self.order.retain(|party| self.parties.get(party).is_some_and(|it| !it.waiting.is_empty()));
        self.waiting = self.parties.values().map(|party| party.waiting.len()).sum();
    }

    fn forget(&mut self, party: IpAddr) {
        if self.parties.get(&party).is_some_and(|it| it.running == 0 && it.waiting.is_empty()) {
            self.parties.remove(&party);
            self.order.retain(|other| *other != party);
        }
    }
}

/// Grants permits for as long as there are free ones.
fn hand_on(line: &Arc<Mutex<Line>>) {
    loop {
        let Some((party, Waiting { end, sender })) = lock(line).next() else { return };
        if let Err(mut turn) = sender.send(Turn { end, party, line: Some(line.clone()) }) {
            // The request was cancelled. Return the permit here, so that a long row of cancelled requests does not
            // recurse.
            turn.line = None;
            lock(line).give_back(party);
        }
    }
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(line) = self.line.take() {
            lock(&line).give_back(self.party);
            hand_on(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::Poll;

    use super::*;

    const GREEDY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn turns(at_once: usize, waiting_of_party: usize) -> Arc<Turns> {
        let limits = TurnLimits { at_once, waiting_of_party, waiting: 4096, time: Duration::from_secs(10) };
        Arc::new(Turns::new(limits))
    }

    /// Queues a request that does not get a permit yet.
    async fn stand(
        turns: &Arc<Turns>,
        party: IpAddr,
    ) -> std::pin::Pin<Box<impl Future<Output = Result<Turn, NoTurn>>>> {
        let turns = turns.clone();
        let mut waiting = Box::pin(async move { turns.take(party).await });
        std::future::poll_fn(|context| {
            assert!(waiting.as_mut().poll(context).is_pending(), "it need not wait");
            Poll::Ready(())
        })
        .await;
        waiting
    }

    fn is_empty(turns: &Turns) -> bool {
        let line = lock(&turns.line);
        line.parties.is_empty()
            && line.order.is_empty()
            && line.waiting == 0
            && line.free == turns.limits.at_once
    }

    #[tokio::test]
    async fn busy_client_delays_another_by_one_request() {
        let turns = turns(1, 1000);
        let first = turns.take(GREEDY).await.expect("a turn");
        let mut greedy = Vec::new();
        for _ in 0..1000 {
            greedy.push(stand(&turns, GREEDY).await);
        }
        let other = stand(&turns, OTHER).await;
        drop(first);
        let second = greedy.remove(0).await.expect("the one that came before the other");
        drop(second);
        drop(other.await.expect("the other's turn comes next"));
        drop(greedy);
        assert!(
            is_empty(&turns) || {
                drop(turns.take(OTHER).await.expect("a turn"));
                is_empty(&turns)
            }
        );
    }

    #[tokio::test]
    async fn one_client_never_holds_all_permits() {
        let turns = turns(4, 10);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(turns.take(GREEDY).await.expect("a turn"));
        }
        let fourth = stand(&turns, GREEDY).await;
        let other = turns.take(OTHER).await.expect("the last quarter is for others");
        drop(held.pop());
        drop((fourth.await.expect("a turn"), other, held));
        assert!(is_empty(&turns));
    }

    #[tokio::test]
    async fn full_queue_of_one_client_rejects_only_that_client() {
        let turns = turns(1, 2);
        let first = turns.take(GREEDY).await.expect("a turn");
        let (second, third) = (stand(&turns, GREEDY).await, stand(&turns, GREEDY).await);
        assert!(matches!(turns.take(GREEDY).await, Err(NoTurn::TooManyWait)));
        let other = stand(&turns, OTHER).await;
        // Cancelled requests make room.
        drop(second);
        let fourth = stand(&turns, GREEDY).await;
        drop(first);
        let third = third.await.expect("a turn");
        drop(third);
        drop(other.await.expect("a turn"));
        drop(fourth.await.expect("a turn"));
        assert!(is_empty(&turns));
    }

    #[tokio::test]
    async fn cancelled_requests_of_one_client_make_room_for_another() {
        let limits =
            TurnLimits { at_once: 1, waiting_of_party: 8, waiting: 2, time: Duration::from_secs(10) };
        let turns = Arc::new(Turns::new(limits));
        let first = turns.take(GREEDY).await.expect("a turn");
        drop((stand(&turns, GREEDY).await, stand(&turns, GREEDY).await));
        let other = stand(&turns, OTHER).await;
        drop(first);
        drop(other.await.expect("a turn"));
        assert!(is_empty(&turns));
    }

    #[tokio::test]
    async fn waiting_ends_at_the_timeout() {
        let time = Duration::from_millis(20);
        let limits = TurnLimits { at_once: 1, waiting_of_party: 256, waiting: 4096, time };
        let turns = Turns::new(limits);
        let stalled = turns.take(GREEDY).await.expect("a turn");
        assert!(stalled.end <= Instant::now() + time);
        let refusal = turns.take(OTHER).await.err().expect("no turn in time");
        assert_eq!(refusal, NoTurn::NotInTime);
        drop(stalled);
        assert!(is_empty(&turns));
    }
}
