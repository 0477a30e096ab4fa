//! Runs several requests concurrently with one deadline.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Instant;

use super::TIMEOUT;

/// Maximum number of concurrent requests.
const MAX_CONCURRENT: usize = 8;

type Job<T> = Box<dyn FnOnce() -> T + Send>;
/// Each request with its index.
type Queue<T> = Arc<Mutex<VecDeque<(usize, Job<T>)>>>;

/// Runs `jobs` on a few threads. Returns `None` for each that does not finish in time. Threads that are still
/// blocked end with the process.
pub(super) fn run_all<T: Send + 'static>(jobs: Vec<Job<T>>) -> Vec<Option<T>> {
    let deadline = Instant::now() + TIMEOUT;
    let mut results: Vec<Option<T>> = jobs.iter().map(|_| None).collect();
    let workers = jobs.len().min(MAX_CONCURRENT);
    let queue: Queue<T> = Arc::new(Mutex::new(jobs.into_iter().enumerate().collect()));
    let (sender, receiver) = mpsc::channel();
    for _ in 0..workers {
        let (queue, sender) = (Arc::clone(&queue), sender.clone());
        thread::spawn(move || {
            while Instant::now() < deadline
                && let Some((number, job)) = next(&queue)
            {
                // Sending fails after the deadline.
                let _ = sender.send((number, job()));
            }
        });
    }
    drop(sender);
    while let Ok((number, answer)) = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        if let Some(slot) = results.get_mut(number) {
            *slot = Some(answer);
        }
    }
    results
}

fn next<T>(queue: &Mutex<VecDeque<T>>) -> Option<T> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn concurrent_requests_are_limited() {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let job = |number: usize| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            Box::new(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
                number
            }) as Job<usize>
        };
        let results = run_all((0..1000).map(job).collect());
        assert!(results.iter().enumerate().all(|(number, answer)| *answer == Some(number)));
        assert!((1..=MAX_CONCURRENT).contains(&most.load(Ordering::SeqCst)));
    }
}
