//! Servers between the daemon and its root key backends. They forward every request except the planned
//! failure: the `n`th request to any of them.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use infra_shared::http::{self, Limits, Trust};
use serde_json::Value;

use crate::authority::Authority;
use crate::https::{Answer, Delivery, Gate, GateState, Request, Server};
use crate::ports::Ports;
use crate::wait;

const LIMITS: Limits = Limits { connect: Duration::from_secs(3), total: Duration::from_secs(30) };
/// Timeout for a gate to open.
const OPENED: Duration = Duration::from_mins(1);
/// Headers of the connection or the transport, not of the request.
const CONNECTION_HEADERS: [&str; 3] = ["connection", "content-length", "transfer-encoding"];

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The ports are closed from this request on.
    Refused,
    /// This many connections are reset before the client can send anything.
    Reset { times: usize },
    /// The backend processes the request, and the connection breaks before the response.
    Lost,
    /// A response with this status and a meaningless body.
    Status(u16),
    /// The backend processes the request, and the connection breaks within the response.
    CutShort,
    /// Status 200 with an HTML page.
    Garbage,
    /// No response until the client times out.
    Stalled,
}

/// The planned failure among all requests to the servers of one test.
#[derive(Default)]
pub struct Faults {
    state: Mutex<State>,
    gates: Mutex<Vec<(Arc<Gate>, String)>>,
}

#[derive(Default)]
struct State {
    requests: usize,
    planned: Option<(usize, Failure)>,
    is_reached: bool,
    resets_before: usize,
    /// Forwarded keys and tokens.
    secrets: Vec<String>,
}

/// A server between the daemon and a backend, stopped when dropped.
pub struct Unreliable {
    authority: Authority,
    ports: Ports,
    _server: Server,
}

impl Faults {
    /// Makes the `n`th request from now fail.
    pub fn fail_nth(&self, n: usize, failure: Failure) {
        let resets_before = self.resets();
        let mut state = self.state();
        state.requests = 0;
        state.planned = Some((n, failure));
        state.is_reached = false;
        state.resets_before = resets_before;
        self.set_gates(&state);
    }

    /// Cancels all failures and opens all gates.
    pub fn clear(&self) {
        let mut state = self.state();
        state.planned = None;
        self.set_gates(&state);
        drop(state);
        for (_, address) in self.gates().iter() {
            let listens = wait::until(OPENED, || TcpStream::connect(address).ok());
            assert!(listens.is_some(), "nobody listens at {address} again");
        }
    }

    /// Returns `true` if the planned failure happened. [`Failure::Refused`] cannot be observed.
    pub fn is_reached(&self) -> bool {
        let resets = self.resets();
        let state = self.state();
        state.is_reached || resets > state.resets_before
    }

    /// Keys and tokens that were forwarded.
    pub fn secrets(&self) -> Vec<String> {
        self.state().secrets.clone()
    }

    /// Counts a request, and returns its failure.
    fn next(&self) -> Option<Failure> {
        let mut state = self.state();
        state.requests += 1;
        let failure = state.planned.filter(|(n, _)| *n == state.requests).map(|(_, failure)| failure);
        // Requests to closed or resetting gates never reach this point.
        let failure = failure.filter(|failure| !matches!(failure, Failure::Refused | Failure::Reset { .. }));
        state.is_reached |= failure.is_some();
        self.set_gates(&state);
        failure
    }

    /// Closes the gates before a request that must fail to connect. Every request has its own connection.
    fn set_gates(&self, state: &State) {
        let door = match state.planned {
            Some((n, Failure::Refused)) if state.requests + 1 >= n => GateState::Closed,
            Some((n, Failure::Reset { times })) if state.requests + 1 == n => {
                GateState::Reset { connections: times }
            }
            _ => GateState::Open,
        };
        for (gate, _) in self.gates().iter() {
            gate.set(door);
        }
    }

    fn resets(&self) -> usize {
        self.gates().iter().map(|(gate, _)| gate.resets()).sum()
    }

    fn note_secrets(&self, body: &[u8]) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let secrets = ["/plaintext", "/data/plaintext", "/auth/client_token", "/Plaintext"]
            .iter()
            .filter_map(|place| body.pointer(place).and_then(Value::as_str).map(ToOwned::to_owned));
        self.state().secrets.extend(secrets);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gates(&self) -> MutexGuard<'_, Vec<(Arc<Gate>, String)>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unreliable {
    /// Forwards to `to`, authenticated by `trust`.
    pub fn before(to: String, trust: &Trust, faults: &Arc<Faults>) -> Self {
        let client = http::async_client(trust, LIMITS, true, &http::Proxies::none()).expect("a client");
        let (authority, ports, gate) = (Authority::new(), Ports::reserve(1), Arc::new(Gate::default()));
        let port = ports.all()[0];
        faults.gates().push((Arc::clone(&gate), format!("127.0.0.1:{port}")));
        let faults = Arc::clone(faults);
        let server = Server::start_behind(gate, port, authority.issue(), move |request| {
            let (client, faults, to) = (client.clone(), Arc::clone(&faults), to.clone());
            async move { answer(&client, &faults, &to, request).await }
        });
        Self { authority, ports, _server: server }
    }

    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.all()[0])
    }

    /// The CA certificate, for `caFile`.
    pub fn authority_file(&self) -> PathBuf {
        self.authority.file()
    }
}

async fn answer(client: &reqwest::Client, faults: &Faults, to: &str, request: Request) -> Answer {
    let failure = faults.next();
    match failure {
        Some(Failure::Status(status)) => return Answer::text(status, "no"),
        Some(Failure::Garbage) => return Answer::text(200, "<html><title>Welcome</title></html>"),
        Some(Failure::Stalled) => return Answer { delivery: Delivery::Never, ..Answer::text(200, "") },
        _ => {}
    }
    let mut answer = pass_on(client, faults, to, request).await;
    match failure {
        Some(Failure::Lost) => answer.delivery = Delivery::Broken,
        Some(Failure::CutShort) => answer.delivery = Delivery::CutShort,
        _ => {}
    }
    answer
}

async fn pass_on(client: &reqwest::Client, faults: &Faults, to: &str, request: Request) -> Answer {
    let method = request.method.parse().expect("the method of a request");
    faults.note_secrets(&request.body);
    let mut passed_on = client.request(method, format!("{to}{}", request.path));
    // Including `Host`, because signatures cover it.
    for (name, value) in &request.headers {
        if !CONNECTION_HEADERS.contains(&name.as_str()) {
            passed_on = passed_on.header(name, value);
        }
    }
    let Ok(answered) = passed_on.body(request.body).send().await else {
        return Answer::text(502, "the server behind is away");
    };
    let status = answered.status().as_u16();
    let body = answered.bytes().await.map(|body| body.to_vec()).unwrap_or_default();
    faults.note_secrets(&body);
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Answer { status, headers, body, delivery: Delivery::AtOnce }
}
