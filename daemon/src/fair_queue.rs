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
pub struct QueueLimits {
    /// Requests served at the same time. One client gets at most three quarters of them.
    pub concurrent: usize,
    /// Maximum waiting requests per client.
    pub waiting_per_client: usize,
    /// Maximum waiting requests of all clients.
    pub waiting: usize,
    /// Timeout for waiting and for using the permit, together.
    pub timeout: Duration,
}

/// Why no permit was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    #[error("too many requests are waiting")]
    QueueFull,
    #[error("too many were before it")]
    TimedOut,
}

pub struct FairQueue {
    limits: QueueLimits,
    state: Arc<Mutex<State>>,
}

/// A permit, valid until `deadline`. Dropping it admits the next request.
pub struct Permit {
    pub deadline: Instant,
    client: IpAddr,
    /// `None` once the permit was returned.
    state: Option<Arc<Mutex<State>>>,
}

struct State {
    free: usize,
    max_per_client: usize,
    waiting: usize,
    clients: HashMap<IpAddr, Client>,
    /// Clients with waiting requests; the next one is in front.
    order: VecDeque<IpAddr>,
}

#[derive(Default)]
struct Client {
    running: usize,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    deadline: Instant,
    sender: oneshot::Sender<Permit>,
}

impl FairQueue {
    pub fn new(limits: QueueLimits) -> Self {
        let state = State {
            free: limits.concurrent,
            max_per_client: (limits.concurrent - limits.concurrent / 4).max(1),
            waiting: 0,
            clients: HashMap::new(),
            order: VecDeque::new(),
        };
        Self { limits, state: Arc::new(Mutex::new(state)) }
    }

    /// Waits for a permit until the timeout.
    pub async fn acquire(&self, client: IpAddr) -> Result<Permit, QueueError> {
        let deadline = Instant::now() + self.limits.timeout;
        let permit = {
            let mut state = lock(&self.state);
            let (sender, permit) = oneshot::channel();
            state.wait(client, Waiting { deadline, sender }, &self.limits)?;
            permit
        };
        grant_permits(&self.state);
        match tokio::time::timeout_at(deadline, permit).await {
            Ok(Ok(permit)) => Ok(permit),
            // The sender is never dropped while a request waits.
            Ok(Err(_)) | Err(_) => Err(QueueError::TimedOut),
        }
    }
}

impl State {
    fn wait(&mut self, client: IpAddr, waiting: Waiting, limits: &QueueLimits) -> Result<(), QueueError> {
        // At least one may wait, because every request passes through the queue.
        let max = limits.waiting_per_client.max(1);
        let is_full = |state: &Self| {
            state.waiting >= limits.waiting
                || state.clients.get(&client).is_some_and(|it| it.waiting.len() >= max)
        };
        if is_full(self) {
            self.remove_cancelled();
            if is_full(self) {
                return Err(QueueError::QueueFull);
            }
        }
        let of_client = self.clients.entry(client).or_default();
        if of_client.waiting.is_empty() && !self.order.contains(&client) {
            self.order.push_back(client);
        }
        of_client.waiting.push_back(waiting);
        self.waiting += 1;
        Ok(())
    }

    /// Takes the next request out of the queue and counts its permit.
    fn next(&mut self) -> Option<(IpAddr, Waiting)> {
        if self.free == 0 {
            return None;
        }
        let is_admissible =
            |client: &IpAddr| self.clients.get(client).is_some_and(|it| it.running < self.max_per_client);
        let client = self.order.iter().position(is_admissible).and_then(|index| self.order.remove(index))?;
        let of_client = self.clients.get_mut(&client)?;
        let waiting = of_client.waiting.pop_front();
        if !of_client.waiting.is_empty() {
            self.order.push_back(client);
        }
        let waiting = waiting?;
        of_client.running += 1;
        self.waiting -= 1;
        self.free -= 1;
        Some((client, waiting))
    }

    fn release(&mut self, client: IpAddr) {
        self.free += 1;
        if let Some(of_client) = self.clients.get_mut(&client) {
            of_client.running = of_client.running.saturating_sub(1);
        }
        self.remove_if_idle(client);
    }

    fn remove_cancelled(&mut self) {
        for client in self.clients.values_mut() {
            client.waiting.retain(|waiting| !waiting.sender.is_closed());
        }
        self.clients.retain(|_, client| client.running > 0 || !client.waiting.is_empty());
        self.order.retain(|client| self.clients.get(client).is_some_and(|it| !it.waiting.is_empty()));
        self.waiting = self.clients.values().map(|client| client.waiting.len()).sum();
    }

    fn remove_if_idle(&mut self, client: IpAddr) {
        if self.clients.get(&client).is_some_and(|it| it.running == 0 && it.waiting.is_empty()) {
            self.clients.remove(&client);
            self.order.retain(|other| *other != client);
        }
    }
}

