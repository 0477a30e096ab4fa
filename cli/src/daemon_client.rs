//! Calls to the daemon. Errors are classified by what they mean to the user.

mod delegation;
mod failures;
mod responses;
mod token_exchange;
mod trust_anchors;

use std::cell::Cell;
use std::time::Duration;

use infra_shared::api::{
    AudienceTokenRequest, AudienceTokenResponse, CurrentSession, FinishLoginRequest, FinishLoginResponse,
    ListedSessions, Logout, Problem, ProblemCode, RevocationResponse, Server, StartLoginRequest,
    StartLoginResponse,
};
use infra_shared::ca_rollover;
use infra_shared::http::{
    BodyError, Limits, NoClient, Trust, Untrusted, Way, closed_in_handshake, read_body_blocking, untrusted,
};
use infra_shared::origin::Origin;
use infra_shared::printable::printable;
use infra_shared::token_text::{LogoutProof, ServiceToken, SessionID, SessionToken};
use jiff::Timestamp;
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::RETRY_AFTER;
use secrecy::ExposeSecret;

use crate::failure::Exit;
use crate::proxy::{self, ProxyError, Route};
use responses::CheckedResponse;
use trust_anchors::{Attempts, TrustAnchors};

pub use delegation::DelegatedSession;
pub use failures::UNREACHABLE_HINT;

const LIMITS: Limits = Limits { connect: Duration::from_secs(5), total: Duration::from_secs(15) };
/// Time limit for finishing a login, during which the daemon sends several requests to the provider.
const FINISH_TIMEOUT: Duration = Duration::from_secs(45);
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error("{0}")]
    Untrusted(Untrusted),
    #[error("{0}")]
    Unreachable(String),
    /// The connection was closed before the server proved its identity.
    #[error("the connection was closed during the TLS handshake")]
    HandshakeClosed,
    /// The proxy did not connect to the daemon.
    #[error(transparent)]
    Proxy(ProxyError),
    /// The daemon returned a problem.
    #[error("{}", describe(.problem))]
    Problem { problem: Box<Problem>, retry_after: Option<Duration> },
    #[error("the response is not from infrad, or from a version that this `infra` does not support")]
    NotADaemon,
    #[error(transparent)]
    NoClient(#[from] NoClient),
}

/// An audience token with its expiry by the daemon's clock.
#[derive(Debug)]
pub struct ReceivedAudienceToken {
    pub token: ServiceToken,
    pub expires_at: Timestamp,
    pub now: Timestamp,
}

/// A client for one daemon and its accepted identities.
#[derive(Debug)]
pub struct DaemonClient {
    origin: Origin,
    trust_anchors: TrustAnchors,
    /// Number of the server's current announcement, if it has one.
    rollover_number: Cell<Option<u64>>,
}

impl DaemonClient {
    /// Creates a client without connecting. The server must prove itself by one of `trust_anchors`. Each later one is
    /// tried only if another authority answered for the one before.
    pub fn new(origin: &Origin, trust_anchors: Vec<Trust>) -> Result<Self, DaemonError> {
        let route = match proxy::route(&origin.url("/")) {
            Route::Direct => Way::Direct,
            Route::Through(_) => Way::Proxy,
            Route::Barred(error) => return Err(DaemonError::Proxy(error)),
        };
        Ok(Self {
            origin: origin.clone(),
            trust_anchors: TrustAnchors::new(trust_anchors, route)?,
            rollover_number: Cell::new(None),
        })
    }

    /// Index of the trust record that the server has proved, or has yet to prove.
    pub fn proved_anchor(&self) -> usize {
        self.trust_anchors.current()
    }

    /// Number of the server's current CA rollover announcement.
    pub fn rollover_number(&self) -> Option<u64> {
        self.rollover_number.get()
    }

    pub fn server(&self) -> Result<Server, DaemonError> {
        self.get("/v1/server", None)
    }

    pub fn start_login(&self, request: &StartLoginRequest) -> Result<StartLoginResponse, DaemonError> {
        self.read(|client| client.post(self.origin.url("/v1/logins")).json(request), Attempts::Once)
    }

