//! Serves HTTP on one connection within limits.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Request, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;
use tracing::Instrument;

use super::activity::Activity;
use super::admission::ConnectionSlot;
use super::drained_body::DrainedBody;
use super::memory::{Charge, CountedRequest, CountedResponse, HANDSHAKE, HTTP1, HTTP2, IDLE};
use super::requests::{request_id, with_request_id};
use super::stream_executor::{StreamExecutor, stream_executor};
use super::streams::{ActivityStream, BoundedSocket};
use super::{
    App, CachedResponse, ErrorResponses, FastPath, ListenerLimits, PeerAddress, PendingBody, Proxies,
    Requests, host, memory,
};

/// Receive window of a request, large enough for a usual body.
const STREAM_WINDOW: u32 = 16 * 1024;
/// Receive window of a connection, at the initial size (RFC 9113 §6.9.2).
const CONNECTION_WINDOW: u32 = 65_535;
/// Maximum bytes of one answer that are buffered for the peer.
const MAX_SEND_BUFFER: usize = 16 * 1024;
/// The initial size of the HPACK table (RFC 7541 §4.2), which fits the usual request fields.
const HEADER_TABLE: u32 = 4096;
/// Maximum reset streams that still take memory. A peer with more is disconnected (CVE-2023-44487, CVE-2025-8671).
const MAX_RESETS: usize = 20;
/// Streams that a peer may open before it receives our settings (RFC 9113 §6.5.2 recommends at least 100). Excess
/// streams are refused one by one, the others are answered.
const STREAMS_AHEAD: usize = 100;
/// Pings detect a peer that disappeared silently.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// HTTP settings and handlers shared by all connections.
pub(super) struct Protocol {
    http1: http1::Builder,
    handler: Arc<RequestHandler>,
    limits: ListenerLimits,
}

/// Decides how each request is answered.
struct RequestHandler {
    fast_path: Option<FastPath>,
    router: Router,
    requests: Arc<Requests>,
    proxies: Proxies,
    request_timeout: Duration,
    requests_per_connection: usize,
    max_headers: usize,
    error_responses: ErrorResponses,
}

