//! The stream of a connection, with a limit for everything that a server sends, and without weak ways to ask for the password.
//!
//! The client library reads a message of any length into memory, and sends a password in clear text or as MD5 if the server
//! asks for it: a server that was taken over, or one with a stolen certificate, could use both. This stream reads the headers
//! of the messages (PostgreSQL's protocol 3.0) before the library does, and fails first.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

/// From the start until the connection is ready.
const STARTUP: usize = 64 * 1024;
/// The answer to one statement. A batch of rows of the largest size fits.
const ANSWER: usize = 32 * 1024 * 1024;
/// The answers that all connections wait for.
const ALL_ANSWERS: usize = 64 * 1024 * 1024;
/// Changed settings that a server reports while a connection lives. The library keeps them.
const SETTINGS: usize = 1024 * 1024;
/// What a message counts at least, because each needs memory of its own.
const LEAST: usize = 256;

/// The tag and the length of a message.
const HEADER: usize = 5;
const AUTHENTICATION: u8 = b'R';
const PARAMETER_STATUS: u8 = b'S';
const READY_FOR_QUERY: u8 = b'Z';
/// The first four bytes of an authentication request.
const CLEAR_TEXT: [u8; 4] = 3_u32.to_be_bytes();
const MD5: [u8; 4] = 5_u32.to_be_bytes();

/// Why the connection to a server was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("the server asks for the password in clear text, which infrad never sends")]
    ClearText,
    #[error("the server asks for an MD5 hash of the password, which infrad never sends")]
    MD5,
    #[error("the server sent more than {} KiB before it was ready", STARTUP / 1024)]
    LongStart,
    #[error("the answer of the server is larger than {} MiB", ANSWER / 1024 / 1024)]
    LongAnswer,
    #[error("the answers of the database are larger than {} MiB together", ALL_ANSWERS / 1024 / 1024)]
    LongAnswers,
    #[error("the server reported changed settings without end")]
    ManySettings,
}

impl Refused {
    /// Finds the reason in the causes of an error.
    pub(super) fn in_causes(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let mut causes = std::iter::successors(Some(error), |error| error.source());
        causes.find_map(|cause| {
            let of_stream = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            of_stream.and_then(|inner| inner.downcast_ref()).or_else(|| cause.downcast_ref()).copied()
        })
    }
}

/// The bytes of answers that all connections wait for.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers(Arc<AtomicUsize>);

/// A stream that fails when the server sends too much.
pub(super) struct Limited<S> {
    stream: S,
    server: Server,
}

/// What a server has sent.
struct Server {
    answers: Answers,
    is_ready: bool,
    /// The header of the next message, as far as it was read.
    header: [u8; HEADER],
    header_length: usize,
    /// What is left of the body of this message.
    body_left: usize,
    /// The first bytes of an authentication request.
    request: Vec<u8>,
    /// Counted of this answer, also in `answers`.
    answer: usize,
    settings: usize,
}

impl<S> Limited<S> {
    pub(super) fn new(stream: S, answers: Answers) -> Self {
        Self { stream, server: Server::new(answers) }
    }
}

