//! Bodies of HTTP/2 requests that were answered before they were read.
//!
//! A server may answer early and then has to reset the stream with `NO_ERROR` (RFC 9113 §8.1). Clients that are still sending
//! take that for a failure and lose the answer. So the rest is read for a short time: most bodies end in it, and with them
//! the stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;

use super::admission::Admitted;
use super::memory::Charge;

/// How long the rest of a body may take.
const TIME: Duration = Duration::from_secs(1);
/// How much of it is read.
const MOST_BYTES: usize = 64 * 1024;

/// A request's body. Dropped before its end, it stays open for a short time.
pub(super) struct Unread {
    /// `None` once it is dropped.
    body: Option<Incoming>,
    /// Of HTTP/2: whose memory the wait counts for.
    place: Option<Arc<Admitted>>,
}

impl Unread {
    pub(super) fn new(body: Incoming, place: &Arc<Admitted>, is_http2: bool) -> Self {
        Self { body: Some(body), place: is_http2.then(|| place.clone()) }
    }
}

impl HttpBody for Unread {
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

impl Drop for Unread {
    fn drop(&mut self) {
        let (Some(mut body), Some(place)) = (self.body.take(), self.place.take()) else { return };
        // Most bodies are there already. Of a connection that is gone, nothing has to be waited for.
        let mut read = 0;
        let is_open = poll_rest(&mut body, &mut read, &mut Context::from_waker(Waker::noop()));
        let (Poll::Pending, Ok(runtime)) = (is_open, Handle::try_current()) else { return };
        // Without memory for the wait, the stream is reset as soon as the answer is sent.
        let Ok(charge) = Charge::of_head(&place, &HeaderMap::new()) else { return };
        runtime.spawn(async move {
            let rest = poll_fn(|context| poll_rest(&mut body, &mut read, context));
            let _ = tokio::time::timeout(TIME, rest).await;
            drop(charge);
        });
    }
}

/// Reads and drops what is there of `body`; ready at its end, or when the connection or the stream is gone. Beyond
/// [`MOST_BYTES`] it reads nothing, and the client is blocked by the stream's window.
fn poll_rest(body: &mut Incoming, read: &mut usize, context: &mut Context<'_>) -> Poll<()> {
    while *read <= MOST_BYTES {
        match ready!(Pin::new(&mut *body).poll_frame(context)) {
            Some(Ok(frame)) => *read += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => return Poll::Ready(()),
        }
    }
    Poll::Pending
}