impl Protocol {
    pub(super) fn new(app: App, limits: &ListenerLimits) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            // Includes the wait for the first byte of a head. `Activity` enforces the shorter timeouts.
            .header_read_timeout(limits.idle + limits.request_head)
            .max_headers(limits.headers)
            // The minimum that hyper accepts.
            .max_buf_size(limits.head_bytes.max(8192));
        let handler = RequestHandler {
            fast_path: app.fast_path,
            router: app.router,
            requests: app.requests,
            proxies: app.proxies,
            request_timeout: limits.request,
            requests_per_connection: limits.requests_per_connection,
            max_headers: limits.headers,
            error_responses: app.error_responses,
        };
        Self { http1, handler: Arc::new(handler), limits: limits.clone() }
    }

    fn http2(&self, executor: StreamExecutor) -> http2::Builder<StreamExecutor> {
        let limits = &self.limits;
        let mut http2 = http2::Builder::new(executor);
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(u32::try_from(limits.streams).unwrap_or(u32::MAX))
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(MAX_SEND_BUFFER)
            .header_table_size(HEADER_TABLE)
            .max_pending_accept_reset_streams(MAX_RESETS)
            .max_local_error_reset_streams(limits.streams.max(STREAMS_AHEAD))
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(limits.request_head);
        http2
    }

    pub(super) fn limits(&self) -> &ListenerLimits {
        &self.limits
    }

    /// Serves the negotiated protocol and no other.
    pub(super) async fn serve_http(
        &self,
        stream: impl HttpStream,
        peer: PeerAddress,
        slot: ConnectionSlot,
        stopped: watch::Receiver<bool>,
    ) {
        let (slot, is_http2) = (Arc::new(slot), stream.is_http2());
        // Its handshake was counted before and is over.
        let whole = if is_http2 { HTTP2 } else { HTTP1 };
        let counted =
            slot.reserve(IDLE - HANDSHAKE).and_then(|()| slot.reserve_until_authenticated(whole - IDLE));
        if counted.is_err() {
            return tracing::debug!(peer = %peer.0, "closed a connection: the memory for connections is used up");
        }
        let activity = slot.activity.clone();
        activity.begin_http(!is_http2);
        let (handler, held) = (self.handler.clone(), slot.clone());
        let (executor, streams) = stream_executor();
        let drains = is_http2.then(|| executor.clone());
        let service =
            service_fn(move |request| handler.clone().handle(request, peer, &held, drains.as_ref()));
        let stream = TokioIo::new(ActivityStream::new(stream, slot, is_http2));
        if is_http2 {
            let connection = self.http2(executor).serve_connection(stream, service);
            self.drive(connection, streams.run(), peer, &activity, stopped).await;
        } else {
            let connection = self.http1.serve_connection(stream, service);
            self.drive(connection, std::future::pending(), peer, &activity, stopped).await;
        }
    }

    /// Drives `connection` and its `streams` until the peer leaves, breaks the protocol, exceeds a timeout, or the listener stops.
    async fn drive(
        &self,
        connection: impl GracefulConnection<Error: std::fmt::Display>,
        streams: impl Future<Output = Infallible>,
        peer: PeerAddress,
        activity: &Activity,
        mut stopped: watch::Receiver<bool>,
    ) {
        let (mut connection, mut streams) = (std::pin::pin!(connection), std::pin::pin!(streams));
        let mut overdue = std::pin::pin!(activity.overdue(&self.limits));
        let mut is_ending = false;
        loop {
            select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(peer = %peer.0, %error, "the connection failed");
                    }
                    return;
                }
                never = streams.as_mut() => match never {},
                // A dropped sender means the same.
                _ = stopped.wait_for(|stopped| *stopped), if !is_ending => {}
                () = activity.reached_request_limit(), if !is_ending => {}
                () = &mut overdue => return tracing::debug!(peer = %peer.0, "the connection timed out"),
            }
            is_ending = true;
            connection.as_mut().graceful_shutdown();
        }
    }
}

/// A stream that can carry HTTP.
pub(super) trait HttpStream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Whether ALPN negotiated HTTP/2.
    fn is_http2(&self) -> bool;
}

impl HttpStream for TcpStream {
    fn is_http2(&self) -> bool {
        false
    }
}

impl HttpStream for TlsStream<BoundedSocket> {
    fn is_http2(&self) -> bool {
        self.get_ref().1.alpn_protocol() == Some(b"h2")
    }
}

/// The next step for a request.
enum Step {
    Reject(Response),
    Respond(Response),
    WaitFor(PendingBody, Request<DrainedBody>),
    Work(Request<DrainedBody>, Arc<Charge>),
}