impl Server {
    fn new(answers: Answers) -> Self {
        Self {
            answers,
            is_ready: false,
            header: [0; HEADER],
            header_length: 0,
            body_left: 0,
            request: Vec::new(),
            answer: 0,
            settings: 0,
        }
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<(), Refused> {
        while let Some(first) = bytes.first() {
            if self.body_left == 0 {
                if let Some(free) = self.header.get_mut(self.header_length) {
                    *free = *first;
                }
                self.header_length += 1;
                bytes = bytes.get(1..).unwrap_or_default();
                if self.header_length == HEADER {
                    self.begin_message()?;
                }
                continue;
            }
            let (body, rest) = bytes.split_at(self.body_left.min(bytes.len()));
            self.body_left -= body.len();
            bytes = rest;
            self.read_body(body)?;
        }
        Ok(())
    }

    /// Counts a message by the length that it announces.
    fn begin_message(&mut self) -> Result<(), Refused> {
        let [tag, length @ ..] = self.header;
        self.header_length = 0;
        // Includes itself. The library rejects a shorter one.
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        self.body_left = length.saturating_sub(size_of::<u32>());
        self.request.clear();
        if tag == READY_FOR_QUERY {
            self.is_ready = true;
            self.end_answer();
        }
        let counted = length.saturating_add(1).max(LEAST);
        if tag == PARAMETER_STATUS {
            // The library keeps the last value of each, so this is a bound for names that never end.
            self.settings = self.settings.saturating_add(length);
        }
        self.count(counted)
    }

    fn count(&mut self, bytes: usize) -> Result<(), Refused> {
        let (limit, refused) =
            if self.is_ready { (ANSWER, Refused::LongAnswer) } else { (STARTUP, Refused::LongStart) };
        if bytes > limit.saturating_sub(self.answer) {
            return Err(refused);
        }
        if self.settings > SETTINGS {
            return Err(Refused::ManySettings);
        }
        self.answer += bytes;
        let all = self.answers.0.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if all > ALL_ANSWERS { Err(Refused::LongAnswers) } else { Ok(()) }
    }

    fn read_body(&mut self, body: &[u8]) -> Result<(), Refused> {
        let [tag, ..] = self.header;
        if tag != AUTHENTICATION {
            return Ok(());
        }
        let missing = CLEAR_TEXT.len().saturating_sub(self.request.len());
        self.request.extend(body.iter().take(missing));
        match self.request.as_slice() {
            request if request == CLEAR_TEXT => Err(Refused::ClearText),
            request if request == MD5 => Err(Refused::MD5),
            _ => Ok(()),
        }
    }

    fn end_answer(&mut self) {
        self.answers.0.fetch_sub(self.answer, Ordering::Relaxed);
        self.answer = 0;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end_answer();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Limited<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let read = buffer.filled().get(before..).unwrap_or_default();
        Poll::Ready(self.server.read(read).map_err(io::Error::other))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Limited<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Limited<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

/// Makes limited streams inside of TLS.
#[derive(Clone)]
pub(super) struct LimitedTls<T> {
    pub(super) tls: T,
    pub(super) answers: Answers,
}

impl<S, T: MakeTlsConnect<S>> MakeTlsConnect<S> for LimitedTls<T>
where
    <T::TlsConnect as TlsConnect<S>>::Future: Send + 'static,
{
    type Stream = Limited<T::Stream>;
    type TlsConnect = LimitedTls<T::TlsConnect>;
    type Error = T::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self::TlsConnect, Self::Error> {
        Ok(LimitedTls { tls: self.tls.make_tls_connect(domain)?, answers: self.answers.clone() })
    }
}

impl<S, T: TlsConnect<S>> TlsConnect<S> for LimitedTls<T>
where
    T::Future: Send + 'static,
{
    type Stream = Limited<T::Stream>;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Self::Error>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        let (connecting, answers) = (self.tls.connect(stream), self.answers);
        Box::pin(async move { Ok(Limited::new(connecting.await?, answers)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
        [&[tag], length.as_slice(), body].concat()
    }

    fn header(tag: u8, length: u32) -> Vec<u8> {
        [&[tag], length.to_be_bytes().as_slice()].concat()
    }

    fn ready_server(answers: &Answers) -> Server {
        let mut server = Server::new(answers.clone());
        let sent = [message(AUTHENTICATION, &[0; 4]), message(READY_FOR_QUERY, b"I")].concat();
        server.read(&sent).expect("an ordinary start");
        server
    }

    /// Also if the bytes arrive one by one.
    #[test]
    fn weak_password_requests_are_refused() {
        for (request, refused) in [
            (message(AUTHENTICATION, &CLEAR_TEXT), Err(Refused::ClearText)),
            (message(AUTHENTICATION, &[&MD5[..], b"salt"].concat()), Err(Refused::MD5)),
            (message(AUTHENTICATION, &[&[0, 0, 0, 10], &b"SCRAM-SHA-256\0\0"[..]].concat()), Ok(())),
            (message(b'E', &CLEAR_TEXT), Ok(())),
        ] {
            assert_eq!(Server::new(Answers::default()).read(&request), refused);
            let mut slow = Server::new(Answers::default());
            let read = request.iter().try_for_each(|byte| slow.read(std::slice::from_ref(byte)));
            assert_eq!(read, refused);
        }
    }

    #[test]
    fn announced_length_is_refused_before_it_arrives() {
        let answers = Answers::default();
        let large = header(b'D', 2_000_000_000);
        assert_eq!(Server::new(answers.clone()).read(&large), Err(Refused::LongStart));
        assert_eq!(ready_server(&answers).read(&large), Err(Refused::LongAnswer));
        let half = u32::try_from(ANSWER / 2 + 1).expect("it fits");
        let mut server = ready_server(&answers);
        server.read(&header(b'D', half)).expect("half of the limit");
        server.read(&vec![0; ANSWER / 2 - 3]).expect("its body");
        assert_eq!(server.read(&header(b'D', half)), Err(Refused::LongAnswer));
        drop(server);
        assert_eq!(answers.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn endless_small_messages_are_refused() {
        let notice = message(b'N', b"\0");
        let count = |server: &mut Server, limit: usize| {
            (0..=limit / LEAST).find_map(|_| server.read(&notice).err()).expect("a limit")
        };
        assert_eq!(count(&mut Server::new(Answers::default()), STARTUP), Refused::LongStart);
        assert_eq!(count(&mut ready_server(&Answers::default()), ANSWER), Refused::LongAnswer);
        let mut server = ready_server(&Answers::default());
        let answered = [message(PARAMETER_STATUS, b"a\0b\0"), message(READY_FOR_QUERY, b"I")].concat();
        let refused = (0..=SETTINGS / "a\0b\0".len()).find_map(|_| server.read(&answered).err());
        assert_eq!(refused, Some(Refused::ManySettings));
    }

    #[test]
    fn answers_of_all_connections_have_a_common_limit() {
        let answers = Answers::default();
        let mut servers: Vec<Server> = (0..3).map(|_| ready_server(&answers)).collect();
        let part = header(b'D', u32::try_from(ANSWER / 4 * 3).expect("it fits"));
        let read: Vec<_> = servers.iter_mut().map(|server| server.read(&part)).collect();
        assert_eq!(read, [Ok(()), Ok(()), Err(Refused::LongAnswers)]);
        drop(servers);
        assert_eq!(answers.0.load(Ordering::Relaxed), 0);
        let mut server = ready_server(&answers);
        for _ in 0..8 {
            server.read(&header(b'D', 24 << 20)).expect("one answer");
            server.read(&vec![0; (24 << 20) - 4]).expect("its body");
            server.read(&message(READY_FOR_QUERY, b"I")).expect("its end");
        }
    }
}
