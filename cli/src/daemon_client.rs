//! Calls to the daemon, each told apart by what its failure means to the user.

mod answers;
mod ways;

use std::cell::Cell;
use std::time::Duration;

use infra_shared::api::{
    CurrentSession, EndedSessions, FinishLogin, FinishedLogin, ListedSessions, Logout, OpenAudienceToken,
    OpenedAudienceToken, Problem, ProblemCode, Server, StartLogin, StartedLogin,
};
use infra_shared::http::{
    BodyError, KeyExchange, Limits, NoClient, Trust, Untrusted, Way, closed_in_handshake, read_body_blocking,
    untrusted,
};
use infra_shared::origin::Origin;
use infra_shared::printable::printable;
use infra_shared::succession;
use infra_shared::token_text::{AudienceToken, LogoutProof, SessionID, SessionToken};
use jiff::Timestamp;
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::RETRY_AFTER;
use secrecy::ExposeSecret;

use crate::failure::{Exit, Failure};
use crate::proxy::{self, ProxyError, Route};
use crate::settings;
use answers::Answer;
use ways::{Tries, Ways};

const LIMITS: Limits = Limits { connect: Duration::from_secs(5), total: Duration::from_secs(15) };
/// The daemon asks the provider several things before it answers.
const FINISH: Duration = Duration::from_secs(45);
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error("{0}")]
    Untrusted(Untrusted),
    #[error("{0}")]
    Unreachable(String),
    /// The server, or something on the way to it, ended the connection before it proved itself.
    #[error("the connection was closed during the TLS handshake")]
    HandshakeClosed,
    /// There was no way through the proxy on the way to the daemon.
    #[error(transparent)]
    Proxy(ProxyError),
    /// The daemon answered with a problem.
    #[error("{}", describe(.problem))]
    Problem { problem: Box<Problem>, retry_after: Option<Duration> },
    #[error("what answers there is not infrad, or of a version that this `infra` does not understand")]
    NotADaemon,
    #[error(transparent)]
    NoClient(#[from] NoClient),
}

/// A token for one service, by the daemon's clock.
#[derive(Debug)]
pub struct NewToken {
    pub token: AudienceToken,
    pub expires_at: Timestamp,
    pub now: Timestamp,
}

/// A daemon, and whom to take for it.
#[derive(Debug)]
pub struct DaemonClient {
    origin: Origin,
    ways: Ways,
    /// The number of what the daemon announces, where it does.
    announced: Cell<Option<u64>>,
}

impl DaemonClient {
    /// Connects to nobody yet. The server has to prove itself in one of `ways`; the next counts only where nobody of the one
    /// before is there.
    pub fn new(origin: &Origin, ways: Vec<Trust>) -> Result<Self, DaemonError> {
        let route = match proxy::route(&origin.url("/")) {
            Route::Direct => Way::Direct,
            Route::Through(_) => Way::Proxy,
            Route::Barred(error) => return Err(DaemonError::Proxy(error)),
        };
        Ok(Self { origin: origin.clone(), ways: Ways::new(ways, route)?, announced: Cell::new(None) })
    }

    /// In which of the ways the server has proven itself, or is to.
    pub fn way(&self) -> usize {
        self.ways.current()
    }

    /// The number of what the server announced of how it will prove itself.
    pub fn announced(&self) -> Option<u64> {
        self.announced.get()
    }

    pub fn server(&self) -> Result<Server, DaemonError> {
        self.get("/v1/server", None)
    }

    pub fn start_login(&self, request: &StartLogin) -> Result<StartedLogin, DaemonError> {
        self.read(|client| client.post(self.origin.url("/v1/logins")).json(request), Tries::One)
    }

    /// Sent once: whatever comes back, it is not sent again.
    pub fn finish_login(&self, request: &FinishLogin) -> Result<FinishedLogin, DaemonError> {
        let url = self.origin.url("/v1/logins/finish");
        self.read(|client| client.post(url.clone()).timeout(FINISH).json(request), Tries::One)
    }

    /// Whose token it is, without counting as use of the session.
    pub fn session(&self, token: &SessionToken) -> Result<CurrentSession, DaemonError> {
        self.get("/v1/session?use=false", Some(token))
    }

    /// The live sessions of the token's user, or for an administrator those of `user`.
    pub fn sessions(&self, token: &SessionToken, user: Option<&str>) -> Result<ListedSessions, DaemonError> {
        let query = user.map(|user| format!("?user={}", encoded(user)));
        self.get(&format!("/v1/sessions{}", query.unwrap_or_default()), Some(token))
    }

