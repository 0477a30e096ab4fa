//! A small HTTPS server on its own thread, for the peers in tests.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;

use crate::authority::Leaf;

/// A request, including its body.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A response, and how to deliver it.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub delivery: Delivery,
}

/// How a response is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    AtOnce,
    /// Complete, after a delay.
    After(Duration),
    /// One byte at a time.
    Dripping {
        every: Duration,
    },
    /// The body repeats without end.
    Endless,
    /// No response at all, not even a status.
    Never,
    /// Half of the body; then the connection breaks.
    CutShort,
    /// The connection breaks instead of a response.
    Broken,
}

/// Which connections a server accepts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GateState {
    #[default]
    Open,
    /// Resets this many of the next connections.
    Reset { connections: usize },
    /// The port is closed.
    Closed,
}

/// Controls the connections of a server from a test.
#[derive(Debug, Default)]
pub struct Gate {
    door: watch::Sender<GateState>,
    resets: AtomicUsize,
}

impl Gate {
    /// Also applies to connections that wait to be accepted.
    pub fn set(&self, door: GateState) {
        self.door.send_replace(door);
    }

    /// The number of reset connections.
    pub fn resets(&self) -> usize {
        self.resets.load(Ordering::SeqCst)
    }

    /// Returns `true` if this connection must be reset.
    fn must_reset(&self) -> bool {
        let must_reset = self.door.send_if_modified(|door| {
            let GateState::Reset { connections } = *door else { return false };
            *door = match connections {
                0 | 1 => GateState::Open,
                more => GateState::Reset { connections: more - 1 },
            };
            true
        });
        if must_reset {
            self.resets.fetch_add(1, Ordering::SeqCst);
        }
        must_reset
    }
}

/// A running server, stopped when dropped.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

type Respond = dyn Fn(Request) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync;

impl Server {
    /// Serves `respond` on a free port of 127.0.0.1.
    pub fn start<F>(leaf: Leaf, respond: impl Fn(Request) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::start_behind(Arc::default(), 0, leaf, respond)
    }

    /// Like [`Self::start`] with a gate, on a port that stays reserved while it is closed.
    pub fn start_behind<F>(
        gate: Arc<Gate>,
        port: u16,
        leaf: Leaf,
        respond: impl Fn(Request) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS")
            .with_no_client_auth()
            .with_single_cert(leaf.chain, leaf.key)
            .expect("the certificate that was just issued");
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket can be asynchronous");
        let address = listener.local_addr().expect("a bound socket has an address");

        let respond: Arc<Respond> = Arc::new(move |request| Box::pin(respond(request)));
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a bound socket");
                tokio::select! {
                    () = accept(listener, &gate, TlsAcceptor::from(Arc::new(tls)), respond) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_background();
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Request {
    /// The value of a header; `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// The query parameters.
    pub fn query_parameters(&self) -> Vec<(String, String)> {
        parameters(self.query.as_bytes())
    }

    /// The parameters of a form body.
    pub fn form_parameters(&self) -> Vec<(String, String)> {
        parameters(&self.body)
    }
}

impl Answer {
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        let headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("cache-control".to_owned(), "no-store".to_owned()),
        ];
        Self { status, headers, body: body.to_string().into_bytes(), delivery: Delivery::AtOnce }
    }

    pub fn redirect(location: &str) -> Self {
        let headers = vec![("location".to_owned(), location.to_owned())];
        Self { status: 302, headers, body: Vec::new(), delivery: Delivery::AtOnce }
    }

    pub fn text(status: u16, text: &str) -> Self {
        let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
        Self { status, headers, body: text.as_bytes().to_vec(), delivery: Delivery::AtOnce }
    }

    /// Replaces or adds a header.
    pub fn set_header(&mut self, name: &str, value: &str) {
        self.headers.retain(|(header, _)| header != name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }
}

/// Splits and decodes `a=1&b=2`.
pub fn parameters(text: &[u8]) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text).map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// The value of the first parameter `name`.
pub fn parameter(parameters: &[(String, String)], name: &str) -> Option<String> {
    parameters.iter().find(|(parameter, _)| parameter == name).map(|(_, value)| value.clone())
}

async fn accept(listener: TcpListener, gate: &Gate, tls: TlsAcceptor, respond: Arc<Respond>) {
    let address = listener.local_addr().expect("a bound socket has an address");
    let (mut door, mut listener) = (gate.door.subscribe(), Some(listener));
    loop {
        let is_shut = *door.borrow_and_update() == GateState::Closed;
        if is_shut {
            // Closing the listener also resets connections in its backlog.
            listener = None;
        }
        let listening = match &listener {
            Some(listening) => listening,
            None if is_shut => {
                let _ = door.changed().await;
                continue;
            }
            None => listener.insert(TcpListener::bind(address).await.expect("the port from before")),
        };
        tokio::select! {
            biased;
            Ok(()) = door.changed() => {}
            Ok((connection, _)) = listening.accept() => {
                if gate.must_reset() {
                    connection.set_zero_linger().expect("a socket can be reset");
                } else {
                    tokio::spawn(serve(connection, tls.clone(), Arc::clone(&respond)));
                }
            }
        }
    }
}

async fn serve(connection: TcpStream, tls: TlsAcceptor, respond: Arc<Respond>) {
    // Without this, the response waits 40 ms for the acknowledgement of the session tickets.
    let Ok(()) = connection.set_nodelay(true) else { return };
    let Ok(connection) = tls.accept(connection).await else { return };
    let service = hyper::service::service_fn(move |request| answer(request, Arc::clone(&respond)));
    let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(connection), service)
        .await;
}

async fn answer(
    request: hyper::Request<Incoming>,
    respond: Arc<Respond>,
) -> io::Result<hyper::Response<Delivered>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    let headers = parts.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let answer = respond(Request {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: headers.collect(),
        body,
    })
    .await;

    match answer.delivery {
        Delivery::Never => std::future::pending().await,
        Delivery::After(while_) => tokio::time::sleep(while_).await,
        Delivery::Broken => return Err(broken()),
        Delivery::AtOnce | Delivery::Dripping { .. } | Delivery::Endless | Delivery::CutShort => {}
    }
    let mut response = hyper::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    let body = Delivered { body: Bytes::from(answer.body), delivery: answer.delivery, pause: None };
    Ok(response.body(body).expect("a status and headers that can be written"))
}

fn broken() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

/// A body that follows its [`Delivery`].
struct Delivered {
    body: Bytes,
    delivery: Delivery,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Body for Delivered {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.body.is_empty() {
            return Poll::Ready(None);
        }
        match self.delivery {
            Delivery::Endless => Poll::Ready(Some(Ok(Frame::data(self.body.clone())))),
            Delivery::Dripping { every } => {
                let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(every)));
                if pause.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.pause = None;
                let drop = self.body.split_to(1);
                Poll::Ready(Some(Ok(Frame::data(drop))))
            }
            // The first half once, then an error.
            Delivery::CutShort => {
                self.delivery = Delivery::Broken;
                let half = self.body.len() / 2;
                Poll::Ready(Some(Ok(Frame::data(self.body.split_to(half)))))
            }
            Delivery::Broken => Poll::Ready(Some(Err(broken()))),
            _ => Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.body))))),
        }
    }
}
