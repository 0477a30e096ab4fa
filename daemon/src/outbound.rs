//! Outbound HTTPS requests with limits on time, size and redirects. Every server must prove its identity.

#[cfg(feature = "aws")]
mod aws;
mod backend_error;
mod guard;
mod vault;

use std::io::ErrorKind;
use std::time::Duration;

use infra_shared::http::{self, BodyError, NoClient, Proxies, Proxy, Route, Trust, Untrusted};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroizing;

pub use infra_shared::http::Limits;
pub use reqwest::Method;

#[cfg(feature = "aws")]
pub use aws::{AWSCredentials, AWSOperation, AWSSigner};
pub use backend_error::BackendError;
pub use guard::{GuardError, SSRFGuard};
pub use vault::VaultClient;

/// Default timeouts of a request.
pub const LIMITS: Limits = Limits { connect: Duration::from_secs(3), total: Duration::from_secs(10) };

#[derive(Debug, Clone, Copy)]
pub enum Authorization<'a> {
    None,
    Bearer(&'a SecretString),
}

/// Why a request failed. `Display` names the host, the proxy if any, and the cause, but never the response.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// `may_have_arrived`: whether the server may have received the request.
    #[error("{host} cannot be reached: {cause}")]
    Unreachable { host: String, cause: String, may_have_arrived: bool },
    #[error("{host} did not answer within {seconds} s")]
    TimedOut { host: String, seconds: u64 },
    #[error("the response of {host} is larger than {limit} bytes")]
    TooLarge { host: String, limit: usize },
    #[error("{host} is not trusted: {cause}")]
    Untrusted { host: String, cause: Untrusted },
}

impl OutboundError {
    /// Whether the server may have received and executed the request.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            Self::Unreachable { may_have_arrived, .. } => *may_have_arrived,
            Self::TimedOut { .. } | Self::TooLarge { .. } => true,
            Self::Untrusted { .. } => false,
        }
    }
}

/// An outbound request. Has no `Debug`, because headers and bodies contain secrets.
pub struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

/// A complete response. Has no `Debug`, because bodies contain tokens.
pub struct OutboundResponse {
    pub status: u16,
    pub content_type: Option<String>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// An HTTP client with limits: 3 s to connect, 10 s in total, no redirects, one retry only if nothing was sent.
#[derive(Debug, Clone)]
pub struct Outbound {
    client: reqwest::Client,
    limits: Limits,
    proxies: Proxies,
}

impl Request {
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Zeroizing::default() }
    }

    #[must_use]
    pub fn authorized(self, authorization: Authorization<'_>) -> Self {
        let value = match authorization {
            Authorization::None => return self,
            Authorization::Bearer(token) => Zeroizing::new(format!("Bearer {}", token.expose_secret())),
        };
        self.header(AUTHORIZATION, &value)
    }

    /// Sets a sensitive header. An invalid value is left out, so that the server rejects the request.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.insert(name, value);
        }
        self
    }

    /// Adds headers and marks them as sensitive.
    #[must_use]
    pub fn headers(mut self, mut headers: HeaderMap) -> Self {
        headers.values_mut().for_each(|value| value.set_sensitive(true));
        self.headers.extend(headers);
        self
    }

    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = Zeroizing::new(body.into());
        self
    }

    /// Sets a body without a content type.
    #[must_use]
    pub fn bytes(mut self, body: Vec<u8>) -> Self {
        self.body = Zeroizing::new(body);
        self
    }

    #[must_use]
    pub fn json(self, body: &serde_json::Value) -> Self {
        self.body("application/json", body.to_string())
    }
}

impl Outbound {
    /// Creates a client that trusts `authorities`, or the operating system's CA certificates if `None`.
    pub fn new(authorities: Option<Vec<CertificateDer<'static>>>) -> Result<Self, NoClient> {
        Self::with_limits(authorities, LIMITS)
    }

    /// Creates a client with other limits.
    pub fn with_limits(
        authorities: Option<Vec<CertificateDer<'static>>>,
        limits: Limits,
    ) -> Result<Self, NoClient> {
        Self::build(authorities, limits, Proxies::from_environment())
    }

    /// Creates a client that ignores proxies in the environment.
    pub fn without_proxy(authorities: Option<Vec<CertificateDer<'static>>>) -> Result<Self, NoClient> {
        Self::build(authorities, LIMITS, Proxies::none())
    }

    fn build(
        authorities: Option<Vec<CertificateDer<'static>>>,
        limits: Limits,
        proxies: Proxies,
    ) -> Result<Self, NoClient> {
        let trust = authorities.map_or(Trust::System, Trust::Authorities);
        Ok(Self { client: http::async_client(&trust, limits, true, &proxies)?, limits, proxies })
    }

    /// Creates a client that resolves names through `guard`.
    pub fn with_guard(
        authorities: Option<Vec<CertificateDer<'static>>>,
        limits: Limits,
        guard: Option<SSRFGuard>,
    ) -> Result<Self, NoClient> {
        let Some(guard) = guard else { return Self::with_limits(authorities, limits) };
        let proxies = Proxies::from_environment();
        let trust = authorities.map_or(Trust::System, Trust::Authorities);
        Ok(Self { client: http::resolving_client(&trust, limits, true, &proxies, guard)?, limits, proxies })
    }

