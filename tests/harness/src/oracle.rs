//! Clients that sign in and out while the daemon is killed, and a record of what it acknowledged.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use infra_shared::login_binding::{BoundVerifier, LoginBinding};
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use infra_shared::random;
use infra_shared::token_text::SessionToken;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::api::{Answered, Api};
use crate::daemon::Daemon;
use crate::pending_login::AuthorizationResponse;
use crate::provider::Provider;
use crate::wait;

/// How long other daemons on the same database may take to learn of a sign-out. The promise is a second.
const SETTLED: Duration = Duration::from_secs(10);

/// Records every acknowledged session, and whether its sign-out was acknowledged.
pub struct Oracle<'a> {
    provider: &'a Provider,
    origin: Origin,
    pin: Pin,
    redirect_port: u16,
    sessions: Mutex<Vec<(String, Recorded)>>,
}

/// The recorded state of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recorded {
    /// The daemon acknowledged the sign-in.
    SignedIn,
    /// The client sent a sign-out, with unknown result.
    SigningOut,
    /// The daemon acknowledged the sign-out.
    SignedOut,
}

/// Comparison of the daemon's sessions with the record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    pub logged_in: usize,
    pub logged_out: usize,
    /// Sign-outs without acknowledgement: either state is correct.
    pub open: usize,
    /// Lost acknowledged sign-ins and undone acknowledged sign-outs. Must be empty.
    pub lost: Vec<String>,
}

/// Why a client stopped.
#[derive(Debug, Clone)]
pub enum Stopped {
    /// No response: the daemon is gone, or closed the connection.
    NoAnswer,
    /// A response that acknowledges nothing.
    Refused(u16),
}

impl<'a> Oracle<'a> {
    pub fn new(daemon: &Daemon, provider: &'a Provider) -> Self {
        Self::at(&daemon.parsed_origin(), daemon, provider)
    }

    /// Like [`Self::new`], for clients that reach the daemon at this origin.
    pub fn at(origin: &Origin, daemon: &Daemon, provider: &'a Provider) -> Self {
        Self {
            provider,
            origin: origin.clone(),
            pin: daemon.pin(),
            redirect_port: *daemon.redirect_ports().first().expect("a port for redirects"),
            sessions: Mutex::default(),
        }
    }

    /// A client with its own connection.
    pub fn client(&self) -> Api {
        Api::pinned(&self.origin, self.pin)
    }

