//! Problem responses: few error codes, and a request id for finding the reason in the log.

use std::fmt::Display;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use infra_shared::api::MEDIA_TYPE;
use infra_shared::api::{Problem, ProblemCode};
use serde::Serialize;

use super::log_limiter::{LogLimiter, LogPermit};
use crate::identity::IdentityError;
use crate::listener::{ErrorResponses, NoMemory, request_id, request_span};
use crate::secrets::ReadError;
use crate::sessions::{LoginError, NotAuthenticated};
use crate::store::StoreError;

/// After this time an unavailable dependency may be back.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The detail for an address that exceeds the login rate limit.
pub(super) const TOO_MANY_LOGINS: &str = "too many sign-ins from your address: wait, then try again";

/// Separate rate limits for the log, so that rejections cannot suppress server errors.
static REJECTIONS: LogLimiter = LogLimiter::new();
static SERVER_ERRORS: LogLimiter = LogLimiter::new();

/// An error response. Creating one logs its reason once, within the rate limit.
#[derive(Debug)]
pub(super) struct ProblemResponse {
    code: ProblemCode,
    pub(super) request_id: String,
    pub(super) detail: Option<&'static str>,
    pub(super) retry_after: Option<Duration>,
    challenge: &'static str,
}

/// RFC 6750 §3: a challenge without an error code.
const BEARER: &str = "Bearer";

impl ProblemResponse {
    /// Rejects with `code`. The `reason` only goes to the log.
    pub(super) fn new(code: ProblemCode, reason: &dyn Display) -> Self {
        let request_id = request_id();
        let _span = request_span(&request_id).entered();
        if code.status() >= 500 {
            if let Some(LogPermit { suppressed }) = SERVER_ERRORS.take() {
                tracing::error!(%code, %reason, suppressed, "request failed");
            }
        } else if let Some(LogPermit { suppressed }) = REJECTIONS.take() {
            tracing::info!(%code, %reason, suppressed, "request rejected");
        }
        let retry_after = (code.status() == 503).then_some(RETRY_AFTER);
        Self { code, request_id, detail: None, retry_after, challenge: BEARER }
    }

    /// Rejects a rate-limited request until `wait` has passed. Such rejections are counted, not logged individually.
    pub(super) fn rate_limited(wait: Duration, detail: &'static str) -> Self {
        let request_id = request_id();
        tracing::debug!(request_id, "rejected: rate limit exceeded");
        Self {
            code: ProblemCode::TooManyRequests,
            request_id,
            detail: Some(detail),
            retry_after: Some(wait),
            challenge: BEARER,
        }
    }

    /// Sets a challenge for other credentials, or one with an error code (RFC 9110 §11.6.1).
    pub(super) fn with_challenge(mut self, challenge: &'static str) -> Self {
        self.challenge = challenge;
        self
    }

    pub(super) fn without_retry_after(mut self) -> Self {
        self.retry_after = None;
        self
    }

    pub(super) fn code(&self) -> ProblemCode {
        self.code
    }

    /// Says if the daemon's database is away: an address or a network of the caller cannot be the cause.
    pub(super) fn with_cause_in_store(self, error: &StoreError) -> Self {
        match error {
            StoreError::Unavailable { .. } | StoreError::NoAnswer { .. } => self
                .with_detail("the server cannot reach its database: try again later, or ask your operator"),
            _ => self,
        }
    }

    /// Adds advice for the caller.
    pub(super) fn with_detail(mut self, detail: &'static str) -> Self {
        self.detail = Some(detail);
        self
    }
}

impl IntoResponse for ProblemResponse {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: title(self.code).to_owned(),
            status: status.as_u16(),
            code: self.code,
            request_id: self.request_id,
            detail: self.detail.map(ToOwned::to_owned),
        };
        let mut response = json_response(status, &problem);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(self.challenge));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, whole_seconds(wait));
        }
        response
    }
}

/// RFC 7009 §2.2.1, RFC 6585 §4: tell the client when to retry. Rounds up, because a second too early would fail again.
pub(super) fn whole_seconds(wait: Duration) -> HeaderValue {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    HeaderValue::from(seconds.max(1))
}

/// Responses for requests that the router does not see or does not answer.
pub fn error_responses() -> ErrorResponses {
    ErrorResponses {
        timed_out: || {
            ProblemResponse::new(ProblemCode::Unavailable, &"the request timed out").into_response()
        },
        no_memory: || no_memory().into_response(),
        unclear_host: || {
            let reason = "`Host` or `:authority` is missing, duplicated, contradictory or malformed";
            ProblemResponse::new(ProblemCode::BadRequest, &reason)
                .with_detail("send exactly one `Host` header, with the name or address of this server")
                .into_response()
        },
    }
}

