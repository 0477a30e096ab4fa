//! Runs several requests concurrently with one deadline.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Instant;

use super::PATIENCE;

/// Maximum number of concurrent requests.
const AT_ONCE: usize = 8;

type Question<T> = Box<dyn FnOnce() -> T + Send>;
/// Each request with its index.
type Queue<T> = Arc<Mutex<VecDeque<(usize, Question<T>)>>>;

/// Runs `questions` on a few threads. Returns `None` for each that does not finish in time. Threads that are still
/// blocked end with the process.
pub(super) fn ask_all<T: Send + 'static>(questions: Vec<Question<T>>) -> Vec<Option<T>> {
    let deadline = Instant::now() + PATIENCE;
    let mut answers: Vec<Option<T>> = questions.iter().map(|_| None).collect();
    let workers = questions.len().min(AT_ONCE);
    let queue: Queue<T> = Arc::new(Mutex::new(questions.into_iter().enumerate().collect()));
    let (sender, receiver) = mpsc::channel();
    for _ in 0..workers {
        let (queue, sender) = (Arc::clone(&queue), sender.clone());
        thread::spawn(move || {
            while Instant::now() < deadline
                && let Some((number, question)) = next(&queue)
            {
                // Sending fails after the deadline.
                let _ = sender.send((number, question()));
            }
        });
    }
    drop(sender);
    while let Ok((number, answer)) = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        if let Some(place) = answers.get_mut(number) {
            *place = Some(answer);
        }
    }
    answers
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
        let question = |number: usize| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            Box::new(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::yield_now();
                running.fetch_sub(1, Ordering::SeqCst);
                number
            }) as Question<usize>
        };
        let answers = ask_all((0..1000).map(question).collect());
        assert!(answers.iter().enumerate().all(|(number, answer)| *answer == Some(number)));
        assert!((1..=AT_ONCE).contains(&most.load(Ordering::SeqCst)));
    }
}
