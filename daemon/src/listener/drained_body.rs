//! Drains the bodies of HTTP/2 requests that were answered before they were read.
//!
//! A server that answers early must reset the stream with `NO_ERROR` (RFC 9113 §8.1). Clients that are still sending
//! treat this as a failure and lose the answer. So the rest is read for a short time, in which most bodies and
//! streams end.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::rt::Executor;

use super::admission::ConnectionSlot;
use super::memory::Charge;
use super::stream_executor::StreamExecutor;

/// Longer in unit tests, for a busy machine.
const TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 1 });
const MAX_BYTES: usize = 64 * 1024;

/// A request body that is drained for a short time if dropped before its end.
pub(super) struct DrainedBody {
    /// `None` once dropped.
    body: Option<Incoming>,
    /// HTTP/2: the connection whose memory is charged for draining, and whose task drains.
    connection: Option<(Arc<ConnectionSlot>, StreamExecutor)>,
}

impl DrainedBody {
    /// `streams` is `None` for HTTP/1, which needs no drain.
    pub(super) fn new(body: Incoming, slot: &Arc<ConnectionSlot>, streams: Option<&StreamExecutor>) -> Self {
        Self { body: Some(body), connection: streams.map(|streams| (slot.clone(), streams.clone())) }
    }
}

impl HttpBody for DrainedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for DrainedBody {
    fn drop(&mut self) {
        let (Some(mut body), Some((slot, streams))) = (self.body.take(), self.connection.take()) else {
            return;
        };
        // Most bodies have already arrived. A closed connection needs no drain.
        let mut read = 0;
        let is_open = poll_rest(&mut body, &mut read, &mut Context::from_waker(Waker::noop()));
        if is_open.is_ready() {
            return;
        }
        // Without memory for draining, the stream is reset as soon as the answer is sent.
        let Ok(charge) = Charge::for_head(&slot, &HeaderMap::new()) else { return };
        streams.execute(async move {
            let rest = poll_fn(|context| poll_rest(&mut body, &mut read, context));
            let _ = tokio::time::timeout(TIMEOUT, rest).await;
            drop(charge);
        });
    }
}

/// Discards the available bytes of `body`. Ready at its end or when the connection or stream is gone. After
/// [`MAX_BYTES`] it stops reading, and the stream's window blocks the client.
fn poll_rest(body: &mut Incoming, read: &mut usize, context: &mut Context<'_>) -> Poll<()> {
    while *read <= MAX_BYTES {
        match ready!(Pin::new(&mut *body).poll_frame(context)) {
            Some(Ok(frame)) => *read += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => return Poll::Ready(()),
        }
    }
    Poll::Pending
}