    /// One attempt, because a second one would find the ticket used. Only a 429 leaves it unused.
    pub fn finish_login(&self, request: &FinishLoginRequest) -> Result<FinishLoginResponse, DaemonError> {
        let url = self.origin.url("/v1/logins/finish");
        self.read(|client| client.post(url.clone()).timeout(FINISH_TIMEOUT).json(request), Attempts::Once)
    }

    /// Returns the token's session without counting as use of it.
    pub fn session(&self, token: &SessionToken) -> Result<CurrentSession, DaemonError> {
        self.get("/v1/session?use=false", Some(token))
    }

    /// The live sessions of the token's user, or of `user` for an administrator.
    pub fn sessions(&self, token: &SessionToken, user: Option<&str>) -> Result<ListedSessions, DaemonError> {
        let query = user.map(|user| format!("?user={}", encoded(user)));
        self.get(&format!("/v1/sessions{}", query.unwrap_or_default()), Some(token))
    }

    /// Revokes all sessions of the token's user, or of `user` for an administrator, except the token's own.
    pub fn revoke_other_sessions(
        &self,
        token: &SessionToken,
        user: Option<&str>,
    ) -> Result<RevocationResponse, DaemonError> {
        let query = user.map(|user| format!("&user={}", encoded(user)));
        let url = self.origin.url(&format!("/v1/sessions?which=others{}", query.unwrap_or_default()));
        self.read(|client| client.delete(url.clone()).bearer_auth(token.expose()), Attempts::Once)
    }

