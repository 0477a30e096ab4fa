//! A fake Kubernetes API server: Secrets over HTTPS for one account, with RBAC.
//!
//! The same tests can run against a real server at a given address.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::authority::Authority;
use crate::https::{Answer, Delivery, Request, Server};

/// The namespace with the Secrets that the account may read.
pub const NAMESPACE: &str = "infra";

/// An API server and the files of an account.
pub struct Kubernetes {
    state: Arc<State>,
    server: Server,
    authority: Authority,
    directory: TempDir,
}

#[derive(Default)]
struct State {
    /// The token of the account.
    token: Mutex<String>,
    /// Encoded data by object.
    secrets: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    /// A response for every request, instead of the honest one.
    misbehaviour: Mutex<Option<Answer>>,
    requests: Mutex<usize>,
}

impl Kubernetes {
    pub fn start() -> Self {
        let state = Arc::new(State::default());
        let authority = Authority::new();
        let shared = Arc::clone(&state);
        let server = Server::start(authority.issue(), move |request| {
            let answer = shared.answer(&request);
            async move { answer }
        });
        let directory = TempDir::with_prefix("infra-kubernetes-").expect("a temporary directory");
        let kubernetes = Self { state, server, authority, directory };
        kubernetes.rotate_token();
        kubernetes
    }

    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.server.port())
    }

    pub fn authority_file(&self) -> PathBuf {
        self.authority.file()
    }

    /// The token file as the kubelet mounts it: a symbolic link, readable by other users.
    pub fn token_file(&self) -> PathBuf {
        self.directory.path().join("token")
    }

    /// Replaces the account's token as the kubelet does, by replacing the target of the link.
    pub fn rotate_token(&self) {
        let token = infra_shared::random::alphanumeric(40);
        let version = self.directory.path().join(format!("..{token}"));
        std::fs::create_dir(&version).expect("a directory");
        std::fs::write(version.join("token"), &token).expect("a token");
        let fresh = self.directory.path().join("fresh");
        std::os::unix::fs::symlink(&version, &fresh).expect("a link");
        std::fs::rename(&fresh, self.directory.path().join("..data")).expect("the link is replaced");
        if !self.token_file().exists() {
            std::os::unix::fs::symlink(Path::new("..data/token"), self.token_file()).expect("a link");
        }
        *lock(&self.state.token) = token;
    }

    /// Stores a key of a Secret in [`NAMESPACE`].
    pub fn put(&self, object: &str, key: &str, value: impl AsRef<[u8]>) {
        self.put_encoded(object, key, &BASE64_STANDARD.encode(value));
    }

    /// Like [`Self::put`], with a raw value instead of Base64.
    pub fn put_encoded(&self, object: &str, key: &str, value: &str) {
        let mut secrets = lock(&self.state.secrets);
        secrets.entry(object.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
    }

    /// Answers every request like this, or honestly again with `None`.
    pub fn misbehave(&self, answer: Option<Answer>) {
        *lock(&self.state.misbehaviour) = answer;
    }

    /// The number of requests.
    pub fn requests(&self) -> usize {
        *lock(&self.state.requests)
    }
}

impl State {
    fn answer(&self, request: &Request) -> Answer {
        *lock(&self.requests) += 1;
        if let Some(answer) = lock(&self.misbehaviour).clone() {
            return answer;
        }
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        if token != Some(lock(&self.token).as_str()) {
            return status(401, "Unauthorized");
        }
        let segments: Vec<&str> = request.path.split('/').collect();
        match segments.as_slice() {
            ["", "api", "v1", "namespaces", namespace, "secrets", object] if request.method == "GET" => {
                // RBAC comes before existence. The account's Role excludes one object of the namespace.
                if *namespace != NAMESPACE || *object == "forbidden" {
                    return status(403, "Forbidden");
                }
                match lock(&self.secrets).get(*object) {
                    Some(data) => Answer::json(
                        200,
                        &json!({
                            "kind": "Secret", "apiVersion": "v1", "type": "Opaque",
                            "metadata": {"name": object, "namespace": namespace}, "data": data,
                        }),
                    ),
                    None => status(404, "NotFound"),
                }
            }
            _ => status(403, "Forbidden"),
        }
    }
}

/// An API server's error response.
fn status(code: u16, reason: &str) -> Answer {
    let body: Value = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "code": code,
    });
    Answer { delivery: Delivery::AtOnce, ..Answer::json(code, &body) }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
