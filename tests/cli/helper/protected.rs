//! A git server and registry that answers only requests with an audience token, and records every `Authorization`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use infra_harness::authority::Authority;
use infra_harness::https::{Answer, Request, Server};

pub(super) struct Protected {
    server: Server,
    authority: Arc<Authority>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Protected {
    /// Serves a repository and a registry, and asks for these schemes.
    pub(super) fn start(challenges: &[&str]) -> Self {
        Self::serving(challenges, Arc::new(Authority::new()), page)
    }

    /// Sends authorized requests on to another server with the same authority.
    pub(super) fn redirecting(challenges: &[&str], to: &Self) -> Self {
        let url = to.url("");
        Self::serving(challenges, Arc::clone(&to.authority), move |request| {
            Answer::redirect(&format!("{url}{}?{}", request.path, request.query))
        })
    }

    fn serving(
        challenges: &[&str],
        authority: Arc<Authority>,
        page: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let challenges: Vec<String> = challenges.iter().copied().map(str::to_owned).collect();
        let record = Arc::clone(&seen);
        let server = Server::start(authority.issue(), move |request| {
            let sent = request.header("authorization");
            if let Some(sent) = sent {
                record.lock().unwrap_or_else(PoisonError::into_inner).push(sent.to_owned());
            }
            let answer = if sent.is_some_and(|sent| token_in(sent).1.starts_with("infra_aud_")) {
                page(&request)
            } else {
                let mut answer = Answer::text(401, "who are you?\n");
                let headers = challenges.iter().map(|it| ("www-authenticate".to_owned(), it.clone()));
                answer.headers.extend(headers);
                answer
            };
            async move { answer }
        });
        Self { server, authority, seen }
    }

    /// `127.0.0.1:PORT`.
    pub(super) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.server.port())
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.host())
    }

    /// The file with its authority.
    pub(super) fn authority(&self) -> PathBuf {
        self.authority.file()
    }

    /// The values of `Authorization`, in order.
    pub(super) fn authorizations(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A repository by the simple protocol of git, and the tags of an image.
fn page(request: &Request) -> Answer {
    let json = |value| Answer::json(200, &value);
    match request.path.as_str() {
        "/x.git/info/refs" => Answer::text(200, &format!("{}\trefs/heads/main\n", "1".repeat(40))),
        "/x.git/HEAD" => Answer::text(200, "ref: refs/heads/main\n"),
        "/v2/" => json(serde_json::json!({})),
        "/v2/app/tags/list" => json(serde_json::json!({"name": "app", "tags": ["1.0"]})),
        _ => Answer::text(404, "not found\n"),
    }
}

/// The user name of a Basic `Authorization`, and the token of any.
pub(super) fn token_in(authorization: &str) -> (Option<String>, String) {
    match authorization.split_once(' ') {
        Some(("Basic", encoded)) => {
            let decoded = STANDARD.decode(encoded).expect("Base64");
            let decoded = String::from_utf8(decoded).expect("text");
            let (user, token) = decoded.split_once(':').expect("a colon");
            (Some(user.to_owned()), token.to_owned())
        }
        Some((_, token)) => (None, token.to_owned()),
        None => (None, String::new()),
    }
}
