//! HTTP on one connection, within limits.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::ServiceExt;
use tracing::Instrument;

use super::requests::{identified, request_id};
use super::{ListenerLimits, PeerAddress, Requests, Site};

const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
const MAX_STREAMS: u32 = 64;
/// A peer that is gone without a word is noticed by a ping that comes back to nobody.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How connections are spoken on.
pub(super) struct Protocol {
    builder: Builder<TokioExecutor>,
    router: Router,
    requests: Arc<Requests>,
    request: Duration,
}

impl Protocol {
    pub(super) fn new(site: Site, limits: &ListenerLimits) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.request_head)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD_BYTES);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(limits.request_head);
        Self { builder, router: site.router, requests: site.requests, request: limits.request }
    }

    /// Answers requests until the peer leaves, breaks the protocol, or `watcher` asks to end.
    pub(super) async fn speak(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: PeerAddress,
        watcher: Watcher,
    ) {
        let protocol = self.clone();
        let service = service_fn(move |request| protocol.clone().answer(request, peer));
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(peer = %peer.0, %error, "a connection broke");
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: PeerAddress,
    ) -> Result<Response, Infallible> {
        let begun = Instant::now();
        let route = self.requests.find(request.method(), request.uri().path());
        let is_get = request.method() == Method::GET;
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        let answering = tokio::time::timeout(self.request, self.router.clone().oneshot(request));
        let answer = identified(async {
            if is_get {
                // Who is asked thousands of times a second whose a token is has nothing to tell of it but a refusal.
                return answering.await;
            }
            let span = super::answering(&request_id());
            answering.instrument(span).await
        });
        let response = match answer.await {
            Ok(Ok(response)) => response,
            // Whatever it waited for is away for now.
            Err(_) => (StatusCode::SERVICE_UNAVAILABLE, [(header::CONNECTION, "close")]).into_response(),
        };
        self.requests.observe(route, response.status(), begun.elapsed());
        Ok(response)
    }
}