    /// Revokes a session that the token's user may revoke. Returns `false` if there is none.
    pub fn revoke_session_by_id(&self, token: &SessionToken, id: &SessionID) -> Result<bool, DaemonError> {
        let url = self.origin.url(&format!("/v1/sessions/{id}"));
        let request = |client: &Client| client.delete(url.clone()).bearer_auth(token.expose());
        match self.send(request, Attempts::Once) {
            Ok(_) => Ok(true),
            Err(error) if error.problem() == Some(ProblemCode::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Requests a token for the service with this audience or name.
    pub fn issue_audience_token(
        &self,
        token: &SessionToken,
        audience: &str,
    ) -> Result<ReceivedAudienceToken, DaemonError> {
        let body = AudienceTokenRequest { audience: audience.to_owned() };
        let url = self.origin.url("/v1/tokens");
        let request = |client: &Client| client.post(url.clone()).bearer_auth(token.expose()).json(&body);
        let issued: AudienceTokenResponse = self.read(request, Attempts::Once)?;
        let token = ServiceToken::parse(issued.token.expose_secret()).ok_or(DaemonError::NotADaemon)?;
        Ok(ReceivedAudienceToken { token, expires_at: issued.expires_at, now: issued.now })
    }

    pub fn log_out(&self, token: &SessionToken) -> Result<(), DaemonError> {
        let url = self.origin.url("/v1/session");
        let request = |client: &Client| client.delete(url.clone()).bearer_auth(token.expose());
        self.send(request, Attempts::Once).map(|_| ())
    }

    pub fn log_out_by_proof(&self, id: &SessionID, proof: &LogoutProof) -> Result<(), DaemonError> {
        let body = Logout { id: id.clone(), proof: proof.to_text().into() };
        let request = |client: &Client| client.post(self.origin.url("/v1/logouts")).json(&body);
        self.send(request, Attempts::Once).map(|_| ())
    }

    /// Retried once if nothing was sent the first time.
    fn get<T: CheckedResponse>(&self, path: &str, token: Option<&SessionToken>) -> Result<T, DaemonError> {
        let request = |client: &Client| {
            let request = client.get(self.origin.url(path));
            match token {
                Some(token) => request.bearer_auth(token.expose()),
                None => request,
            }
        };
        self.read(request, Attempts::UpToTwo)
    }

    fn read<T: CheckedResponse>(
        &self,
        request: impl Fn(&Client) -> RequestBuilder,
        attempts: Attempts,
    ) -> Result<T, DaemonError> {
        let body = read_body_blocking(self.send(request, attempts)?, MAX_RESPONSE_BYTES).map_err(
            |error| match error {
                BodyError::TooLarge { .. } => DaemonError::NotADaemon,
                BodyError::Broken(error) => failure(&error),
                BodyError::Interrupted(error) => interrupted(&error),
            },
        )?;
        let answer: T = serde_json::from_slice(&body).map_err(|_| DaemonError::NotADaemon)?;
        if answer.is_valid() { Ok(answer) } else { Err(DaemonError::NotADaemon) }
    }

    /// Returns a successful response. `request` is built for each connection attempt, and sent only on the last one.
    fn send(
        &self,
        request: impl Fn(&Client) -> RequestBuilder,
        attempts: Attempts,
    ) -> Result<Response, DaemonError> {
        let response = self.trust_anchors.send(request, attempts)?;
        let number = response.headers().get(ca_rollover::HEADER).and_then(|value| value.to_str().ok());
        if let Some(number) = number.and_then(|text| text.parse().ok()) {
            self.rollover_number.set(Some(number));
        }
        check(response)
    }
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Classifies a failed request.
pub fn failure(error: &reqwest::Error) -> DaemonError {
    if let Some(reason) = untrusted(error) {
        return DaemonError::Untrusted(reason);
    }
    if let Some(Route::Through(proxy)) = error.url().map(proxy::route) {
        return DaemonError::Proxy(proxy.explain(error));
    }
    if error.is_timeout() {
        return DaemonError::Unreachable("no response in time".to_owned());
    }
    if closed_in_handshake(error) {
        return DaemonError::HandshakeClosed;
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    DaemonError::Unreachable(printable(&cause.to_string(), 200))
}

/// Classifies a failure while reading a response body.
fn interrupted(error: &std::io::Error) -> DaemonError {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<reqwest::Error>());
    cause.map_or_else(|| DaemonError::Unreachable(printable(&error.to_string(), 200)), failure)
}

/// Returns a successful response, or the problem in its body.
fn check(response: Response) -> Result<Response, DaemonError> {
    if response.status().is_success() {
        return Ok(response);
    }
    let (status, is_outage) = (response.status().as_u16(), response.status().is_server_error());
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        // RFC 9110 §10.2.3 also allows a date, which the daemon never sends.
        .filter(|text| (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .map(Duration::from_secs);
    let body = read_body_blocking(response, MAX_RESPONSE_BYTES).unwrap_or_default();
    match serde_json::from_slice::<Problem>(&body).ok().or_else(|| token_exchange::problem(status, &body)) {
        Some(problem) => Err(DaemonError::Problem { problem: Box::new(problem), retry_after }),
        // Probably the response of a gateway.
        None if is_outage => {
            Err(DaemonError::Unreachable("a gateway in front of the server reports an outage".to_owned()))
        }
        None => Err(DaemonError::NotADaemon),
    }
}

fn describe(problem: &Problem) -> String {
    let what = printable(problem.detail.as_deref().unwrap_or(&problem.title), 500);
    format!("{what} (request {})", printable(&problem.request_id, 40))
}

impl DaemonError {
    /// The code of the daemon's problem, if it returned one.
    pub fn problem(&self) -> Option<ProblemCode> {
        match self {
            Self::Problem { problem, .. } => Some(problem.code),
            _ => None,
        }
    }

    /// The wait that the daemon requests before a retry.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Problem { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    pub fn exit(&self) -> Exit {
        match self {
            Self::Untrusted(_) => Exit::Untrusted,
            Self::Unreachable(_) | Self::HandshakeClosed | Self::Proxy(_) => Exit::Unreachable,
            Self::NotADaemon | Self::NoClient(_) => Exit::Failed,
            Self::Problem { problem, .. } => match problem.code {
                ProblemCode::LoginExpired | ProblemCode::LoginRejected => Exit::LoginFailed,
                ProblemCode::ProviderUnavailable
                | ProblemCode::Unavailable
                | ProblemCode::TooManyRequests => Exit::Unreachable,
                ProblemCode::NotAuthenticated | ProblemCode::SessionExpired | ProblemCode::SessionRevoked => {
                    Exit::LoginNeeded
                }
                _ => Exit::Failed,
            },
        }
    }
}
