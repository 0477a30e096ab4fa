//! The HTTP client for the ACME authority. It sends requests only to the directory's origin.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use infra_shared::http::NoClient;
use infra_shared::printable::printable;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient, Problem};
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderName};
use url::Url;

use super::{AcmeError, AcmeSettings};
use crate::outbound::{Authorization, Outbound, OutboundError, OutboundResponse, Request};

/// A certificate chain has a few kilobytes.
const MOST_BYTES: usize = 256 * 1024;
const MOST_CHARACTERS: usize = 300;
/// The media type of problem documents (RFC 9457 §3).
const PROBLEM: &str = "application/problem+json";

#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    #[error("the ACME server refers to another host than its directory's, {0}: infrad sends nothing there")]
    Elsewhere(String),
    #[error("the ACME server responded with HTTP status {0}")]
    Status(u16),
    #[error("the ACME server rejected the request: {0}")]
    Rejected(String),
    #[error("the ACME server did not finish in time")]
    TooSlow,
    #[error("the ACME server sent an invalid response: {0}")]
    NotAcme(String),
}

/// The authority's directory URL and the client for it.
pub(super) struct Directory {
    url: Url,
    outbound: Outbound,
    retry_after: Mutex<Option<String>>,
}

/// Implements instant-acme's HTTP client for the directory.
struct Transport(Arc<Directory>);

impl Directory {
    pub(super) fn new(settings: &AcmeSettings) -> Result<Self, NoClient> {
        let outbound = Outbound::new(settings.authorities.clone())?;
        Ok(Self { url: settings.directory.clone(), outbound, retry_after: Mutex::default() })
    }

    pub(super) fn transport(self: &Arc<Self>) -> Box<dyn HttpClient> {
        Box::new(Transport(self.clone()))
    }

    /// Checks that the URL serves an ACME directory (RFC 8555 §7.1.1).
    pub(super) async fn fetch(&self) -> Result<(), AcmeError> {
        let answer = self.outbound.get(&self.url, Authorization::None, MOST_BYTES).await;
        let answer = answer.map_err(AuthorityError::from)?;
        if answer.status != 200 {
            return Err(AuthorityError::Status(answer.status).into());
        }
        let directory: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if directory.get("newOrder").is_some_and(serde_json::Value::is_string) {
            Ok(())
        } else {
            Err(AuthorityError::NotAcme("it is not an ACME directory".to_owned()).into())
        }
    }

    /// Returns and clears when the authority allows the next request (RFC 8555 §6.6).
    pub(super) fn take_retry_after(&self, now: Timestamp) -> Option<Timestamp> {
        let text = self.retry_after.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        moment(&text, now)
    }

    async fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Result<OutboundResponse, AuthorityError> {
        let (parts, body) = request.into_parts();
        let address = parts.uri.to_string();
        let url: Url = address.parse().map_err(|_| elsewhere(&address))?;
        // A URL in a response could point to any host that this one can reach.
        if url.origin() != self.url.origin() {
            return Err(elsewhere(&address));
        }
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(never) => match never {},
        };
        let mut call = Request::new(parts.method.clone(), url);
        if !body.is_empty() {
            call = call.body(JOSE, body.to_vec());
        }
        let answer = self.outbound.send(&call, MOST_BYTES).await?;
        if answer.status >= 300 {
            let retry_after = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            *self.retry_after.lock().unwrap_or_else(PoisonError::into_inner) = retry_after.map(str::to_owned);
            let is_problem = answer.content_type.as_deref().is_some_and(|text| text.starts_with(PROBLEM));
            // instant-acme looks for problem documents only in responses to POST.
            if !is_problem || parts.method != Method::POST {
                let problem = serde_json::from_slice(&answer.body).ok().filter(|_| is_problem);
                let status = AuthorityError::Status(answer.status);
                return Err(problem.map_or(status, |problem| AuthorityError::Rejected(words(&problem))));
            }
        }
        Ok(answer)
    }
}

/// The media type of requests (RFC 8555 §6.2).
const JOSE: &str = "application/jose+json";
const RETRY_AFTER: HeaderName = HeaderName::from_static("retry-after");

impl HttpClient for Transport {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let directory = self.0.clone();
        Box::pin(async move {
            let other = |error| instant_acme::Error::Other(Box::new(error));
            let answer = directory.request(request).await.map_err(other)?;
            let mut response = http::Response::builder().status(answer.status);
            for (name, value) in &answer.headers {
                if *name != CONTENT_TYPE {
                    response = response.header(name, value);
                }
            }
            Ok(BytesResponse::from(response.body(Full::new(Bytes::from(answer.body)))?))
        })
    }
}

impl From<instant_acme::Error> for AuthorityError {
    fn from(error: instant_acme::Error) -> Self {
        use instant_acme::Error;

        match error {
            Error::Api(problem) => Self::Rejected(words(&problem)),
            Error::Timeout(_) => Self::TooSlow,
            Error::Other(other) => match other.downcast::<Self>() {
                Ok(error) => *error,
                Err(other) => Self::NotAcme(printable(&other.to_string(), MOST_CHARACTERS)),
            },
            // serde's message quotes the text.
            Error::Json(_) => Self::NotAcme("it is not the expected JSON".to_owned()),
            other => Self::NotAcme(printable(&other.to_string(), MOST_CHARACTERS)),
        }
    }
}

impl AuthorityError {
    /// Whether the request certainly did not reach the authority. After a timeout, the authority may still have
    /// processed it.
    pub(super) fn was_never_sent(&self) -> bool {
        matches!(
            self,
            Self::Outbound(
                OutboundError::Unreachable { may_have_arrived: false, .. } | OutboundError::Untrusted { .. }
            ) | Self::Elsewhere(_)
        )
    }
}

/// The text of a problem document, made safe for logs. Operators cannot see it elsewhere.
pub(super) fn words(problem: &Problem) -> String {
    let about = problem.subproblems.iter().filter_map(|problem| problem.detail.as_deref());
    let details: Vec<&str> = problem.detail.as_deref().into_iter().chain(about).collect();
    let kind = problem.r#type.as_deref().unwrap_or("about:blank");
    printable(&format!("{} ({kind})", details.join("; ")), MOST_CHARACTERS)
}

fn elsewhere(address: &str) -> AuthorityError {
    AuthorityError::Elsewhere(printable(address, 100))
}

/// RFC 9110 §10.2.3: seconds or a date.
fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<u32>() {
        return now.checked_add(SignedDuration::from_secs(seconds.into())).ok();
    }
    jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_date() {
        let now = Timestamp::from_second(1_000).expect("a time");
        assert_eq!(moment("120", now), Timestamp::from_second(1_120).ok());
        let date = moment("Sun, 06 Nov 1994 08:49:37 GMT", now);
        assert_eq!(date, "1994-11-06T08:49:37Z".parse().ok());
        assert_eq!(moment("-1", now), None);
        assert_eq!(moment("soon", now), None);
    }

    #[test]
    fn problem_text_is_safe_for_logs() {
        let problem = serde_json::from_str(
            r#"{"type":"urn:ietf:params:acme:error:dns","detail":"a\u001b[31m\nb","subproblems":[{"detail":"c"}]}"#,
        );
        assert_eq!(words(&problem.expect("a problem")), "a[31mb; c (urn:ietf:params:acme:error:dns)");
    }
}
