//! A fake API server that validates tokens with the daemon's webhook, with RBAC: configured as in
//! `docs/kubernetes.md`, and caching answers as `kube-apiserver` does.
//!
//! No package provides a real one.

mod authentication;
mod authorization;
pub mod cluster;
pub mod documentation;
mod kubectl;
mod resources;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use authentication::Authenticator;
use authorization::{Action, Binding};
use infra_harness::authority::Authority;
use infra_harness::https::{Answer, Request, Server};

pub use kubectl::Kubectl;

/// How long `kube-apiserver` caches an accepted token, regardless of its flags.
pub const ACCEPTED: Duration = Duration::from_secs(10);

/// The flags of `kube-apiserver`.
#[derive(Debug, Clone)]
pub struct Flags {
    /// `--authentication-token-webhook-config-file`
    pub webhook: PathBuf,
    /// `--authentication-token-webhook-cache-ttl`, for both accepted and rejected tokens.
    pub cache_ttl: Duration,
    /// `--api-audiences`
    pub audiences: Vec<String>,
}

/// A running API server, stopped when dropped.
pub struct KubernetesApi {
    state: Arc<State>,
    server: Server,
    authority: Authority,
}

struct State {
    kubectl: Kubectl,
    authenticator: Mutex<Authenticator>,
    bindings: Mutex<Vec<Binding>>,
    /// Requests: `METHOD PATH`, and the user if authenticated.
    requests: Mutex<Vec<(String, Option<User>)>>,
}

/// A user, as the authenticator knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: Value,
}

impl KubernetesApi {
    pub fn start(kubectl: &Kubectl, flags: Flags) -> Self {
        let state = Arc::new(State {
            kubectl: kubectl.clone(),
            authenticator: Mutex::new(Authenticator::new(kubectl, flags)),
            bindings: Mutex::default(),
            requests: Mutex::default(),
        });
        let authority = Authority::new();
        let requests = Arc::clone(&state);
        let server = Server::start(authority.issue(), move |request| {
            let state = Arc::clone(&requests);
            async move {
                let answered = tokio::task::spawn_blocking(move || state.answer(&request)).await;
                answered.unwrap_or_else(|_| resources::status(500, "InternalError", "the stand-in failed"))
            }
        });
        Self { state, server, authority }
    }

    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.server.port())
    }

    pub fn authority_file(&self) -> PathBuf {
        self.authority.file()
    }

    /// Creates a `RoleBinding` from a YAML manifest.
    pub fn apply(&self, manifest: &str) {
        let manifest = self.state.kubectl.read_manifest(manifest);
        lock(&self.state.bindings).push(Binding::of(&manifest));
    }

    /// Advances its clock, which otherwise stands still.
    pub fn advance_clock(&self, time: Duration) {
        lock(&self.state.authenticator).advance_clock(time);
    }

    /// The number of reviews sent to the daemon.
    pub fn reviews(&self) -> usize {
        lock(&self.state.authenticator).reviews
    }

    /// The log of failed reviews.
    pub fn log(&self) -> String {
        lock(&self.state.authenticator).log.join("\n")
    }

    /// Takes the requests since the last call: `METHOD PATH`, and the user if known.
    pub fn take_requests(&self) -> Vec<(String, Option<User>)> {
        std::mem::take(&mut *lock(&self.state.requests))
    }
}

impl State {
    fn answer(&self, request: &Request) -> Answer {
        let user = self.authenticate(request);
        let line = format!("{} {}", request.method, request.path);
        lock(&self.requests).push((line, user.clone()));
        let Some(user) = user else { return resources::status(401, "Unauthorized", "Unauthorized") };
        let action = Action::of(request);
        let bindings = lock(&self.bindings);
        if !authorization::allows(&bindings, &user, &action) {
            return resources::status(403, "Forbidden", &action.refusal(&user));
        }
        resources::answer(request, &action, &user)
    }

    /// Returns `None` if the token is invalid: an invalid token never makes a request anonymous.
    fn authenticate(&self, request: &Request) -> Option<User> {
        let token = request.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
        let Some(token) = token else {
            return Some(User {
                name: "system:anonymous".to_owned(),
                uid: String::new(),
                groups: vec!["system:unauthenticated".to_owned()],
                extra: Value::Null,
            });
        };
        let mut user = lock(&self.authenticator).authenticate(token)?;
        user.groups.push(authorization::AUTHENTICATED.to_owned());
        Some(user)
    }
}

/// Writes `text` to a file of `directory` with mode 0600.
pub fn private_file(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    infra_harness::services::write_private(&path, text);
    path
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
