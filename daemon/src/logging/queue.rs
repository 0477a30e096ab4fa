//! Writes the log on its own thread from a bounded queue. If the reader stalls, lines are dropped and nothing else
//! stops.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

const MOST_BYTES: usize = 1024 * 1024;

/// The queue of unwritten lines. Clones share it.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when there is something to write.
    filled: Condvar,
    /// Signalled when everything is written.
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    lines: VecDeque<Vec<u8>>,
    /// Size of `lines` and of the lines being written.
    bytes: usize,
    /// Lines dropped since the last report.
    unreported: u64,
    /// Lines dropped since the start.
    dropped: u64,
}

impl Queue {
    /// Starts a thread that writes queued lines to `writer`. After lines were dropped, it calls `report` with their
    /// number.
    pub(super) fn start(
        writer: impl Write + Send + 'static,
        report: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let queue = Self(Arc::default());
        let writing = queue.clone();
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writing.write_to(writer, &report))?;
        Ok(queue)
    }

    /// Queues a line, or drops and counts it if the queue is full. Never blocks.
    fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.bytes + line.len() > MOST_BYTES {
            state.unreported += 1;
            state.dropped += 1;
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line.to_vec());
        drop(state);
        self.0.filled.notify_one();
    }

    /// Waits until everything is written, for at most `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        // The process exits either way, so a timeout makes no difference.
        let _ = self.0.emptied.wait_timeout_while(self.state(), limit, |state| state.bytes > 0);
    }

    /// Lines dropped since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.state().dropped
    }

    fn write_to(&self, mut writer: impl Write, report: &impl Fn(u64)) {
        loop {
            let waiting = self.0.filled.wait_while(self.state(), |state| state.lines.is_empty());
            let mut state = waiting.unwrap_or_else(PoisonError::into_inner);
            let lines = std::mem::take(&mut state.lines);
            drop(state);
            let bytes: usize = lines.iter().map(Vec::len).sum();
            for line in lines {
                // If standard error is closed, there is no reader.
                let _ = writer.write_all(&line);
            }
            let mut state = self.state();
            state.bytes -= bytes;
            let dropped = std::mem::take(&mut state.unreported);
            let is_empty = state.bytes == 0;
            drop(state);
            if dropped > 0 {
                report(dropped);
            } else if is_empty {
                self.0.emptied.notify_all();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Queue {
    /// Receives a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::sync::OnceLock;

    use super::*;

    const BOUND: Duration = Duration::from_secs(20);

    #[test]
    fn queue_drops_and_counts_lines_while_reader_stalls() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let own: Arc<OnceLock<Queue>> = Arc::default();
        let reporting = own.clone();
        let report = move |dropped: u64| {
            if let Some(queue) = reporting.get() {
                queue.push(format!("dropped {dropped}\n").as_bytes());
            }
        };
        let queue = Queue::start(writer, report).expect("a thread");
        assert!(own.set(queue.clone()).is_ok());
        // More than the pipe and the queue hold.
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        let pushed = 2 * MOST_BYTES / line.len();
        for _ in 0..pushed {
            queue.push(&line);
        }
        let dropped = queue.dropped();
        assert!(dropped > 0 && queue.state().bytes <= MOST_BYTES);

        let mut lines = BufReader::new(reader).lines().map(|line| line.expect("a line"));
        let written = lines.by_ref().take_while(|line| line.starts_with('x')).count();
        assert_eq!(
            u64::try_from(pushed - written).expect("a count"),
            dropped,
            "a line is neither written nor counted"
        );
        queue.push(b"after\n");
        assert_eq!(lines.next().as_deref(), Some("after"));
    }

    #[test]
    fn flush_writes_everything_or_times_out() {
        let (reader, writer) = io::pipe().expect("a pipe");
        let queue = Queue::start(writer, |_| {}).expect("a thread");
        queue.push(b"last words\n");
        queue.flush(BOUND);
        let mut line = String::new();
        let mut reader = BufReader::new(reader);
        reader.read_line(&mut line).expect("a line");
        assert_eq!(line, "last words\n");

        for _ in 0..64 {
            queue.push(&[b'x'; 8192]);
        }
        queue.flush(Duration::from_millis(1));
        assert!(queue.state().bytes > 0, "it was not read yet");
    }
}