    /// Runs this many clients, which sign in and out until `stop` is set or the daemon is gone.
    pub fn storm(&self, clients: usize, stop: &AtomicBool) {
        std::thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| {
                    let api = self.client();
                    while !stop.load(Ordering::Relaxed) && self.sign_in_and_maybe_out(&api).is_ok() {}
                });
            }
        });
    }

    fn sign_in_and_maybe_out(&self, api: &Api) -> Result<(), Stopped> {
        let session = self.log_in(api)?;
        match random::bytes::<1>() {
            [0..96] => self.log_out(api, session),
            [96..160] => self.log_out_by_proof(api, session),
            [_] => Ok(()),
        }
    }

    /// Signs in and returns the number of the session.
    pub fn log_in(&self, api: &Api) -> Result<usize, Stopped> {
        let verifier = BoundVerifier::mint(&LoginBinding {
            origin: &self.origin,
            pin: Some(&self.pin),
            provider: "okta",
            issuer: self.provider.issuer(),
        });
        let start = json!({
            "provider": "okta",
            "redirectURI": format!("http://127.0.0.1:{}/callback", self.redirect_port),
            "state": random::alphanumeric(43),
            "codeChallenge": verifier.challenge(),
        });
        let started = acknowledged(api.request("POST", "/v1/logins").json(&start), 200)?;
        let text = |value: &Value, name: &str| value[name].as_str().expect("a text").to_owned();
        let response = AuthorizationResponse::of(&text(&started, "authorizationURL"), self.provider);
        let finish = json!({
            "ticket": started["ticket"],
            "code": response.parameter("code"),
            "codeVerifier": verifier.expose().expose_secret(),
            "iss": response.parameter("iss"),
        });
        let finished = acknowledged(api.request("POST", "/v1/logins/finish").json(&finish), 201)?;
        let mut sessions = self.sessions();
        sessions.push((text(&finished, "token"), Recorded::SignedIn));
        Ok(sessions.len() - 1)
    }

    /// Signs out with the token.
    pub fn log_out(&self, api: &Api, session: usize) -> Result<(), Stopped> {
        let token = self.leaving(session);
        answered(api.request("DELETE", "/v1/session").bearer_auth(token), 204)?;
        self.note(session, Recorded::SignedOut);
        Ok(())
    }

    /// Signs out with the proof that `infra` keeps while the daemon is unreachable.
    pub fn log_out_by_proof(&self, api: &Api, session: usize) -> Result<(), Stopped> {
        let token = SessionToken::parse(&self.leaving(session)).expect("the form of a token");
        let body = json!({"id": token.id().as_str(), "proof": token.logout_proof().to_text()});
        answered(api.request("POST", "/v1/logouts").json(&body), 204)?;
        self.note(session, Recorded::SignedOut);
        Ok(())
    }

    /// Validates a session that its client has not signed out. Fails the test if the daemon does not know it.
    pub fn validate(&self, api: &Api, session: usize) -> Result<(), Stopped> {
        let token = self.sessions().get(session).expect("a session that was opened").0.clone();
        match answered(api.request("GET", "/v1/session").bearer_auth(token), 200) {
            Err(Stopped::Refused(401)) => panic!("an acknowledged sign-in was lost"),
            done => done.map(drop),
        }
    }

    /// Checks every session from number `first` on, and records the actual state.
    pub fn compare(&self, first: usize) -> Comparison {
        self.compare_at(first, &[self.client()])
    }

    /// Like [`Self::compare`], with one of several daemons on the same database for each session, in turns.
    pub fn compare_at(&self, first: usize, daemons: &[Api]) -> Comparison {
        let mut compared = Comparison::default();
        for (number, (token, recorded)) in self.sessions().iter_mut().enumerate().skip(first) {
            let api = &daemons[number % daemons.len()];
            let ask = || match api.get_as("/v1/session?use=false", token).status {
                200 => true,
                401 => false,
                other => panic!("the daemon answered {other}"),
            };
            let may_settle = *recorded == Recorded::SignedOut && daemons.len() > 1;
            let is_live =
                if may_settle { wait::until(SETTLED, || (!ask()).then_some(())).is_none() } else { ask() };
            match (*recorded, is_live) {
                (Recorded::SignedIn, true) => compared.logged_in += 1,
                (Recorded::SignedOut, false) => compared.logged_out += 1,
                (Recorded::SigningOut, _) => compared.open += 1,
                (recorded, is_live) => compared.lost.push(format!("{recorded:?}, and valid: {is_live}")),
            }
            *recorded = if is_live { Recorded::SignedIn } else { Recorded::SignedOut };
        }
        compared
    }

    /// The number of acknowledged sessions.
    pub fn acknowledged(&self) -> usize {
        self.sessions().len()
    }

    /// The number of sessions that are signed out, as far as acknowledged or compared.
    pub fn signed_out(&self) -> usize {
        self.sessions().iter().filter(|(_, recorded)| *recorded == Recorded::SignedOut).count()
    }

    fn leaving(&self, session: usize) -> String {
        self.note(session, Recorded::SigningOut);
        self.sessions().get(session).expect("a session that was opened").0.clone()
    }

    fn note(&self, session: usize, recorded: Recorded) {
        self.sessions().get_mut(session).expect("a session that was opened").1 = recorded;
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, Vec<(String, Recorded)>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answered(request: reqwest::blocking::RequestBuilder, wanted: u16) -> Result<Answered, Stopped> {
    let answered = Answered::try_of(request).map_err(|_| Stopped::NoAnswer)?;
    if answered.status == wanted { Ok(answered) } else { Err(Stopped::Refused(answered.status)) }
}

fn acknowledged(request: reqwest::blocking::RequestBuilder, wanted: u16) -> Result<Value, Stopped> {
    // An incomplete response acknowledges nothing.
    serde_json::from_str(&answered(request, wanted)?.body).map_err(|_| Stopped::NoAnswer)
}
