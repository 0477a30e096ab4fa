//! Runs the streams of an HTTP/2 connection within the task of the connection.
//!
//! A whole answer reaches the connection before it writes, so head and end leave together. Otherwise a client that stops
//! sending at the head of a rejection (curl) ends its body too early, and its stream is reset before the answer ends
//! (RFC 9113 §8.1.1).

use std::convert::Infallible;
use std::pin::Pin;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::rt::Executor;
use tokio::select;
use tokio::sync::mpsc;

type Stream = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Passes new streams to [`RunningStreams`].
#[derive(Clone)]
pub(super) struct StreamExecutor(mpsc::UnboundedSender<Stream>);

/// The open streams of a connection. hyper limits their number.
pub(super) struct RunningStreams {
    new: mpsc::UnboundedReceiver<Stream>,
    running: FuturesUnordered<Stream>,
}

pub(super) fn stream_executor() -> (StreamExecutor, RunningStreams) {
    let (sender, new) = mpsc::unbounded_channel();
    (StreamExecutor(sender), RunningStreams { new, running: FuturesUnordered::new() })
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        // Without a receiver the connection is gone, and its streams with it.
        let _ = self.0.send(Box::pin(stream));
    }
}

impl RunningStreams {
    /// Runs the streams until dropped.
    pub(super) async fn run(mut self) -> Infallible {
        loop {
            select! {
                Some(stream) = self.new.recv() => self.running.push(stream),
                Some(()) = self.running.next() => {}
                else => return std::future::pending().await,
            }
        }
    }
}