    /// Whether `url` is reached without a proxy. A proxy would resolve the name itself.
    pub fn is_direct(&self, url: &Url) -> bool {
        self.proxies.route(url) == Route::Direct
    }

    pub async fn get(
        &self,
        url: &Url,
        authorization: Authorization<'_>,
        limit: usize,
    ) -> Result<OutboundResponse, OutboundError> {
        self.send(&Request::new(Method::GET, url.clone()).authorized(authorization), limit).await
    }

    /// Sends one request. The timeout includes the retry; reads at most `limit` bytes of body.
    pub async fn send(&self, request: &Request, limit: usize) -> Result<OutboundResponse, OutboundError> {
        self.send_within(request, limit, self.limits.total).await
    }

    /// Sends one request within `time`, if that is less than the client's timeout.
    pub async fn send_within(
        &self,
        request: &Request,
        limit: usize,
        time: Duration,
    ) -> Result<OutboundResponse, OutboundError> {
        let peer = Peer::of(&request.url, self.proxies.route(&request.url))?;
        let begun = Instant::now();
        let once = || {
            let mut headers = request.headers.clone();
            headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
            self.client
                .request(request.method.clone(), request.url.clone())
                .headers(headers)
                .body(request.body.to_vec())
                .send()
        };
        let call = async {
            let sent = match once().await {
                Err(error) if http::nothing_was_sent(&error) && http::untrusted(&error).is_none() => {
                    once().await
                }
                sent => sent,
            };
            let response = sent.map_err(|error| peer.failure(&error, begun))?;
            let status = response.status().as_u16();
            let headers = response.headers().clone();
            let content_type =
                headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
            let body = http::read_body(response, limit).await.map_err(|error| match error {
                BodyError::TooLarge { limit } => OutboundError::TooLarge { host: peer.name(), limit },
                BodyError::Broken(error) => peer.failure(&error, begun),
                BodyError::Interrupted(_) => OutboundError::Unreachable {
                    host: peer.name(),
                    cause: "the connection broke".to_owned(),
                    may_have_arrived: true,
                },
            })?;
            Ok(OutboundResponse { status, content_type, headers, body })
        };
        tokio::time::timeout(time.min(self.limits.total), call)
            .await
            .unwrap_or_else(|_| Err(peer.timed_out(begun.elapsed())))
    }
}

/// The server of a request, and the proxy if any.
struct Peer {
    host: String,
    proxy: Option<Proxy>,
}

impl Peer {
    fn of(url: &Url, route: Route) -> Result<Self, OutboundError> {
        let host = url.host_str().unwrap_or_default().to_owned();
        match route {
            Route::Direct => Ok(Self { host, proxy: None }),
            Route::Through(proxy) => Ok(Self { host, proxy: Some(proxy) }),
            Route::Barred(error) => {
                Err(OutboundError::Unreachable { host, cause: error.to_string(), may_have_arrived: false })
            }
        }
    }

    /// The host, and the proxy if any.
    fn name(&self) -> String {
        match &self.proxy {
            Some(proxy) => format!("{} (through the proxy {})", self.host, proxy.address()),
            None => self.host.clone(),
        }
    }

    fn failure(&self, error: &reqwest::Error, begun: Instant) -> OutboundError {
        if let Some(cause) = http::untrusted(error) {
            return OutboundError::Untrusted { host: self.name(), cause };
        }
        if error.is_timeout() {
            return self.timed_out(begun.elapsed());
        }
        let cause = match &self.proxy {
            Some(proxy) => proxy.explain(error).to_string(),
            None => root_cause(error),
        };
        let may_have_arrived = !http::nothing_was_sent(error);
        OutboundError::Unreachable { host: self.host.clone(), cause, may_have_arrived }
    }

    /// Reports the elapsed time, which is below the total timeout if connecting timed out.
    fn timed_out(&self, after: Duration) -> OutboundError {
        let seconds = (after + Duration::from_millis(500)).as_secs().max(1);
        OutboundError::TimedOut { host: self.name(), seconds }
    }
}

/// Returns the `NO_PROXY` entries that match no host, if a proxy is configured.
pub fn ineffective_exemptions() -> Vec<String> {
    Proxies::from_environment().ineffective_entries().to_vec()
}

/// Returns the innermost cause from the operating system or the protocol, without the URL or anything sent.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
        // Includes TLS without close_notify (RFC 8446 §6.1): an attacker on the path may have truncated the response.
        if cause.downcast_ref::<std::io::Error>().is_some_and(|it| it.kind() == ErrorKind::UnexpectedEof) {
            return "the connection was closed before the response was complete".to_owned();
        }
    }
    if std::ptr::addr_eq(cause, error) { "the request failed".to_owned() } else { cause.to_string() }
}

#[cfg(test)]
mod tests;
