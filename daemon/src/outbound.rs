//! Calls to other machines: bounded in time, size and redirects, with nobody accepted unproven.

use std::time::Duration;

use infra_shared::http::{self, BodyError, Limits, NoClient, Trust, Untrusted};
use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// How long a call may take.
const LIMITS: Limits = Limits { connect: Duration::from_secs(3), total: Duration::from_secs(10) };

/// How to present oneself at the other end.
#[derive(Debug, Clone, Copy)]
pub enum Authorization<'a> {
    None,
    Bearer(&'a SecretString),
    Basic { user: &'a str, password: &'a SecretString },
}

/// Why a call brought no answer. `Display` names the host and the cause, never what the other end said.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    #[error("{host} cannot be reached: {cause}")]
    Unreachable { host: String, cause: String },
    #[error("{host} did not answer within {seconds} s")]
    TooSlow { host: String, seconds: u64 },
    #[error("{host} answered with more than {limit} bytes")]
    TooLarge { host: String, limit: usize },
    #[error("{host} is not trusted: {cause}")]
    Untrusted { host: String, cause: Untrusted },
}

/// A whole answer. It has no `Debug`: bodies hold tokens.
pub struct Answer {
    pub status: u16,
    pub content_type: Option<String>,
    pub body: Vec<u8>,
}

/// An HTTP client with the limits: 3 s to connect, 10 s in all, no redirect, one retry only where nothing was sent.
#[derive(Debug, Clone)]
pub struct Outbound {
    client: reqwest::Client,
}

impl Outbound {
    /// A client that trusts `authorities`, or the operating system's where there are none.
    pub fn new(authorities: Option<Vec<CertificateDer<'static>>>) -> Result<Self, NoClient> {
        let trust = authorities.map_or(Trust::System, Trust::Authorities);
        Ok(Self { client: http::async_client(&trust, LIMITS, true)? })
    }

    pub async fn get(
        &self,
        url: &Url,
        authorization: Authorization<'_>,
        limit: usize,
    ) -> Result<Answer, OutboundError> {
        self.call(url, limit, || authorize(self.client.get(url.clone()), authorization)).await
    }

    /// Posts an `application/x-www-form-urlencoded` body; `body` is already encoded.
    pub async fn post_form(
        &self,
        url: &Url,
        authorization: Authorization<'_>,
        body: SecretString,
        limit: usize,
    ) -> Result<Answer, OutboundError> {
        let request = || {
            authorize(self.client.post(url.clone()), authorization)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(body.expose_secret().to_owned())
        };
        self.call(url, limit, request).await
    }

    /// One call, bounded as a whole, its second try included.
    async fn call(
        &self,
        url: &Url,
        limit: usize,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Answer, OutboundError> {
        let host = || url.host_str().unwrap_or_default().to_owned();
        let call = async {
            let sent = match request().send().await {
                Err(error) if http::nothing_was_sent(&error) && http::untrusted(&error).is_none() => {
                    request().send().await
                }
                sent => sent,
            };
            let response = sent.map_err(|error| failure(&error, host()))?;
            let status = response.status().as_u16();
            let content_type = response
                .headers()
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .map(ToOwned::to_owned);
            let body = http::read_body(response, limit).await.map_err(|error| match error {
                BodyError::TooLarge { limit } => OutboundError::TooLarge { host: host(), limit },
                BodyError::Broken(error) => failure(&error, host()),
                BodyError::Interrupted(_) => {
                    OutboundError::Unreachable { host: host(), cause: "the connection broke".to_owned() }
                }
            })?;
            Ok(Answer { status, content_type, body })
        };
        tokio::time::timeout(LIMITS.total, call).await.unwrap_or_else(|_| Err(too_slow(host())))
    }
}

fn authorize(request: RequestBuilder, authorization: Authorization<'_>) -> RequestBuilder {
    let request = request.header(ACCEPT, "application/json");
    match authorization {
        Authorization::None => request,
        Authorization::Bearer(token) => request.bearer_auth(token.expose_secret()),
        Authorization::Basic { user, password } => request.basic_auth(user, Some(password.expose_secret())),
    }
}

fn failure(error: &reqwest::Error, host: String) -> OutboundError {
    if let Some(cause) = http::untrusted(error) {
        return OutboundError::Untrusted { host, cause };
    }
    if error.is_timeout() {
        return too_slow(host);
    }
    OutboundError::Unreachable { host, cause: root_cause(error) }
}

fn too_slow(host: String) -> OutboundError {
    OutboundError::TooSlow { host, seconds: LIMITS.total.as_secs() }
}

/// The innermost reason that the operating system or the protocol gave: no URL, and nothing that was sent.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if std::ptr::addr_eq(cause, error) { "the request failed".to_owned() } else { cause.to_string() }
}
