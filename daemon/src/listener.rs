//! Accepts TLS connections, serves HTTP on them within limits, and drains them on shutdown.

mod activity;
mod admission;
mod connection;
mod connection_task;
mod drained_body;
mod host;
mod limits;
mod memory;
mod proxies;
mod proxy_protocol;
mod refused;
mod requests;
mod slots;
mod stream_executor;
mod streams;

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::select;
use tokio::sync::watch;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use admission::{Admission, ConnectionSlot};
use connection::Protocol;
use proxy_protocol::ProxySource;
use streams::BoundedSocket;

use crate::addresses::Networks;
use crate::tls::{Purpose, TlsServer};

pub use admission::NoMemory;
pub use host::names_one_host;
pub use limits::ListenerLimits;
pub use proxies::Proxies;
pub use refused::RefusedConnections;
pub use requests::{Requests, Route, RouteCounts, request_id, request_span};

/// Answers a request from the cache, by the index of its route in [`Requests`], its URI and its headers. `None` means
/// that the router must answer. It runs where the socket is read, so it must neither wait nor block.
pub type FastPath = Arc<dyn Fn(usize, &Uri, &HeaderMap) -> Option<CachedResponse> + Send + Sync>;

/// The cached answer to a request whose head arrived.
pub enum CachedResponse {
    Ready(Response),
    /// The answer depends on the body.
    NeedsBody(PendingBody),
}

/// Like [`FastPath`], for a request whose whole body arrived.
pub type BodyResponder = Box<dyn FnOnce(&[u8]) -> Option<Response> + Send>;

pub struct PendingBody {
    /// A body that is longer or of unknown length goes to the router.
    pub max_bytes: usize,
    pub timeout: Duration,
    pub respond: BodyResponder,
    /// The answer if the body is incomplete after that time.
    pub incomplete: fn() -> Response,
}

/// The application that answers, and its counters.
pub struct App {
    /// Called first, because most requests are about recently validated tokens.
    pub fast_path: Option<FastPath>,
    /// Answers every other request.
    pub router: axum::Router,
    pub requests: Arc<Requests>,
    pub proxies: Proxies,
    /// Source networks of services, exempt from the limits per address.
    pub services: Networks,
    pub error_responses: ErrorResponses,
}

/// Answers for requests that the router does not see, or does not answer.
pub struct ErrorResponses {
    /// For an answer that took too long.
    pub timed_out: fn() -> Response,
    /// If requests hold the maximum memory.
    pub no_memory: fn() -> Response,
    /// To a request without a clear host.
    pub unclear_host: fn() -> Response,
}

impl Default for ErrorResponses {
    fn default() -> Self {
        Self {
            timed_out: || StatusCode::SERVICE_UNAVAILABLE.into_response(),
            no_memory: || StatusCode::SERVICE_UNAVAILABLE.into_response(),
            unclear_host: || StatusCode::BAD_REQUEST.into_response(),
        }
    }
}

impl App {
    pub fn without_counters(router: axum::Router, proxies: Proxies) -> Self {
        Self {
            fast_path: None,
            router,
            error_responses: ErrorResponses::default(),
            requests: Arc::new(Requests::new([])),
            proxies,
            services: Networks::default(),
        }
    }
}

pub enum Transport {
    Tls(TlsServer),
    /// For data that is not secret.
    Plain,
}

/// The address that a request came from, as a request extension.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub SocketAddr);

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// Gives other connections time to close files.
const PAUSE_AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// Binds `address`. `[::]` also accepts IPv4, and only IPv4 on a host without IPv6.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    bind_or_fall_back(address, bind_exactly)
}

fn bind_or_fall_back<T>(address: SocketAddr, bind: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    match bind(address) {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && lacks_ipv6(&error) => {
            let instead = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            let bound = bind(instead)?;
            tracing::warn!(%address, %instead, "this host has no IPv6: listening on IPv4 only");
            Ok(bound)
        }
        bound => bound,
    }
}

/// Whether an address could not be bound because its family is disabled on this host.
pub fn lacks_ipv6(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    errno.is_some_and(|errno| {
        [rustix::io::Errno::AFNOSUPPORT, rustix::io::Errno::ADDRNOTAVAIL].contains(&errno)
    })
}

/// Whether [`bind`] would succeed. Nothing listens meanwhile.
pub fn check_address(address: SocketAddr) -> io::Result<()> {
    match bound(address) {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && lacks_ipv6(&error) => {
            bound(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()))).map(drop)
        }
        bound => bound.map(drop),
    }
}

fn bind_exactly(address: SocketAddr) -> io::Result<TcpListener> {
    bound(address)?.listen(BACKLOG)
}

fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
    }
    // Allows a restart while connections of the last run are in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Serves `app` until `stop` resolves, then lets requests in flight finish.
