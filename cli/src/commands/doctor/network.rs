//! Several questions at once, with one end for all of them.

use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use super::PATIENCE;

/// Asks each of `questions` on a thread of its own; `None` where no answer came in time. What still waits then is left
/// behind, and ends with the process.
pub(super) fn ask_all<T: Send + 'static>(questions: Vec<Box<dyn FnOnce() -> T + Send>>) -> Vec<Option<T>> {
    let deadline = Instant::now() + PATIENCE;
    let answers: Vec<_> = questions
        .into_iter()
        .map(|question| {
            let (sender, answer) = mpsc::channel();
            thread::spawn(move || {
                // Nobody may be waiting any more.
                let _ = sender.send(question());
            });
            answer
        })
        .collect();
    answers
        .into_iter()
        .map(|answer| answer.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok())
        .collect()
}
