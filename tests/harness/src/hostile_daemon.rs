//! A daemon that the user trusts, with hostile text in every field of its responses.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use infra_shared::clock::{Clock, SystemClock};
use infra_shared::token_text::SessionToken;
use jiff::{SignedDuration, Timestamp};
use reqwest::blocking::Client;
use serde_json::{Value, json};

use crate::authority::Authority;
use crate::https::{Answer, Request, Server};
use crate::ports::Ports;
use crate::{browser, wait};

/// Time limit for `infra` to serve its last page.
const LIMIT: Duration = Duration::from_secs(30);

/// Four bytes per character at most: `infra` accepts 1024.
const MAX_CHARACTERS: usize = 256;

/// The name of its only provider.
const PROVIDER: &str = "okta";
const ISSUER: &str = "https://login.test";

/// A running hostile daemon, stopped when dropped.
pub struct HostileDaemon {
    authority: Authority,
    server: Server,
    state: Arc<Mutex<State>>,
    _ports: Ports,
}

struct State {
    words: Words,
    answers: Answers,
    token: String,
    redirect_uris: Vec<String>,
    page: Option<String>,
}

/// The next texts, used in turn, field by field.
#[derive(Debug, Clone)]
pub struct Words {
    texts: Vec<String>,
    next: usize,
}

/// How the daemon responds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Valid responses with hostile texts.
    Sessions,
    /// A problem with this code and status.
    Problems { code: &'static str, status: u16 },
}

impl Words {
    /// Starts with the text at index `first`.
    pub fn from(texts: &[String], first: usize) -> Self {
        Self { texts: texts.to_vec(), next: first }
    }

    fn take(&mut self) -> String {
        let text = self.texts[self.next % self.texts.len()].clone();
        self.next += 1;
        text
    }

    /// Takes a text with the maximum length of the API.
    fn take_short(&mut self) -> String {
        self.take().chars().take(MAX_CHARACTERS).collect()
    }

    /// A user with a different text in every field, except fields with a fixed format in `infra`.
    pub fn user(&mut self) -> Value {
        let groups: Vec<String> = (0..8).map(|_| self.take_short()).collect();
        json!({"name": self.take_short(), "email": self.take_short(), "groups": groups, "provider": PROVIDER,
               "issuer": ISSUER, "subject": "00u1"})
    }
}

impl HostileDaemon {
    pub fn start() -> Self {
        let authority = Authority::new();
        let ports = Ports::reserve(2);
        let redirect_uris = ports.all().into_iter().map(|port| format!("http://127.0.0.1:{port}/callback"));
        let state = Arc::new(Mutex::new(State {
            words: Words::from(&["x".to_owned()], 0),
            answers: Answers::Sessions,
            token: SessionToken::mint().expose().to_owned(),
            redirect_uris: redirect_uris.collect(),
            page: None,
        }));
        let (answering, pin) = (Arc::clone(&state), authority.pin().to_string());
        let server = Server::start(authority.issue(), move |request| {
            let answer = answer(&answering, &request, &pin);
            async move { answer }
        });
        Self { authority, server, state, _ports: ports }
    }

    pub fn origin(&self) -> String {
        format!("https://127.0.0.1:{}", self.server.port())
    }

    pub fn fingerprint(&self) -> String {
        self.authority.pin().to_string()
    }

    /// Sets the texts and the kind of the next responses.
    pub fn say(&self, words: Words, answers: Answers) {
        let mut state = self.state.lock().expect("nobody panics while answering");
        (state.words, state.answers) = (words, answers);
    }

    /// The last page of the latest login, as a browser received it.
    #[track_caller]
    pub fn take_page(&self) -> String {
        let take = || self.state.lock().expect("nobody panics while answering").page.take();
        wait::until(LIMIT, take).expect("the last page was fetched")
    }
}

fn answer(shared: &Arc<Mutex<State>>, request: &Request, pin: &str) -> Answer {
    let mut state = shared.lock().expect("nobody panics while answering");
    let path = (request.method.as_str(), request.path.as_str());
    if let (Answers::Problems { code, status }, ("POST", "/v1/logins/finish") | (_, "/v1/session")) =
        (state.answers, path)
    {
        return problem(&mut state.words, code, status);
    }
    let now = SystemClock.now();
    match path {
        ("GET", "/v1/server") => {
            let uris = state.redirect_uris.clone();
            let provider = json!({"name": PROVIDER, "kind": "okta", "issuer": ISSUER,
                                  "redirectURIs": uris});
            let version = state.words.take_short();
            Answer::json(
                200,
                &json!({"version": version, "now": now, "providers": [provider], "pins": [pin]}),
            )
        }
        ("POST", "/v1/logins") => start(shared, &request.body, now),
        ("POST", "/v1/logins/finish") => {
            let body = json!({"token": state.token, "session": session(&state.token, now),
                              "user": state.words.user(), "now": now});
            Answer::json(201, &body)
        }
        ("GET", "/v1/session") => {
            let body = json!({"session": session(&state.token, now), "user": state.words.user(), "now": now});
            Answer::json(200, &body)
        }
        _ => Answer::text(204, ""),
    }
}

/// Answers the start of a login, and plays the browser by sending the response to the listener.
fn start(shared: &Arc<Mutex<State>>, body: &[u8], now: Timestamp) -> Answer {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| request[name].as_str().unwrap_or_default().to_owned();
    let (redirect_uri, state) = (text("redirectURI"), text("state"));
    let mut url = url::Url::parse("https://login.test/authorize").expect("a URL");
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("redirect_uri", &redirect_uri)
        .append_pair("state", &state)
        .append_pair("code_challenge", &text("codeChallenge"))
        .append_pair("code_challenge_method", "S256");
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        let client = browser::client(&[]).expect("no authorities, nothing to fail");
        let page = callback(&client, &format!("{redirect_uri}?code=c&state={state}"));
        shared.lock().expect("nobody panics while answering").page = Some(page);
    });
    let expires = now.saturating_add(SignedDuration::from_mins(5)).unwrap_or(now);
    Answer::json(200, &json!({"ticket": "t", "authorizationURL": url.as_str(), "expiresAt": expires}))
}

/// The body of the last page after the callback.
fn callback(client: &Client, url: &str) -> String {
    let get = |url: &str| client.get(url).timeout(LIMIT).send();
    let last = get(url).and_then(|answer| {
        let path = answer.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or("/");
        let next = answer.url().join(path).expect("a path of the listener");
        get(next.as_str())?.text()
    });
    last.unwrap_or_else(|error| format!("no page: {error:?}"))
}

fn session(token: &str, now: Timestamp) -> Value {
    let id = token.get("infra_".len().."infra_".len() + 10).unwrap_or_default();
    let later = |hours| now.saturating_add(SignedDuration::from_hours(hours)).unwrap_or(now);
    json!({"id": id, "createdAt": now, "expiresAt": later(12), "idleExpiresAt": later(4)})
}

fn problem(words: &mut Words, code: &str, status: u16) -> Answer {
    let body = json!({"type": words.take(), "title": words.take(), "detail": words.take(), "status": status,
                      "code": code, "requestID": words.take()});
    let mut answer = Answer::json(status, &body);
    // No client accepts control characters in a header.
    let visible = |character: &char| !character.is_ascii_control();
    let retry_after: String = words.take().chars().filter(visible).take(1000).collect();
    answer.set_header("retry-after", &retry_after);
    answer.set_header("content-type", "application/problem+json");
    answer
}