pub async fn serve(
    listener: TcpListener,
    transport: Transport,
    app: App,
    limits: ListenerLimits,
    stop: impl Future<Output = ()> + Send,
) {
    let proxies = app.proxies.clone();
    let acceptor = Arc::new(Acceptor {
        transport,
        admission: Admission::new(&limits, &proxies.trusted, &app.services, app.requests.refused.clone()),
        protocol: Protocol::new(app, &limits),
        proxies,
    });
    let (stopping, stopped) = watch::channel(false);
    let mut stop = std::pin::pin!(stop);
    loop {
        let (stream, peer) = select! {
            () = &mut stop => break,
            accepted = accept(&listener) => accepted,
        };
        // A connection that is not admitted is closed here, before any work is done for it.
        let Some(slot) = acceptor.admission.admit(peer.ip()) else { continue };
        let (acceptor, stopped, task) = (acceptor.clone(), stopped.clone(), slot.activity.task.clone());
        let connection = async move { acceptor.handle(stream, peer, slot, stopped).await };
        tokio::spawn(task.run(Box::pin(connection)));
    }
    drop((listener, stopped));
    stopping.send_replace(true);
    if tokio::time::timeout(limits.drain, stopping.closed()).await.is_err() {
        tracing::warn!("stopping: aborted the requests that were still running at the timeout");
    }
}

/// Shared state of all connections.
struct Acceptor {
    transport: Transport,
    admission: Admission,
    protocol: Protocol,
    proxies: Proxies,
}

impl Acceptor {
    async fn handle(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        slot: ConnectionSlot,
        stopped: watch::Receiver<bool>,
    ) {
        let beginning = async {
            let (peer, slot) = match self.read_proxy_header(&mut stream, peer).await? {
                Some(caller) => (caller, self.admission.admit_proxied(caller.ip(), slot)),
                None => (peer, Some(slot)),
            };
            // The client behind the proxy has the maximum number of connections.
            let Some(slot) = slot else { return Ok(None) };
            let established = match &self.transport {
                Transport::Tls(tls) => tls_handshake(stream, tls).await?.map(Established::Tls),
                Transport::Plain => Some(Established::Plain(stream)),
            };
            Ok::<_, io::Error>(established.map(|established| (established, peer, slot)))
        };
        let begun = tokio::time::timeout(self.protocol.limits().handshake, beginning).await;
        let (established, peer, slot) = match begun {
            Ok(Ok(Some(begun))) => begun,
            Ok(Ok(None)) => {
                return tracing::debug!(
                    %peer,
                    "closed a connection: it was an ACME challenge, or its client has too many connections"
                );
            }
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "the TLS handshake failed"),
            Err(_) => return tracing::debug!(%peer, "the TLS handshake timed out"),
        };
        match established {
            Established::Tls(stream) => {
                self.protocol.serve_http(*stream, PeerAddress(peer), slot, stopped).await;
            }
            Established::Plain(stream) => {
                self.protocol.serve_http(stream, PeerAddress(peer), slot, stopped).await;
            }
        }
    }

    /// Reads the client address from a trusted proxy; `None` if the connection is from `peer` itself.
    async fn read_proxy_header(
        &self,
        stream: &mut TcpStream,
        peer: SocketAddr,
    ) -> io::Result<Option<SocketAddr>> {
        if !self.proxies.requires_proxy_header(peer) {
            return Ok(None);
        }
        Ok(match proxy_protocol::read(stream).await? {
            ProxySource::Client(caller) => Some(caller),
            ProxySource::Proxy => None,
        })
    }
}

/// Performs the TLS handshake; `None` for an ACME challenge, which ends with the handshake.
async fn tls_handshake(
    stream: TcpStream,
    tls: &TlsServer,
) -> io::Result<Option<Box<TlsStream<BoundedSocket>>>> {
    let acceptor = rustls::server::Acceptor::default();
    let mut begun = LazyConfigAcceptor::new(acceptor, streams::bound(stream)).await?;
    // The bytes that follow are bounded by the handshake timeout, and later by the request limits.
    streams::lift_limit(&mut begun.io);
    let (purpose, config) = tls.accept(&begun.client_hello()).await;
    let bound = |connection: &mut rustls::ServerConnection| {
        connection.set_buffer_limit(Some(memory::TLS_OUTPUT));
    };
    let mut stream = begun.into_stream_with(config, bound).await?;
    if purpose == Purpose::Challenge {
        // RFC 8737 §3: the client requests only the certificate.
        stream.shutdown().await?;
        return Ok(None);
    }
    Ok(Some(Box::new(stream)))
}

/// The stream that carries HTTP.
enum Established {
    Tls(Box<TlsStream<BoundedSocket>>),
    Plain(TcpStream),
}

/// Accepts the next connection. Pauses after a failure such as too many open files, then retries.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Small answers must not wait for earlier acknowledgements. A failure only costs speed.
                let _ = stream.set_nodelay(true);
                return (stream, peer);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(PAUSE_AFTER_FAILED_ACCEPT).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
