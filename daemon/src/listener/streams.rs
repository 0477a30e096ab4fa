//! The streams between a socket and HTTP: a bound on handshakes, and tracking of activity.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Join, ReadBuf, Take};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::admission::ConnectionSlot;
use super::memory::{HELLO, INPUT_STEP, MAX_INPUT};

/// A socket that limits reading until the ClientHello arrived.
pub(super) type BoundedSocket = Join<Take<OwnedReadHalf>, OwnedWriteHalf>;

/// Limits what arrives before [`lift_limit`] to the size of a ClientHello.
pub(super) fn bound(stream: TcpStream) -> BoundedSocket {
    let (reader, writer) = stream.into_split();
    tokio::io::join(reader.take(HELLO), writer)
}

pub(super) fn lift_limit(socket: &mut BoundedSocket) {
    socket.reader_mut().set_limit(u64::MAX);
}

/// A stream that tracks its activity. While the peer does not read, it reads nothing either, so no answers
/// accumulate.
pub(super) struct ActivityStream<S> {
    stream: S,
    slot: Arc<ConnectionSlot>,
    is_blocked: bool,
    /// Waits to read until the peer reads.
    reader: Option<Waker>,
    /// HTTP/2: bytes received but not counted yet, and bytes counted.
    input: Option<(usize, usize)>,
}

impl<S> ActivityStream<S> {
    pub(super) fn new(stream: S, slot: Arc<ConnectionSlot>, is_http2: bool) -> Self {
        let input = is_http2.then_some((0, 0));
        Self { stream, slot, is_blocked: false, reader: None, input }
    }

    fn received(&mut self, bytes: usize) {
        self.slot.activity.received();
        let Some((uncounted, counted)) = &mut self.input else { return };
        *uncounted += bytes;
        while *uncounted >= INPUT_STEP && *counted < MAX_INPUT {
            (*uncounted, *counted) = (*uncounted - INPUT_STEP, *counted + INPUT_STEP);
            // Without memory the connection is evicted; a trusted proxy continues.
            let _ = self.slot.reserve_until_authenticated(INPUT_STEP);
        }
    }

    /// Records whether the peer reads what is written.
    fn wrote<T>(&mut self, written: Poll<T>) -> Poll<T> {
        if self.is_blocked != written.is_pending() {
            self.is_blocked = written.is_pending();
            self.slot.set_blocked(self.is_blocked);
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ActivityStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_blocked {
            self.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let came = buffer.filled().len() - before;
        if came > 0 {
            self.received(came);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ActivityStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.wrote(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