/// The response if requests hold the maximum memory.
pub(super) fn no_memory() -> ProblemResponse {
    ProblemResponse::new(ProblemCode::Unavailable, &NoMemory)
}

/// Builds a JSON response with the headers that every response carries.
pub(super) fn json_response(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = (status, Json(body)).into_response();
    protect(response.headers_mut());
    response
}

pub(super) fn no_content() -> Response {
    without_body(StatusCode::NO_CONTENT)
}

pub(super) fn without_body(status: StatusCode) -> Response {
    let mut response = status.into_response();
    protect(response.headers_mut());
    response
}

pub(super) async fn not_found() -> ProblemResponse {
    ProblemResponse::new(ProblemCode::NotFound, &"unknown path")
}

pub(super) async fn method_not_allowed() -> ProblemResponse {
    ProblemResponse::new(ProblemCode::MethodNotAllowed, &"the path does not support this method")
}

impl From<StoreError> for ProblemResponse {
    fn from(error: StoreError) -> Self {
        Self::new(ProblemCode::Unavailable, &error).with_cause_in_store(&error)
    }
}

impl From<NotAuthenticated> for ProblemResponse {
    /// The same for every invalid token. Only `GET /v1/session` is more specific, in its own handler.
    fn from(error: NotAuthenticated) -> Self {
        match &error {
            NotAuthenticated::Store(store) => {
                Self::new(ProblemCode::Unavailable, &error).with_cause_in_store(store)
            }
            _ => Self::new(ProblemCode::NotAuthenticated, &error),
        }
    }
}

impl From<LoginError> for ProblemResponse {
    fn from(error: LoginError) -> Self {
        use LoginError as Login;
        if let Login::Identity(IdentityError::QueueFull) = error {
            return Self::rate_limited(RETRY_AFTER, TOO_MANY_LOGINS);
        }
        if let Login::Identity(IdentityError::RejectedCodeLimit(wait)) = error {
            return Self::rate_limited(wait, TOO_MANY_LOGINS);
        }
        let (code, detail) = match &error {
            Login::UnknownProvider => {
                (ProblemCode::BadRequest, Some("the daemon has no identity provider with that name"))
            }
            Login::UnregisteredRedirectURI => {
                (ProblemCode::BadRequest, Some("this redirect URI is not in the provider's `redirectPorts`"))
            }
            Login::MalformedState
            | Login::MalformedChallenge
            | Login::MalformedCode
            | Login::MalformedVerifier => (ProblemCode::BadRequest, None),
            Login::TicketExpired => {
                (ProblemCode::LoginExpired, Some("the sign-in took too long: start it again"))
            }
            Login::TicketUsed => {
                (ProblemCode::LoginExpired, Some("this sign-in was already completed: start a new one"))
            }
            Login::Ticket(_) | Login::CodeVerifierMismatch => (ProblemCode::LoginRejected, None),
            Login::BindingMismatch => (
                ProblemCode::LoginRejected,
                Some(
                    "the sign-in was started at another address or with another fingerprint than the daemon's: an \
                     attacker may be between you and the daemon. Ask your operator for the address and fingerprint \
                     that `infrad fingerprint` prints",
                ),
            ),
            Login::ProviderMismatch { .. } => (
                ProblemCode::LoginRejected,
                Some(
                    "the sign-in was started with one identity provider and finished with another: ask your \
                     operator, who finds both names in the daemon's log",
                ),
            ),
            Login::DeniedByPolicy(_) => (
                ProblemCode::LoginRejected,
                Some(
                    "this account may not sign in here: ask your operator to admit you or one of your groups",
                ),
            ),
            Login::Identity(error) => {
                let (code, detail) = of_identity(error);
                (code, Some(detail))
            }
            Login::Store(_) => (ProblemCode::Unavailable, None),
        };
        let mut response = Self::new(code, &error);
        if let Login::Store(store) = &error {
            response = response.with_cause_in_store(store);
        }
        if needs_an_operator(&error) {
            response = response.without_retry_after();
        }
        match detail {
            Some(detail) => response.with_detail(detail),
            None => response,
        }
    }
}

