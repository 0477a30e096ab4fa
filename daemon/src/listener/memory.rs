//! Accounts for the memory of connections and requests before it is allocated.
//!
//! An unauthenticated connection counts at its maximum size, so filling its buffers gains an attacker nothing. After
//! valid credentials it counts at its idle size. A request counts its head, its body as it arrives, and its answer
//! until sent. Cached answers count nothing, because only callers with a valid token or credential get one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::admission::{ConnectionSlot, NoMemory};

/// A connection during its handshake: what the client may send, and the handshake state.
pub(super) const HANDSHAKE: usize = 24 * 1024;
/// Maximum size of a ClientHello: eight times what clients send.
pub(super) const HELLO: u64 = 16 * 1024;
/// What TLS may buffer for a peer that does not read.
pub(super) const TLS_OUTPUT: usize = 16 * 1024;
/// The size of an idle connection, for either protocol.
pub(super) const IDLE: usize = 32 * 1024;
/// Maximum size of an HTTP/1.1 connection: TLS records in both directions, one head, one answer.
pub(super) const HTTP1: usize = 80 * 1024;
/// Maximum size of an HTTP/2 connection: also a frame, a header block with the most small fields, and two HPACK
/// tables.
pub(super) const HTTP2: usize = 112 * 1024;
/// Granularity of counting HTTP/2 input.
pub(super) const INPUT_STEP: usize = 16 * 1024;
/// Maximum counted HTTP/2 input. An HPACK table entry may keep its read buffer alive: 4096 bytes hold 124 entries of
/// at least 33 (RFC 7541 §4.1), and a frame has 16 kB.
pub(super) const MAX_INPUT: usize = 2 * 1024 * 1024;
/// A request's overhead: its task, its stream and the answer's head.
const REQUEST: usize = 8 * 1024;
/// A header field's overhead, with spare room in its table.
const FIELD: usize = 320;
/// Overhead of a part of a body.
const PART: usize = 128;

/// The memory that a request holds, freed when its last owner is dropped.
pub(super) struct Charge {
    slot: Arc<ConnectionSlot>,
    bytes: AtomicUsize,
}

impl Charge {
    /// Counts a request with this head.
    pub(super) fn for_head(slot: &Arc<ConnectionSlot>, headers: &HeaderMap) -> Result<Arc<Self>, NoMemory> {
        let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD);
        let charge = Self { slot: slot.clone(), bytes: AtomicUsize::new(0) };
        charge.grow(REQUEST + fields.sum::<usize>())?;
        Ok(Arc::new(charge))
    }

    pub(super) fn grow(&self, bytes: usize) -> Result<(), NoMemory> {
        self.slot.reserve(bytes)?;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.slot.release(*self.bytes.get_mut());
    }
}

/// Copies a head into its own memory. In HTTP/2, the original keeps its read buffer alive, which may be many times
/// larger.
pub(super) fn copy_head<B>(request: &mut Request<B>) {
    let copied = |value: &HeaderValue| {
        let mut copied = HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone());
        copied.set_sensitive(value.is_sensitive());
        copied
    };
    let name =
        |name: &HeaderName| HeaderName::from_bytes(name.as_str().as_bytes()).unwrap_or_else(|_| name.clone());
    let headers = request.headers().iter().map(|(it, value)| (name(it), copied(value))).collect();
    *request.headers_mut() = headers;
    if let Ok(uri) = request.uri().to_string().parse() {
        *request.uri_mut() = uri;
    }
}

/// A request body, counted as it arrives, and copied into its own memory like the head.
pub(super) struct CountedRequest<B> {
    pub(super) body: B,
    pub(super) charge: Arc<Charge>,
}

impl<B> HttpBody for CountedRequest<B>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        polled.map(|frame| {
            frame.map(|frame| {
                let frame = frame.map_err(Into::into)?;
                let Some(data) = frame.data_ref() else { return Ok(frame) };
                self.charge.grow(data.len() + PART)?;
                Ok(Frame::data(Bytes::copy_from_slice(data)))
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body, counted until it is sent. On HTTP/2 the last byte is separate: the stream polls for it only
/// after the rest is sent, so an unread answer stays counted.
pub(super) struct CountedResponse {
    body: Body,
    is_http2: bool,
    last: Option<Bytes>,
    _charge: Arc<Charge>,
}

impl CountedResponse {
    pub(super) fn new(body: Body, charge: Arc<Charge>, is_http2: bool) -> Self {
        Self { body, is_http2, last: None, _charge: charge }
    }
}

impl HttpBody for CountedResponse {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(last) = self.last.take() {
            return Poll::Ready(Some(Ok(Frame::data(last))));
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if !self.is_http2 {
            return polled;
        }
        polled.map(|frame| {
            frame.map(|frame| {
                frame.map(|frame| match frame.into_data() {
                    Ok(mut data) if data.len() > 1 => {
                        self.last = Some(data.split_off(data.len() - 1));
                        Frame::data(data)
                    }
                    Ok(data) => Frame::data(data),
                    Err(frame) => frame,
                })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, last) = (self.body.size_hint(), self.last.as_ref().map_or(0, Bytes::len));
        let last = u64::try_from(last).unwrap_or_default();
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower() + last);
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + last);
        }
        whole
    }
}
