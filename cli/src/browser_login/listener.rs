//! The loopback listener: a thread that answers connections and reports events. Unexpected requests never end the
//! wait.

mod callback_handler;
mod head;
mod interrupt;

use std::collections::VecDeque;
use std::io;
use std::net::{self, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::{runtime, task};

use super::pages::{LoginSummary, Page};
use super::response::{ExpectedResponse, Response};
use crate::platform::{Interrupts, Peer};
use callback_handler::CallbackHandler;
use head::{Head, MAX_HEAD};

/// Time limit for a connection, except one whose response is held.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_CONNECTIONS: usize = 32;
/// How long to wait for the browser to fetch the last page. A browser on a busy machine needs seconds.
const RESULT_PAGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Used if the head of a request was too large to keep. Its content does not affect the response.
const ANY_REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
/// The alert `handshake_failure` (RFC 8446 §6) in its own record, so that the browser stops waiting.
const NO_TLS: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 40];
/// Pause if no connection can be accepted, for example because no file descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Events while a sign-in waits.
#[derive(Debug)]
pub(super) enum Event {
    /// The expected response. It is sent once.
    Response(Response),
    /// A line that was pasted into the terminal.
    Pasted(String),
    /// Only the return key was pressed.
    EmptyLine,
    /// Information for the user. The wait continues.
    Notice(Notice),
    NotOpened,
    Interrupted,
}

/// An event at the listener that is shown in the terminal once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    /// A response for another sign-in.
    OtherLogin,
    /// Another local user followed the sign-in's address.
    AnotherUser,
    /// A browser tried to connect by TLS.
    TLS,
    /// A request head exceeded `MAX_HEAD`.
    TooLarge,
}

impl Notice {
    const COUNT: usize = 4;
}

/// Connections that may fetch the sign-in's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AllowedPeers {
    /// Those of this user.
    ThisUser,
    /// In WSL also those from Windows. Root relays them, or no local socket matches them.
    ThisUserAndWindows,
    /// All, because only this user knows the address.
    All,
}

impl AllowedPeers {
    fn includes(self, peer: Peer) -> bool {
        match self {
            Self::ThisUser => peer == Peer::ThisUser,
            Self::ThisUserAndWindows => peer != Peer::AnotherUser,
            Self::All => true,
        }
    }
}

/// Result of the sign-in, as shown in the browser.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    LoggedIn(LoginSummary),
    NotLoggedIn,
}