/// The code and the detail of a login that the provider's side failed.
fn of_identity(error: &IdentityError) -> (ProblemCode, &'static str) {
    match error {
        IdentityError::ResponseIssuer(_) | IdentityError::Rejected(_) => {
            (ProblemCode::LoginRejected, "the identity provider's response does not prove who signed in")
        }
        IdentityError::ClockSkew(_) => (
            ProblemCode::LoginRejected,
            "the clocks of the daemon and of the identity provider differ too much: ask your operator, who \
             finds both times in the daemon's log under the request ID",
        ),
        IdentityError::LimitExceeded(_) => (
            ProblemCode::LoginRejected,
            "the identity provider sends more data about you than the daemon accepts, such as too many \
             groups: ask your operator to filter the groups claim",
        ),
        IdentityError::Unusable(_) => (
            ProblemCode::ProviderUnavailable,
            "the daemon cannot use the identity provider's responses, and a retry will fail the same way: \
             ask your operator, who finds the reason in the daemon's log under the request ID",
        ),
        IdentityError::Unavailable(_) | IdentityError::QueueFull | IdentityError::RejectedCodeLimit(_) => (
            ProblemCode::ProviderUnavailable,
            "the daemon received no usable response from the identity provider: try again in a few minutes",
        ),
        IdentityError::InvalidClient { .. } => (
            ProblemCode::Unavailable,
            "the identity provider rejects the daemon's client secret: ask your operator to correct it",
        ),
        IdentityError::ClientSecret(ReadError::Unreachable(_)) => (
            ProblemCode::Unavailable,
            "the daemon cannot reach the backend of its client secret: try again in a few minutes",
        ),
        IdentityError::ClientSecret(_) => (
            ProblemCode::Unavailable,
            "the daemon cannot read its client secret: ask your operator to correct it",
        ),
    }
}

/// Whether a retry fails the same way until an operator corrects something.
fn needs_an_operator(error: &LoginError) -> bool {
    match error {
        LoginError::Identity(IdentityError::InvalidClient { .. } | IdentityError::Unusable(_)) => true,
        LoginError::Identity(IdentityError::ClientSecret(error)) => {
            !matches!(error, ReadError::Unreachable(_))
        }
        _ => false,
    }
}

/// Forbids caching, framing and content sniffing, and requires HTTPS in the future.
fn protect(headers: &mut HeaderMap) {
    const FIXED: [(HeaderName, &str); 5] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        // RFC 6797 §7.1: two years, as in Mozilla's guidelines.
        (header::STRICT_TRANSPORT_SECURITY, "max-age=63072000"),
    ];
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn title(code: ProblemCode) -> &'static str {
    match code {
        ProblemCode::LoginExpired => "the sign-in expired",
        ProblemCode::LoginRejected => "the sign-in was rejected",
        ProblemCode::ProviderUnavailable => "the identity provider is unavailable",
        ProblemCode::Unavailable => "the daemon cannot process the request now",
        ProblemCode::NotAuthenticated => "not authenticated",
        ProblemCode::SessionExpired => "the session expired",
        ProblemCode::SessionRevoked => "the session was revoked",
        ProblemCode::TooManyRequests => "too many requests",
        ProblemCode::BadRequest => "the request is malformed",
        ProblemCode::Forbidden => "not allowed",
        ProblemCode::Delegated => "not allowed to a delegated session",
        ProblemCode::NotFound => "not found",
        ProblemCode::MethodNotAllowed => "the path does not support this method",
        ProblemCode::BodyTooLarge => "the body is too large",
        ProblemCode::Unknown => "unknown error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_rounded_up() {
        for (milliseconds, seconds) in [(0, "1"), (300, "1"), (1000, "1"), (39_001, "40"), (60_000, "60")] {
            let wait = Duration::from_millis(milliseconds);
            let response = ProblemResponse::rate_limited(wait, TOO_MANY_LOGINS).into_response();
            assert_eq!(
                response.headers().get(header::RETRY_AFTER).expect("a header"),
                seconds,
                "{milliseconds}"
            );
        }
    }

    #[tokio::test]
    async fn timeout_response_is_a_problem() {
        let response = (error_responses().timed_out)();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        for (name, value) in [
            (header::CONTENT_TYPE, MEDIA_TYPE),
            (header::RETRY_AFTER, "5"),
            (header::CACHE_CONTROL, "no-store"),
        ] {
            assert_eq!(response.headers().get(name).expect("a header"), value);
        }
        let body = axum::body::to_bytes(response.into_body(), 4096).await.expect("a body");
        let problem: Problem = serde_json::from_slice(&body).expect("a problem");
        assert_eq!(problem.code, ProblemCode::Unavailable);
    }
}
