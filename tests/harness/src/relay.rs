//! An attacker's daemon that forwards every call to the real one: a man in the middle with its own
//! certificate.

use std::sync::{Arc, Mutex};

use infra_shared::pin::Pin;
use serde_json::{Value, json};

use crate::api::{Answered, Api};
use crate::authority::Authority;
use crate::daemon::Daemon;
use crate::https::{Answer, Delivery, Request, Server};

/// A running relay, stopped when dropped.
pub struct Relay {
    authority: Authority,
    server: Server,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Relay {
    /// Relays every request to `daemon`, and reports its own pin instead of the daemon's.
    pub fn to(daemon: &Daemon) -> Self {
        let authority = Authority::new();
        let (api, pin) = (daemon.api(), authority.pin());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let server = Server::start(authority.issue(), move |request| {
            seen.lock().expect("nobody panics while relaying").push(request.clone());
            let api = api.clone();
            async move {
                let relayed = tokio::task::spawn_blocking(move || relay(&api, &request, pin)).await;
                relayed.unwrap_or_else(|_| Answer::text(502, "the relay failed"))
            }
        });
        Self { authority, server, requests }
    }

    pub fn origin(&self) -> String {
        format!("https://127.0.0.1:{}", self.server.port())
    }

    pub fn pin(&self) -> Pin {
        self.authority.pin()
    }

    /// The relayed requests as `METHOD PATH`.
    pub fn relayed(&self) -> Vec<String> {
        let requests = self.requests.lock().expect("nobody panics while relaying");
        requests.iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }
}

fn relay(api: &Api, request: &Request, pin: Pin) -> Answer {
    let path = if request.query.is_empty() {
        request.path.clone()
    } else {
        format!("{}?{}", request.path, request.query)
    };
    let mut forwarded = api.request(&request.method, &path).body(request.body.clone());
    for name in ["authorization", "content-type", "accept"] {
        if let Some(value) = request.header(name) {
            forwarded = forwarded.header(name, value);
        }
    }
    let Ok(answered) = Answered::try_of(forwarded) else { return Answer::text(502, "the daemon is away") };
    let mut body = answered.body.clone();
    if request.path == "/v1/server" {
        let mut server: Value = serde_json::from_str(&body).unwrap_or_default();
        if let Some(server) = server.as_object_mut() {
            server.insert("pins".to_owned(), json!([pin]));
            server.remove("publicURLs");
        }
        body = server.to_string();
    }
    let content_type = answered.header("content-type").unwrap_or("application/json").to_owned();
    Answer {
        status: answered.status,
        headers: vec![("content-type".to_owned(), content_type)],
        body: body.into_bytes(),
        delivery: Delivery::AtOnce,
    }
}