    /// Ends all sessions of the token's user, or for an administrator those of `user`, but the token's own.
    pub fn end_other_sessions(
        &self,
        token: &SessionToken,
        user: Option<&str>,
    ) -> Result<EndedSessions, DaemonError> {
        let query = user.map(|user| format!("&user={}", encoded(user)));
        let url = self.origin.url(&format!("/v1/sessions?which=others{}", query.unwrap_or_default()));
        self.read(|client| client.delete(url.clone()).bearer_auth(token.expose()), Tries::One)
    }

    /// Ends a session that the token's user may end; `false` where there is none.
    pub fn end_session(&self, token: &SessionToken, id: &SessionID) -> Result<bool, DaemonError> {
        let url = self.origin.url(&format!("/v1/sessions/{id}"));
        let request = |client: &Client| client.delete(url.clone()).bearer_auth(token.expose());
        match self.send(request, Tries::One) {
            Ok(_) => Ok(true),
            Err(error) if error.problem() == Some(ProblemCode::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A token for the service with this audience, or of this name.
    pub fn open_audience_token(&self, token: &SessionToken, audience: &str) -> Result<NewToken, DaemonError> {
        let body = OpenAudienceToken { audience: audience.to_owned() };
        let url = self.origin.url("/v1/tokens");
        let request = |client: &Client| client.post(url.clone()).bearer_auth(token.expose()).json(&body);
        let opened: OpenedAudienceToken = self.read(request, Tries::One)?;
        let token = AudienceToken::parse(opened.token.expose_secret()).ok_or(DaemonError::NotADaemon)?;
        Ok(NewToken { token, expires_at: opened.expires_at, now: opened.now })
    }

    pub fn log_out(&self, token: &SessionToken) -> Result<(), DaemonError> {
        let url = self.origin.url("/v1/session");
        let request = |client: &Client| client.delete(url.clone()).bearer_auth(token.expose());
        self.send(request, Tries::One).map(|_| ())
    }

    pub fn log_out_by_proof(&self, id: &SessionID, proof: &LogoutProof) -> Result<(), DaemonError> {
        let body = Logout { id: id.clone(), proof: proof.to_text().into() };
        let request = |client: &Client| client.post(self.origin.url("/v1/logouts")).json(&body);
        self.send(request, Tries::One).map(|_| ())
    }

    /// Tried a second time where nothing was sent the first time.
    fn get<T: Answer>(&self, path: &str, token: Option<&SessionToken>) -> Result<T, DaemonError> {
        let request = |client: &Client| {
            let request = client.get(self.origin.url(path));
            match token {
                Some(token) => request.bearer_auth(token.expose()),
                None => request,
            }
        };
        self.read(request, Tries::Two)
    }

    fn read<T: Answer>(
        &self,
        request: impl Fn(&Client) -> RequestBuilder,
        tries: Tries,
    ) -> Result<T, DaemonError> {
        let body =
            read_body_blocking(self.send(request, tries)?, MAX_ANSWER_BYTES).map_err(
                |error| match error {
                    BodyError::TooLarge { .. } => DaemonError::NotADaemon,
                    BodyError::Broken(error) => failure(&error),
                    BodyError::Interrupted(error) => interrupted(&error),
                },
            )?;
        let answer: T = serde_json::from_slice(&body).map_err(|_| DaemonError::NotADaemon)?;
        if answer.is_sound() { Ok(answer) } else { Err(DaemonError::NotADaemon) }
    }

    /// A good answer. `request` is made anew for each connection that is tried, and sent on the last one alone.
    fn send(
        &self,
        request: impl Fn(&Client) -> RequestBuilder,
        tries: Tries,
    ) -> Result<Response, DaemonError> {
        let response = self.ways.send(request, tries)?;
        let number = response.headers().get(succession::HEADER).and_then(|value| value.to_str().ok());
        if let Some(number) = number.and_then(|text| text.parse().ok()) {
            self.announced.set(Some(number));
        }
        check(response)
    }
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// What a request that failed means.
pub fn failure(error: &reqwest::Error) -> DaemonError {
    if let Some(reason) = untrusted(error) {
        return DaemonError::Untrusted(reason);
    }
    if let Some(Route::Through(proxy)) = error.url().map(proxy::route) {
        return DaemonError::Proxy(proxy.explain(error));
    }
    if error.is_timeout() {
        return DaemonError::Unreachable("no answer in time".to_owned());
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

/// What a body that was not read to its end means.
fn interrupted(error: &std::io::Error) -> DaemonError {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<reqwest::Error>());
    cause.map_or_else(|| DaemonError::Unreachable(printable(&error.to_string(), 200)), failure)
}

/// What to look at when a server does not answer.
const UNREACHABLE_HINT: &str =
    "again in a while; if it stays so, the address and the network, or the server's operator";

/// Old middleboxes reset a connection whose first message takes more than one packet.
const HANDSHAKE_HINT: &str = "again; if it stays so, a middlebox may not accept the large first message of the handshake: \
    `INFRA_KEY_EXCHANGE=classical` makes it small, without protection against quantum computers";

/// A good answer, or the problem that it describes.
fn check(response: Response) -> Result<Response, DaemonError> {
    if response.status().is_success() {
        return Ok(response);
    }
    let is_outage = response.status().is_server_error();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        // RFC 9110 §10.2.3 also allows a date, which the daemon never sends.
        .filter(|text| (1..=9).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .map(Duration::from_secs);
    let body = read_body_blocking(response, MAX_ANSWER_BYTES).unwrap_or_default();
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => Err(DaemonError::Problem { problem: Box::new(problem), retry_after }),
        // A gateway in between, most likely.
        Err(_) if is_outage => {
            Err(DaemonError::Unreachable("a gateway in between reports an outage".to_owned()))
        }
        Err(_) => Err(DaemonError::NotADaemon),
    }
}

fn describe(problem: &Problem) -> String {
    let what = printable(problem.detail.as_deref().unwrap_or(&problem.title), 500);
    format!("{what} (request {})", printable(&problem.request_id, 40))
}

impl DaemonError {
    /// The code of the daemon's problem, where it answered with one.
    pub fn problem(&self) -> Option<ProblemCode> {
        match self {
            Self::Problem { problem, .. } => Some(problem.code),
            _ => None,
        }
    }

    /// How long the daemon asks to wait before another try.
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
                ProblemCode::LoginExpired | ProblemCode::LoginRefused => Exit::Refused,
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

    /// What to try where the daemon could not be asked.
    pub fn unreachable_hint(&self) -> &'static str {
        match self {
            Self::Proxy(error) => proxy::hint(error),
            Self::HandshakeClosed if settings::key_exchange() == KeyExchange::Hybrid => HANDSHAKE_HINT,
            _ => UNREACHABLE_HINT,
        }
    }

    /// What to tell the user of a failed call to `origin`.
    pub fn to_failure(&self, origin: &Origin) -> Failure {
        let exit = self.exit();
        let failure = match (self, exit) {
            (Self::Untrusted(reason), _) => return untrusted_failure(origin, reason),
            (Self::Problem { problem, .. }, _) if problem.code == ProblemCode::ProviderUnavailable => {
                Failure::new(exit, "the daemon cannot use the identity provider")
            }
            (Self::Problem { problem, .. }, Exit::Unreachable)
                if [ProblemCode::Unavailable, ProblemCode::TooManyRequests].contains(&problem.code) =>
            {
                Failure::new(exit, format!("the request to {origin} failed"))
            }
            (Self::Problem { problem, .. }, _) if problem.code == ProblemCode::Forbidden => {
                Failure::new(exit, format!("{origin} does not allow it"))
            }
            (_, Exit::Unreachable) => Failure::new(exit, format!("{origin} cannot be reached")),
            (_, Exit::Refused) => Failure::new(exit, "the login was refused"),
            (_, Exit::LoginNeeded) => Failure::new(exit, format!("{origin} asks for a login")),
            _ => Failure::new(exit, format!("{origin} did not do it")),
        };
        let failure = failure.because(self);
        match self {
            Self::Problem { retry_after: Some(wait), .. } => {
                failure.hint(format!("again in {} s", wait.as_secs()))
            }
            // Without a time there is nothing to wait for: somebody has to mend it.
            Self::Problem { problem, .. }
                if matches!(
                    problem.code,
                    ProblemCode::LoginRefused | ProblemCode::ProviderUnavailable | ProblemCode::Unavailable
                ) =>
            {
                failure.hint(format!("ask the operator of {origin}, with the request ID"))
            }
            Self::Unreachable(_) | Self::HandshakeClosed | Self::Proxy(_) => {
                failure.hint(self.unreachable_hint())
            }
            _ => failure,
        }
    }
}

/// A server that is not who it should be. Nothing was sent to it.
fn untrusted_failure(origin: &Origin, reason: &Untrusted) -> Failure {
    let failure = Failure::new(
        Exit::Untrusted,
        format!("{origin} did not prove its identity, and nothing was sent to it"),
    )
    .because(reason);
    match reason {
        Untrusted::OtherPin { .. } | Untrusted::UnknownAuthority | Untrusted::NoAuthoritySent => failure.hint(format!(
            "ask the server's operator, by another way than this one, whether its fingerprint changed; if so, \
             `infra trust {origin} --fingerprint sha256:…`, or `infra trust {origin} --system` where it has a public \
             certificate now; if not, somebody may stand between you and the server"
        )),
        Untrusted::WrongName => failure.hint("the address as the server's operator wrote it"),
        Untrusted::Expired | Untrusted::NotYetValid => {
            failure.hint("the clock of this machine (`date`); if that is right, the server's operator")
        }
        Untrusted::NoTLS => failure.hint("the address and the port as the server's operator wrote them"),
        Untrusted::Unacceptable => failure,
    }
}
