//! Bodies of HTTP/2 requests that were answered before they were read.
//!
//! A server may answer early and then has to reset the stream with `NO_ERROR` (RFC 9113 §8.1). Clients that are still sending
//! take that for a failure and lose the answer. So the rest is read for a short time: most bodies end in it, and with them
//! the stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderMap;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;

use super::admission::Admitted;
use super::memory::Charge;

/// How long the rest of a body may take.
const TIME: Duration = Duration::from_secs(1);
/// How much of it is read. A client with more to send is blocked by the stream's window until the time is over.
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
        let (Some(body), Some(place)) = (self.body.take(), self.place.take()) else { return };
        if body.is_end_stream() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        // Without memory for the wait, the stream is reset as soon as the answer is sent.
        let Ok(charge) = Charge::of_head(&place, &HeaderMap::new()) else { return };
        runtime.spawn(async move {
            let _ = tokio::time::timeout(TIME, drain(body)).await;
            drop(charge);
        });
    }
}

/// Reads `body` to its end. Beyond [`MOST_BYTES`], only holds it.
async fn drain(mut body: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > MOST_BYTES {
            std::future::pending().await
        }
    }
}
