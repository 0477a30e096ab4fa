//! The loopback listener: a thread that answers whoever comes, and tells what came. Strangers never end the wait.

mod desk;
mod interrupt;

use std::collections::VecDeque;
use std::io;
use std::net;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task;

use super::pages::SignedIn;
use super::response::{Expected, Response};
use desk::Desk;
use interrupt::Interrupts;

/// How long a connection may take, but for the one whose answer is held.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(2);
/// The bytes of a request that are kept before it is refused.
const MAX_REQUEST: usize = 8 * 1024;
const MAX_CONNECTIONS: usize = 32;
/// How long the browser may take to fetch the last page.
const LAST_PAGE_PATIENCE: Duration = Duration::from_secs(2);
/// When no connection can be accepted, for example because no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What may come while a login waits.
#[derive(Debug)]
pub(super) enum Arrival {
    /// The awaited response. It comes once.
    Response(Response),
    /// A line that was pasted into the terminal.
    Pasted(String),
    /// The return key alone.
    EmptyLine,
    /// The response of another login; told once.
    Foreign,
    /// The single-use address was fetched a second time.
    OpenedTwice,
    NotOpened,
    /// SIGINT, SIGTERM or SIGHUP.
    Interrupted,
}

/// How the login ended, as the browser is told.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    LoggedIn(SignedIn),
    NotLoggedIn,
}

/// A running listener; it stops, and frees its port, when it is dropped.
pub(super) struct Listener {
    port: u16,
    desk: Arc<Desk>,
    outcome: watch::Sender<Option<Outcome>>,
    last_page_sent: Receiver<()>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A connection that is being answered.
struct Connection {
    task: task::JoinHandle<()>,
    /// Its request is the awaited one, and waits for the daemon.
    is_held: Arc<AtomicBool>,
}

impl Listener {
    /// Serves `socket`, where there is one, and sends on what comes. The single-use address leads to `url`.
    pub(super) fn start(
        socket: Option<net::TcpListener>,
        port: u16,
        expected: Expected,
        url: &str,
        arrivals: Sender<Arrival>,
    ) -> io::Result<Self> {
        let (outcome, outcome_known) = watch::channel(None);
        let (sent, last_page_sent) = mpsc::channel();
        let desk = Arc::new(Desk::new(port, expected, url, arrivals.clone(), outcome_known, sent));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (socket, interrupts) = {
            let _entered = runtime.enter();
            let socket = socket
                .map(|socket| socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket)))
                .transpose()?;
            // From here on, before anybody is told to sign in.
            (socket, Interrupts::await_them())
        };
        let serving = Arc::clone(&desk);
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
                    () = interrupt::tell(interrupts, arrivals) => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Self { port, desk, outcome, last_page_sent, stop: Some(stop), thread: Some(thread) })
    }

    /// The single-use address for the browser. It holds no parameter of the login: command lines are public.
    pub(super) fn address(&self) -> String {
        format!("http://127.0.0.1:{}{}", self.port, self.desk.start_path())
    }

    /// Tells, at any later time, whether the single-use address was fetched.
    pub(super) fn was_fetched(&self) -> impl Fn() -> bool + Clone + Send + 'static {
        let desk = Arc::clone(&self.desk);
        move || desk.is_started()
    }

    /// Lets the browser know how it ended, if its request is held, and stops.
    pub(super) fn conclude(self, outcome: Outcome) {
        // A send fails when no request is held by now.
        let _ = self.outcome.send(Some(outcome));
        if self.desk.has_response() {
            // A browser that has gone gets no page.
            let _ = self.last_page_sent.recv_timeout(LAST_PAGE_PATIENCE);
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

async fn accept(socket: TcpListener, desk: Arc<Desk>) {
    let mut connections = VecDeque::new();
    loop {
        match socket.accept().await {
            Ok((stream, _)) => {
                make_room(&mut connections);
                let is_held = Arc::new(AtomicBool::new(false));
                let task = task::spawn(serve(stream, Arc::clone(&desk), Arc::clone(&is_held)));
                connections.push_back(Connection { task, is_held });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Whoever has been here longest without being the awaited one makes room for who comes.
fn make_room(connections: &mut VecDeque<Connection>) {
    connections.retain(|connection| !connection.task.is_finished());
    if connections.len() < MAX_CONNECTIONS {
        return;
    }
    let is_stranger = |connection: &Connection| !connection.is_held.load(Ordering::Relaxed);
    if let Some(oldest) =
        connections.iter().position(is_stranger).and_then(|position| connections.remove(position))
    {
        oldest.task.abort();
    }
}

async fn serve(stream: TcpStream, desk: Arc<Desk>, is_held: Arc<AtomicBool>) {
    let held = Arc::clone(&is_held);
    let service = service_fn(move |request| Arc::clone(&desk).answer(request, Arc::clone(&held)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_PATIENCE)
        .max_buf_size(MAX_REQUEST)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // However it ended, it is over.
        _ = &mut connection => return,
        () = tokio::time::sleep(CONNECTION_PATIENCE) => {}
    }
    if is_held.load(Ordering::Relaxed) {
        let _ = connection.await;
    }
}
