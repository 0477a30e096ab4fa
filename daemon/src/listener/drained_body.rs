//! The bodies of requests that were answered before they were read.
//!
//! HTTP/2: a server that answers early must reset the stream with `NO_ERROR` (RFC 9113 §8.1). Clients that are still
//! sending treat this as a failure and lose the answer. So the rest is read for a short time, in which most bodies and
//! streams end.
//!
//! HTTP/1: the server must read the whole body or close the connection (RFC 9112 §9.3). Before it answers, it reads what has
//! arrived, and closes if that was not all. A client may have announced a body that it never sends (nginx does, if it is to
//! leave out the body of a `POST`), and would lose the begin of its next request as that body.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Request, header};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::rt::Executor;

use super::admission::ConnectionSlot;
use super::memory::Charge;
use super::stream_executor::StreamExecutor;

/// Longer in unit tests, for a busy machine.
const TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 1 });
const MAX_BYTES: usize = 64 * 1024;

/// HTTP/1: polls in which the connection hands over what has arrived.
const POLLS: u32 = 4;

/// A request body. Dropped before its end, it is drained for a short time (HTTP/2), or left to the connection (HTTP/1).
pub(super) struct DrainedBody {
    /// `None` once read or dropped.
    body: Option<Incoming>,
    /// The connection, whose memory is charged for draining.
    slot: Arc<ConnectionSlot>,
    /// HTTP/2: the connection's task, which drains.
    streams: Option<StreamExecutor>,
    /// Whether the client sends the body only after `100 Continue` (RFC 9110 §10.1.1), which reading it would cause.
    is_expecting: bool,
}

/// HTTP/1: a body that a handler left unread.
pub(super) struct UnreadBody {
    body: Incoming,
    is_expecting: bool,
}

impl DrainedBody {
    /// `streams` is `None` for HTTP/1.
    pub(super) fn of(
        request: Request<Incoming>,
        slot: &Arc<ConnectionSlot>,
        streams: Option<&StreamExecutor>,
    ) -> Request<Self> {
        let is_expecting = request.headers().contains_key(header::EXPECT);
        request.map(|body| Self {
            body: Some(body),
            slot: slot.clone(),
            streams: streams.cloned(),
            is_expecting,
        })
    }
}

impl UnreadBody {
    /// Discards what has arrived. Returns whether that was all.
    pub(super) async fn drain(mut self) -> bool {
        if self.is_expecting {
            return false;
        }
        let (mut read, mut polls) = (0, 0);
        poll_fn(|context| {
            if let Poll::Ready(is_whole) = poll_rest(&mut self.body, &mut read, context) {
                return Poll::Ready(is_whole);
            }
            polls += 1;
            if polls == POLLS {
                return Poll::Ready(false);
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }
}

impl HttpBody for DrainedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if frame.is_none() {
            self.body = None;
        }
        Poll::Ready(frame)
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
        let Some(mut body) = self.body.take() else { return };
        let Some(streams) = &self.streams else {
            if !body.is_end_stream() {
                self.slot.activity.leave_unread(UnreadBody { body, is_expecting: self.is_expecting });
            }
            return;
        };
        // Most bodies have already arrived. A closed connection needs no drain.
        let mut read = 0;
        let is_open = poll_rest(&mut body, &mut read, &mut Context::from_waker(Waker::noop()));
        if is_open.is_ready() {
            return;
        }
        // Without memory for draining, the stream is reset as soon as the answer is sent.
        let Ok(charge) = Charge::for_head(&self.slot, &HeaderMap::new()) else { return };
        streams.execute(async move {
            let rest = poll_fn(|context| poll_rest(&mut body, &mut read, context));
            let _ = tokio::time::timeout(TIMEOUT, rest).await;
            drop(charge);
        });
    }
}

/// Discards the available bytes of `body`. Ready at its end, or with `false` if it is malformed, or the connection or stream
/// is gone. After [`MAX_BYTES`] it stops reading, and the stream's window blocks the client.
fn poll_rest(body: &mut Incoming, read: &mut usize, context: &mut Context<'_>) -> Poll<bool> {
    while *read <= MAX_BYTES {
        match ready!(Pin::new(&mut *body).poll_frame(context)) {
            Some(Ok(frame)) => *read += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) => return Poll::Ready(false),
            None => return Poll::Ready(true),
        }
    }
    Poll::Pending
}