/// Grants permits for as long as there are free ones.
fn grant_permits(state: &Arc<Mutex<State>>) {
    loop {
        let Some((client, Waiting { deadline, sender })) = lock(state).next() else { return };
        if let Err(mut permit) = sender.send(Permit { deadline, client, state: Some(state.clone()) }) {
            // The request was cancelled. Return the permit here, so that a long row of cancelled requests does not
            // recurse.
            permit.state = None;
            lock(state).release(client);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            lock(&state).release(self.client);
            grant_permits(&state);
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

    fn queue(concurrent: usize, waiting_per_client: usize) -> Arc<FairQueue> {
        let limits =
            QueueLimits { concurrent, waiting_per_client, waiting: 4096, timeout: Duration::from_secs(10) };
        Arc::new(FairQueue::new(limits))
    }

    /// Queues a request that does not get a permit yet.
    async fn enqueue(
        queue: &Arc<FairQueue>,
        client: IpAddr,
    ) -> impl Future<Output = Result<Permit, QueueError>> + Unpin {
        let queue = queue.clone();
        let mut waiting = Box::pin(async move { queue.acquire(client).await });
        std::future::poll_fn(|context| {
            assert!(waiting.as_mut().poll(context).is_pending(), "it need not wait");
            Poll::Ready(())
        })
        .await;
        waiting
    }

    fn is_empty(queue: &FairQueue) -> bool {
        let state = lock(&queue.state);
        state.clients.is_empty()
            && state.order.is_empty()
            && state.waiting == 0
            && state.free == queue.limits.concurrent
    }

    #[tokio::test]
    async fn busy_client_delays_another_by_one_request() {
        let queue = queue(1, 1000);
        let first = queue.acquire(GREEDY).await.expect("a permit");
        let mut greedy = Vec::new();
        for _ in 0..1000 {
            greedy.push(enqueue(&queue, GREEDY).await);
        }
        let other = enqueue(&queue, OTHER).await;
        drop(first);
        let second = greedy.remove(0).await.expect("the one that came before the other");
        drop(second);
        drop(other.await.expect("the other is next"));
        drop(greedy);
        assert!(
            is_empty(&queue) || {
                drop(queue.acquire(OTHER).await.expect("a permit"));
                is_empty(&queue)
            }
        );
    }

    #[tokio::test]
    async fn one_client_never_holds_all_permits() {
        let queue = queue(4, 10);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(queue.acquire(GREEDY).await.expect("a permit"));
        }
        let fourth = enqueue(&queue, GREEDY).await;
        let other = queue.acquire(OTHER).await.expect("the last quarter is for others");
        drop(held.pop());
        drop((fourth.await.expect("a permit"), other, held));
        assert!(is_empty(&queue));
    }

    #[tokio::test]
    async fn full_queue_of_one_client_rejects_only_that_client() {
        let queue = queue(1, 2);
        let first = queue.acquire(GREEDY).await.expect("a permit");
        let (second, third) = (enqueue(&queue, GREEDY).await, enqueue(&queue, GREEDY).await);
        assert!(matches!(queue.acquire(GREEDY).await, Err(QueueError::QueueFull)));
        let other = enqueue(&queue, OTHER).await;
        // Cancelled requests make room.
        drop(second);
        let fourth = enqueue(&queue, GREEDY).await;
        drop(first);
        let third = third.await.expect("a permit");
        drop(third);
        drop(other.await.expect("a permit"));
        drop(fourth.await.expect("a permit"));
        assert!(is_empty(&queue));
    }

    #[tokio::test]
    async fn cancelled_requests_of_one_client_make_room_for_another() {
        let limits = QueueLimits {
            concurrent: 1,
            waiting_per_client: 8,
            waiting: 2,
            timeout: Duration::from_secs(10),
        };
        let queue = Arc::new(FairQueue::new(limits));
        let first = queue.acquire(GREEDY).await.expect("a permit");
        drop((enqueue(&queue, GREEDY).await, enqueue(&queue, GREEDY).await));
        let other = enqueue(&queue, OTHER).await;
        drop(first);
        drop(other.await.expect("a permit"));
        assert!(is_empty(&queue));
    }

    #[tokio::test]
    async fn waiting_ends_at_the_timeout() {
        let timeout = Duration::from_millis(20);
        let limits = QueueLimits { concurrent: 1, waiting_per_client: 256, waiting: 4096, timeout };
        let queue = FairQueue::new(limits);
        let stalled = queue.acquire(GREEDY).await.expect("a permit");
        assert!(stalled.deadline <= Instant::now() + timeout);
        let refusal = queue.acquire(OTHER).await.err().expect("no permit in time");
        assert_eq!(refusal, QueueError::TimedOut);
        drop(stalled);
        assert!(is_empty(&queue));
    }
}
