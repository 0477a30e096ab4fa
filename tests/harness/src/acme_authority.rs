//! A fake ACME server that never issues a certificate and misbehaves on demand.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::authority::Authority;
use crate::https::{Answer, Request, Server};

/// A running server, stopped when dropped.
pub struct AcmeAuthority {
    authority: Authority,
    server: Server,
    state: Arc<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    Directory,
    NewNonce,
    NewAccount,
    NewOrder,
    Elsewhere,
}

#[derive(Default)]
struct State {
    /// Endpoints with a misbehaving response.
    misbehaviours: Mutex<BTreeMap<Endpoint, Answer>>,
    requests: Mutex<Vec<(Endpoint, Request)>>,
}

impl AcmeAuthority {
    /// Serves a directory, nonces and accounts, and rejects every order until it
    /// [misbehaves](Self::misbehave).
    pub fn start() -> Self {
        let (state, authority) = (Arc::new(State::default()), Authority::new());
        let shared = Arc::clone(&state);
        let server = Server::start(authority.issue(), move |request| {
            let answer = shared.answer(&request);
            async move { answer }
        });
        Self { authority, server, state }
    }

    pub fn directory_url(&self) -> String {
        format!("{}/directory", self.origin())
    }

    pub fn origin(&self) -> String {
        format!("https://localhost:{}", self.server.port())
    }

    /// The CA of the server's own certificate, for `caFile`.
    pub fn authority_file(&self) -> PathBuf {
        self.authority.file()
    }

    /// Sets the response of one endpoint.
    pub fn misbehave(&self, endpoint: Endpoint, answer: Answer) {
        lock(&self.state.misbehaviours).insert(endpoint, answer);
    }

    /// Restores the honest responses.
    pub fn behave(&self) {
        lock(&self.state.misbehaviours).clear();
    }

    /// Returns the number of requests to an endpoint.
    pub fn requests(&self, endpoint: Endpoint) -> usize {
        lock(&self.state.requests).iter().filter(|(requested, _)| *requested == endpoint).count()
    }

    /// Returns the received request bodies.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        lock(&self.state.requests).iter().map(|(_, request)| request.body.clone()).collect()
    }
}

/// A directory (RFC 8555 §7.1.1) with its resources at `origin`.
pub fn directory(origin: &str) -> Value {
    json!({
        "newNonce": format!("{origin}/nonce"),
        "newAccount": format!("{origin}/account"),
        "newOrder": format!("{origin}/order"),
        "revokeCert": format!("{origin}/revoke"),
        "keyChange": format!("{origin}/key"),
        "meta": { "termsOfService": format!("{origin}/terms") },
    })
}

/// A problem document (RFC 8555 §6.7).
pub fn problem(status: u16, kind: &str, detail: &str) -> Answer {
    let body =
        json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail, "status": status });
    let mut answer = Answer::json(status, &body);
    answer.set_header("content-type", "application/problem+json");
    answer
}

impl State {
    fn answer(&self, request: &Request) -> Answer {
        let endpoint = match request.path.as_str() {
            "/directory" => Endpoint::Directory,
            "/nonce" => Endpoint::NewNonce,
            "/account" => Endpoint::NewAccount,
            "/order" => Endpoint::NewOrder,
            _ => Endpoint::Elsewhere,
        };
        lock(&self.requests).push((endpoint, request.clone()));
        let misbehaviour = lock(&self.misbehaviours).get(&endpoint).cloned();
        let mut answer = misbehaviour.unwrap_or_else(|| honest(endpoint, request));
        // RFC 8555 §6.5: every response carries a nonce, errors included.
        answer.set_header("replay-nonce", &infra_shared::random::alphanumeric(22));
        answer
    }
}

fn honest(endpoint: Endpoint, request: &Request) -> Answer {
    let origin = format!("https://{}", request.header("host").unwrap_or("localhost"));
    match endpoint {
        Endpoint::Directory => Answer::json(200, &directory(&origin)),
        // RFC 8555 §7.2: the response to HEAD.
        Endpoint::NewNonce => Answer::text(200, ""),
        Endpoint::NewAccount => {
            let mut answer = Answer::json(201, &json!({ "status": "valid" }));
            answer.set_header("location", &format!("{origin}/account/1"));
            answer
        }
        Endpoint::NewOrder => problem(403, "rejectedIdentifier", "this authority issues for nobody"),
        Endpoint::Elsewhere => problem(404, "malformed", "there is nothing here"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
