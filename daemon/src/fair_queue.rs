//! A fair queue for a bounded resource: waiting requests are admitted round-robin by client.
//!
//! Only one request of each client is in the common queue. So a client with a thousand waiting requests delays another
//! by one request at most.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueLimits {
    /// Requests served at the same time. One client gets at most three quarters of them.
    pub concurrent: usize,
    pub waiting_per_client: usize,
    /// Maximum waiting requests of all clients.
    pub waiting: usize,
    /// Timeout for waiting and for using the permit, together.
    pub timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    #[error("too many requests are waiting")]
    QueueFull,
    #[error("too many requests were queued before it")]
    TimedOut,
}

pub struct FairQueue {
    limits: QueueLimits,
    waiting: Semaphore,
    running: Arc<Semaphore>,
    clients: Mutex<HashMap<IpAddr, Arc<Client>>>,
}

/// A permit, valid until `deadline`. Dropping it admits the next request.
pub struct Permit {
    pub deadline: Instant,
    _permits: [OwnedSemaphorePermit; 2],
    /// Keeps the client's count of running requests.
    _client: Arc<Client>,
}

struct Client {
    waiting: Semaphore,
    /// Held by its one request in the common queue.
    turn: Semaphore,
    running: Arc<Semaphore>,
}

impl FairQueue {
    pub fn new(limits: QueueLimits) -> Self {
        Self {
            waiting: Semaphore::new(limits.waiting),
            running: Arc::new(Semaphore::new(limits.concurrent)),
            clients: Mutex::default(),
            limits,
        }
    }

    /// Waits for a permit until the timeout.
    pub async fn acquire(&self, client: IpAddr) -> Result<Permit, QueueError> {
        let deadline = Instant::now() + self.limits.timeout;
        let client = self.client(client);
        let permits = self.wait(&client, deadline).await?;
        Ok(Permit { deadline, _permits: permits, _client: client })
    }

    async fn wait(
        &self,
        client: &Client,
        deadline: Instant,
    ) -> Result<[OwnedSemaphorePermit; 2], QueueError> {
        let full = |_| QueueError::QueueFull;
        let _waiting = self.waiting.try_acquire().map_err(full)?;
        let _waiting_of_client = client.waiting.try_acquire().map_err(full)?;
        let permits = async {
            let _turn = client.turn.acquire().await?;
            let of_client = client.running.clone().acquire_owned().await?;
            Ok([self.running.clone().acquire_owned().await?, of_client])
        };
        match timeout_at(deadline, permits).await {
            Ok(Ok(permits)) => Ok(permits),
            // A semaphore fails only once it is closed.
            Ok(Err::<_, AcquireError>(_)) | Err(_) => Err(QueueError::TimedOut),
        }
    }

    fn client(&self, address: IpAddr) -> Arc<Client> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        // At most half of so many are in use, so a flood of addresses seldom gets here.
        if clients.len() >= 2 * (self.limits.waiting + self.limits.concurrent) {
            clients.retain(|_, client| Arc::strong_count(client) > 1);
        }
        let client = || {
            Arc::new(Client {
                // At least one may wait, because every request passes through the queue.
                waiting: Semaphore::new(self.limits.waiting_per_client.max(1)),
                turn: Semaphore::new(1),
                running: Arc::new(Semaphore::new(
                    (self.limits.concurrent - self.limits.concurrent / 4).max(1),
                )),
            })
        };
        clients.entry(address).or_insert_with(client).clone()
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
        let clients = queue.clients.lock().unwrap_or_else(PoisonError::into_inner);
        queue.waiting.available_permits() == queue.limits.waiting
            && queue.running.available_permits() == queue.limits.concurrent
            && clients.values().all(|client| Arc::strong_count(client) == 1)
    }

    #[tokio::test]
    async fn busy_client_delays_another_by_one_request() {
        let queue = queue(4, 1000);
        let held = [queue.acquire(GREEDY).await, queue.acquire(GREEDY).await];
        let others = [queue.acquire(OTHER).await, queue.acquire(OTHER).await];
        let mut greedy = Vec::new();
        for _ in 0..1000 {
            greedy.push(enqueue(&queue, GREEDY).await);
        }
        let other = enqueue(&queue, OTHER).await;
        let [first, second] = others;
        drop(first);
        let third = greedy.remove(0).await.expect("the one that came before the other");
        drop(second);
        drop(other.await.expect("the other is next"));
        drop((third, greedy, held));
        assert!(is_empty(&queue));
    }

    #[tokio::test]
    async fn client_at_its_limit_does_not_delay_another() {
        let queue = queue(1, 1000);
        let first = queue.acquire(GREEDY).await.expect("a permit");
        let greedy = enqueue(&queue, GREEDY).await;
        let other = enqueue(&queue, OTHER).await;
        drop(first);
        drop(other.await.expect("the other is next"));
        drop(greedy.await.expect("a permit"));
        assert!(is_empty(&queue));
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
        drop(other.await.expect("a permit"));
        drop(third.await.expect("a permit"));
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

    #[tokio::test]
    async fn clients_without_requests_are_forgotten() {
        let limits = QueueLimits {
            concurrent: 1,
            waiting_per_client: 1,
            waiting: 1,
            timeout: Duration::from_secs(10),
        };
        let queue = FairQueue::new(limits);
        let held = queue.acquire(GREEDY).await.expect("a permit");
        for number in 0..100 {
            assert!(queue.client([198, 51, 100, number].into()).waiting.try_acquire().is_ok());
        }
        let clients = queue.clients.lock().expect("no panic");
        assert!(clients.len() <= 4 && clients.contains_key(&GREEDY), "{}", clients.len());
        drop((clients, held));
    }
}