/// A running listener. Drop stops it and frees its port.
pub(super) struct Listener {
    port: u16,
    handler: Arc<CallbackHandler>,
    outcome: watch::Sender<Option<Outcome>>,
    last_page_sent: Receiver<()>,
    runtime: runtime::Handle,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A connection that is being answered.
struct Connection {
    task: task::JoinHandle<()>,
    /// Its request is the expected one and waits for the daemon.
    is_held: Arc<AtomicBool>,
}

impl Listener {
    /// Serves `socket`, if there is one, and sends events to `events`. The sign-in's address redirects `allowed_peers`
    /// connections to `url`.
    pub(super) fn start(
        socket: Option<net::TcpListener>,
        port: u16,
        allowed_peers: AllowedPeers,
        expected: ExpectedResponse,
        url: &str,
        events: Sender<Event>,
    ) -> io::Result<Self> {
        let (outcome, outcome_receiver) = watch::channel(None);
        let (sent, last_page_sent) = mpsc::channel();
        let handler = Arc::new(CallbackHandler::new(
            port,
            allowed_peers,
            expected,
            url,
            events.clone(),
            outcome_receiver,
            sent,
        ));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (socket, interrupts) = {
            let _entered = runtime.enter();
            let socket = socket
                .map(|socket| socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket)))
                .transpose()?;
            // Catch signals before the user is asked to sign in.
            (socket, Interrupts::listen())
        };
        let (serving, tasks) = (Arc::clone(&handler), runtime.handle().clone());
        let thread = thread::spawn(move || {
            runtime.block_on(async move {
                let accept = async {
                    match socket {
                        Some(socket) => accept(socket, serving).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = accept => {}
                    () = interrupt::forward(interrupts, events) => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self {
            port,
            handler,
            outcome,
            last_page_sent,
            runtime: tasks,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The sign-in's address for the browser. It contains no parameter of the sign-in, because command lines are
    /// public.
    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, self.handler.start_path())
    }

    /// Set once this user's browser has fetched the sign-in's address.
    pub(super) fn was_fetched(&self) -> Arc<AtomicBool> {
        self.handler.was_fetched()
    }

    /// Runs `task` until the listener stops.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Sends the outcome to held requests. Only the first outcome counts.
    pub(super) fn conclude(&self, outcome: Outcome) {
        let is_first = self.outcome.send_if_modified(|sent| {
            let is_first = sent.is_none();
            sent.get_or_insert(outcome);
            is_first
        });
        if !is_first {
            return;
        }
        // Wait until each held tab has fetched its page or disconnected.
        let deadline = Instant::now() + RESULT_PAGE_TIMEOUT;
        let mut sent = 0;
        while sent < self.handler.held() {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.last_page_sent.recv_timeout(left).is_err() {
                break;
            }
            sent += 1;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(socket: TcpListener, handler: Arc<CallbackHandler>) {
    let mut connections = VecDeque::new();
    loop {
        match socket.accept().await {
            Ok((stream, from)) => {
                make_room(&mut connections);
                let is_held = Arc::new(AtomicBool::new(false));
                let task = task::spawn(serve(stream, from, Arc::clone(&handler), Arc::clone(&is_held)));
                connections.push_back(Connection { task, is_held });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Evicts the oldest connection that does not hold the expected request, if the limit is reached.
fn make_room(connections: &mut VecDeque<Connection>) {
    connections.retain(|connection| !connection.task.is_finished());
    if connections.len() < MAX_CONNECTIONS {
        return;
    }
    let is_evictable = |connection: &Connection| !connection.is_held.load(Ordering::Relaxed);
    if let Some(oldest) =
        connections.iter().position(is_evictable).and_then(|position| connections.remove(position))
    {
        oldest.task.abort();
    }
}

async fn serve(stream: TcpStream, from: SocketAddr, handler: Arc<CallbackHandler>, is_held: Arc<AtomicBool>) {
    let exchange = exchange(stream, from, handler, Arc::clone(&is_held));
    tokio::pin!(exchange);
    tokio::select! {
        // Errors of a single connection are ignored.
        _ = &mut exchange => return,
        () = tokio::time::sleep(CONNECTION_TIMEOUT) => {}
    }
    if is_held.load(Ordering::Relaxed) {
        let _ = exchange.await;
    }
}

async fn exchange(
    mut stream: TcpStream,
    from: SocketAddr,
    handler: Arc<CallbackHandler>,
    is_held: Arc<AtomicBool>,
) -> io::Result<()> {
    let to = stream.local_addr()?;
    let (head, is_too_large) = match head::read(&mut stream).await {
        Head::Whole(head) => (head, false),
        Head::TooLarge => {
            handler.notice(Notice::TooLarge);
            (ANY_REQUEST.to_vec(), true)
        }
        Head::TLS => {
            handler.notice(Notice::TLS);
            stream.write_all(&NO_TLS).await?;
            return stream.shutdown().await;
        }
        Head::Unfinished => return Ok(()),
    };
    let service = service_fn(move |request| {
        let (handler, is_held) = (Arc::clone(&handler), Arc::clone(&is_held));
        async move {
            if is_too_large {
                Ok(Page::TooLarge.response())
            } else {
                handler.answer(request, from, to, is_held).await
            }
        }
    });
    let (reader, writer) = stream.into_split();
    let stream = tokio::io::join(io::Cursor::new(head).chain(reader), writer);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_TIMEOUT)
        // Room for the whole head and some bytes after it.
        .max_buf_size(2 * MAX_HEAD)
        .keep_alive(false)
        // A client may close its sending side after the request and still wait for the response.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    served.await.map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
