//! HTTP on one connection, within limits.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Version, header};
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;
use tracing::Instrument;

use super::activity::{Activity, Heard};
use super::requests::{identified, request_id};
use super::{AtOnce, Awaited, Known, ListenerLimits, PeerAddress, Proxies, Requests, Site};

/// What may have come and not been read yet, of one request and of a connection: a body of the usual size.
const WINDOW: u32 = 64 * 1024;
/// What may have been written and not been taken yet.
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// Requests that were given up, and are not forgotten yet; a peer with more is cut off (CVE-2023-44487, CVE-2025-8671).
const MAX_RESETS: usize = 20;
/// Streams that a peer may begin before it is told how many it may have (RFC 9113 §6.5.2 recommends no fewer): those beyond
/// are refused one by one, and the others are answered.
const STREAMS_AHEAD: usize = 100;
/// A peer that is gone without a word is noticed by a ping that comes back to nobody.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How connections are spoken on.
pub(super) struct Protocol {
    builder: Builder<TokioExecutor>,
    answerer: Arc<Answerer>,
    limits: ListenerLimits,
}

/// What becomes of a request.
struct Answerer {
    at_once: Option<AtOnce>,
    router: Router,
    requests: Arc<Requests>,
    proxies: Proxies,
    request: Duration,
    requests_per_connection: usize,
    too_late: fn() -> Response,
}

impl Protocol {
    pub(super) fn new(site: Site, limits: &ListenerLimits) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // The wait for a head's first byte included: the rest is this room's own to watch.
            .header_read_timeout(limits.idle + limits.request_head)
            .max_headers(limits.headers)
            // hyper's own least.
            .max_buf_size(limits.head_bytes.max(8192));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(u32::try_from(limits.streams).unwrap_or(u32::MAX))
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buf_size(MAX_SEND_BUFFER)
            .max_pending_accept_reset_streams(MAX_RESETS)
            .max_local_error_reset_streams(limits.streams.max(STREAMS_AHEAD))
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(limits.request_head);
        let answerer = Answerer {
            at_once: site.at_once,
            router: site.router,
            requests: site.requests,
            proxies: site.proxies,
            request: limits.request,
            requests_per_connection: limits.requests_per_connection,
            too_late: site.too_late,
        };
        Self { builder, answerer: Arc::new(answerer), limits: limits.clone() }
    }

    pub(super) fn limits(&self) -> &ListenerLimits {
        &self.limits
    }

    /// Answers requests until the peer leaves, breaks the protocol, does nothing for too long, or all are asked to end.
    pub(super) async fn speak(
        &self,
        stream: impl Spoken,
        peer: PeerAddress,
        activity: &Arc<Activity>,
        mut stopped: watch::Receiver<bool>,
    ) {
        activity.begin(!stream.is_http2());
        let (answerer, seen) = (self.answerer.clone(), activity.clone());
        let service = service_fn(move |request| answerer.clone().answer(request, peer, seen.clone()));
        let stream = TokioIo::new(Heard { stream, activity: activity.clone() });
        let mut connection = std::pin::pin!(self.builder.serve_connection(stream, service));
        let mut overdue = std::pin::pin!(activity.is_overdue(&self.limits));
        let mut is_ending = false;
        loop {
            select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(peer = %peer.0, %error, "a connection broke");
                    }
                    return;
                }
                // A sender that is gone means the same.
                _ = stopped.wait_for(|stopped| *stopped), if !is_ending => {}
                () = activity.is_spent(), if !is_ending => {}
                () = &mut overdue => return tracing::debug!(peer = %peer.0, "a connection did nothing for too long"),
            }
            is_ending = true;
            connection.as_mut().graceful_shutdown();
        }
    }
}

/// What HTTP can be spoken over.
pub(super) trait Spoken: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Whether many requests at a time were agreed upon.
    fn is_http2(&self) -> bool;
}

impl Spoken for TcpStream {
    fn is_http2(&self) -> bool {
        false
    }
}

impl Spoken for TlsStream<TcpStream> {
    fn is_http2(&self) -> bool {
        self.get_ref().1.alpn_protocol() == Some(b"h2")
    }
}

impl Answerer {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: PeerAddress,
        activity: Arc<Activity>,
    ) -> Result<Response, Infallible> {
        let begun = Instant::now();
        let answering_it = activity.answering(self.requests_per_connection);
        let route = self.requests.find(request.method(), request.uri().path());
        let is_serial = request.version() < Version::HTTP_2;
        let at_once = self.at_once.as_ref();
        let known = at_once.and_then(|ask| ask(request.method(), request.uri(), request.headers()));
        let mut response = match known {
            Some(Known::Answer(response)) => response,
            Some(Known::ByBody(awaited)) => self.wait_for(awaited, request, peer, route).await,
            None => self.work_on(request.map(Body::new), peer, route).await,
        };
        if answering_it.is_last && is_serial {
            // RFC 9112 §9.6: nothing that is sent after it will be read.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.requests.observe(route, response.status(), begun.elapsed());
        Ok(response)
    }

    /// Answers what may be known from memory once the body is there.
    async fn wait_for(
        &self,
        awaited: Awaited,
        request: Request<Incoming>,
        peer: PeerAddress,
        route: usize,
    ) -> Response {
        let length = request.body().size_hint().exact().and_then(|length| usize::try_from(length).ok());
        if length.is_none_or(|length| length > awaited.most_bytes) {
            return self.work_on(request.map(Body::new), peer, route).await;
        }
        let (parts, body) = request.into_parts();
        let Ok(Ok(body)) = tokio::time::timeout(awaited.time, body.collect()).await else {
            return (awaited.missing)();
        };
        let body = body.to_bytes();
        match (awaited.answer)(&body) {
            Some(response) => response,
            None => self.work_on(Request::from_parts(parts, Body::from(body)), peer, route).await,
        }
    }

    /// Answers what is not known from memory.
    async fn work_on(&self, mut request: Request<Body>, peer: PeerAddress, route: usize) -> Response {
        let is_busy = self.requests.is_busy(route);
        let peer = PeerAddress(self.proxies.origin(peer.0, request.headers()));
        request.extensions_mut().insert(peer);
        let answering = tokio::time::timeout(self.request, self.router.clone().oneshot(request));
        let answer = identified(async {
            if is_busy {
                return answering.await;
            }
            let span = super::answering(&request_id());
            answering.instrument(span).await
        });
        match answer.await {
            Ok(Ok(response)) => response,
            // Whatever it waited for is away for now.
            Err(_) => {
                let mut response = (self.too_late)();
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                response
            }
        }
    }
}
