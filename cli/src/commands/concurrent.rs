//! Runs one operation for several servers concurrently, so that a silent server does not delay the others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::terminal::{deferred, write_deferred};

/// Maximum number of concurrent operations.
const MAX_CONCURRENT: usize = 8;

/// Calls `act` for each of `items`, on a few threads. Results and messages on standard error keep the order of
/// `items`.
pub(super) fn for_each<T: Sync, R: Send>(items: &[T], act: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..items.len().min(MAX_CONCURRENT) {
            let (sender, next, act) = (sender.clone(), &next, &act);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(number) else { return };
                    // The receiver lives until all threads have finished.
                    let _ = sender.send((number, deferred(|| act(item))));
                }
            });
        }
        drop(sender);
        let (mut results, mut early) = (Vec::new(), BTreeMap::new());
        for (number, done) in receiver {
            early.insert(number, done);
            while let Some((result, lines)) = early.remove(&results.len()) {
                write_deferred(&lines);
                results.push(result);
            }
        }
        results
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn concurrency_is_limited_and_results_are_in_order() {
        let (running, most, barrier) =
            (AtomicUsize::new(0), AtomicUsize::new(0), Barrier::new(MAX_CONCURRENT));
        let items: Vec<usize> = (0..10 * MAX_CONCURRENT).collect();
        let results = for_each(&items, |item| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // Continues only once the maximum number of operations runs.
            barrier.wait();
            running.fetch_sub(1, Ordering::SeqCst);
            *item
        });
        assert_eq!(results, items);
        assert_eq!(most.load(Ordering::SeqCst), MAX_CONCURRENT);
    }
}