impl RequestHandler {
    /// Chooses the next step before any wait, because very many requests may be queued.
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: PeerAddress,
        slot: &Arc<ConnectionSlot>,
        drains: Option<&StreamExecutor>,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send + use<> {
        let begun = Instant::now();
        let response_guard = slot.activity.begin_response(self.requests_per_connection);
        let route = self.requests.find(request.method(), request.uri().path());
        let is_serial = request.version() < Version::HTTP_2;
        let request = DrainedBody::of(request, slot, drains);
        let (step, slot) = (self.step(request, route, slot), slot.clone());
        async move {
            let mut response = match step {
                Step::Reject(response) => closing(response),
                Step::Respond(response) => response,
                Step::WaitFor(pending, request) => {
                    self.respond_after_body(pending, request, peer, route, &slot).await
                }
                Step::Work(request, charge) => self.respond_by_router(request, charge, peer, route).await,
            };
            if self.requests.requires_credentials(route) && response.status().is_success() {
                slot.authenticated();
            }
            let unread = slot.activity.take_unread();
            let is_drained = match unread {
                Some(body) => body.drain().await,
                None => true,
            };
            if is_serial && (response_guard.is_last() || !is_drained) {
                // RFC 9112 §9.6: the server reads nothing after this answer.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            self.requests.observe(route, response.status(), begun.elapsed());
            Ok(response)
        }
    }

    fn step(&self, mut request: Request<DrainedBody>, route: usize, slot: &Arc<ConnectionSlot>) -> Step {
        // hyper's parser enforces this for HTTP/1.
        if request.headers().len() > self.max_headers {
            return Step::Reject(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response());
        }
        if !host::names_one_host(request.version(), request.uri(), request.headers()) {
            return Step::Reject((self.error_responses.unclear_host)());
        }
        let fast_path = self.fast_path.as_ref();
        match fast_path.and_then(|answer| answer(route, request.uri(), request.headers())) {
            Some(CachedResponse::Ready(response)) => return Step::Respond(response),
            Some(CachedResponse::NeedsBody(pending)) => return Step::WaitFor(pending, request),
            None => {}
        }
        let Ok(charge) = Charge::for_head(slot, request.headers()) else {
            return Step::Reject((self.error_responses.no_memory)());
        };
        if request.version() >= Version::HTTP_2 && !request.body().is_end_stream() {
            memory::copy_head(&mut request);
        }
        Step::Work(request, charge)
    }

    /// Waits for the body, then answers from the cache if possible.
    async fn respond_after_body(
        &self,
        pending: PendingBody,
        request: Request<DrainedBody>,
        peer: PeerAddress,
        route: usize,
        slot: &Arc<ConnectionSlot>,
    ) -> Response {
        let length = request.body().size_hint().exact().and_then(|length| usize::try_from(length).ok());
        if length.is_none_or(|length| length > pending.max_bytes) {
            let Ok(charge) = Charge::for_head(slot, request.headers()) else {
                return closing((self.error_responses.no_memory)());
            };
            return self.respond_by_router(request, charge, peer, route).await;
        }
        let (parts, body) = request.into_parts();
        let Ok(Ok(body)) = tokio::time::timeout(pending.timeout, body.collect()).await else {
            return (pending.incomplete)();
        };
        let body = body.to_bytes();
        if let Some(response) = (pending.respond)(&body) {
            return response;
        }
        let Ok(charge) = Charge::for_head(slot, &parts.headers) else {
            return closing((self.error_responses.no_memory)());
        };
        self.respond_by_router(Request::from_parts(parts, Body::from(body)), charge, peer, route).await
    }

    /// Answers through the router, within the memory limit.
    async fn respond_by_router<B>(
        &self,
        request: Request<B>,
        charge: Arc<Charge>,
        peer: PeerAddress,
        route: usize,
    ) -> Response
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let is_http2 = request.version() >= Version::HTTP_2;
        let counted = charge.clone();
        let request = request.map(|body| Body::new(CountedRequest { body, charge: counted }));
        let response = self.route_request(request, peer, route).await;
        let length = usize::try_from(response.body().size_hint().lower()).unwrap_or(usize::MAX);
        if charge.grow(length).is_err() {
            return closing((self.error_responses.no_memory)());
        }
        response.map(|body| Body::new(CountedResponse::new(body, charge, is_http2)))
    }

    async fn route_request(&self, mut request: Request<Body>, peer: PeerAddress, route: usize) -> Response {
        let is_high_volume = self.requests.is_high_volume(route);
        let peer = PeerAddress(self.proxies.client_address(peer.0, request.headers()));
        request.extensions_mut().insert(peer);
        let answering = tokio::time::timeout(self.request_timeout, self.router.clone().oneshot(request));
        let answer = with_request_id(async {
            if is_high_volume {
                return answering.await;
            }
            let span = super::request_span(&request_id());
            answering.instrument(span).await
        });
        match answer.await {
            Ok(Ok(response)) => response,
            // A dependency is unavailable.
            Err(_) => closing((self.error_responses.timed_out)()),
        }
    }
}

/// Marks a rejection after which the connection closes (RFC 9112 §9.6).
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
