//! Accepts connections, speaks TLS and HTTP on them within limits, and drains them at the end.

mod admission;
mod connection;
mod requests;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::select;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use admission::Admission;
use connection::Protocol;

use crate::tls::{Purpose, TlsServer};

pub use requests::{Requests, Route, RouteCounts, answering, request_id};

/// Who answers, and where it is counted.
pub struct Site {
    pub router: axum::Router,
    pub requests: Arc<Requests>,
}

/// What connections are spoken over.
pub enum Transport {
    Tls(TlsServer),
    /// For what is no secret at all.
    Plain,
}

/// The limits of one connection and of all of them together (times are whole waits, not idle gaps).
#[derive(Debug, Clone)]
pub struct ListenerLimits {
    pub handshake: Duration,
    /// From the end of the handshake, or of the last answer, to the end of a request's head.
    pub request_head: Duration,
    /// From the head of a request to the end of its answer.
    pub request: Duration,
    pub connections: usize,
    /// Connections that one address (IPv6: one /64) may hold at a time.
    pub connections_per_address: usize,
    /// How long requests under way may take to end after a stop was asked for.
    pub drain: Duration,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            request_head: Duration::from_secs(5),
            request: Duration::from_secs(30),
            connections: 4096,
            connections_per_address: 64,
            drain: Duration::from_secs(10),
        }
    }
}

/// Where a request came from: an extension of each request.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub SocketAddr);

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// Until others have closed some files.
const PAUSE_AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);

/// Binds `address`; `[::]` takes IPv4 as well.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, false)?;
    }
    // A restart need not wait for the connections of the last run to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves `site` until `stop` is done, then lets requests under way end.
pub async fn serve(
    listener: TcpListener,
    transport: Transport,
    site: Site,
    limits: ListenerLimits,
    stop: impl Future<Output = ()> + Send,
) {
    let protocol = Arc::new(Protocol::new(site, &limits));
    let admission = Admission::new(&limits);
    let transport = Arc::new(transport);
    let connections = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let (stream, peer) = select! {
            () = &mut stop => break,
            accepted = accept(&listener) => accepted,
        };
        // One that is not admitted is closed here, before any work was done for it.
        let Some(admitted) = admission.admit(peer.ip()) else { continue };
        let (transport, protocol, watcher) = (transport.clone(), protocol.clone(), connections.watcher());
        let handshake = limits.handshake;
        tokio::spawn(async move {
            let _admitted = admitted;
            let tls = match transport.as_ref() {
                Transport::Tls(tls) => tls,
                Transport::Plain => return protocol.speak(stream, PeerAddress(peer), watcher).await,
            };
            match tokio::time::timeout(handshake, shake_hands(stream, tls)).await {
                Ok(Ok(Some(stream))) => protocol.speak(stream, PeerAddress(peer), watcher).await,
                // RFC 8737 §3: the certificate was all that was asked for.
                Ok(Ok(None)) => tracing::debug!(%peer, "showed the answer to a challenge"),
                Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS handshake"),
                Err(_) => tracing::debug!(%peer, "no TLS handshake in time"),
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(limits.drain, connections.shutdown()).await.is_err() {
        tracing::warn!("some requests had not ended in time and were cut off");
    }
}

/// A stream to speak HTTP on; `None` where the handshake was all that the client wanted.
async fn shake_hands(stream: TcpStream, tls: &TlsServer) -> io::Result<Option<TlsStream<TcpStream>>> {
    let begun = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    let (purpose, config) = tls.accept(&begun.client_hello());
    let mut stream = begun.into_stream(config).await?;
    if purpose == Purpose::Challenge {
        stream.shutdown().await?;
        return Ok(None);
    }
    Ok(Some(stream))
}

/// The next connection. A failure to accept is the fault of the moment, such as too many open files: it is waited out.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Small answers must not wait for the acknowledgement of earlier ones; without, they are only slower.
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
