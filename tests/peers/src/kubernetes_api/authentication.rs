//! Token authentication: asks the webhook, and caches answers as long as `kube-apiserver` does.

use std::collections::HashMap;
use std::time::Duration;

use reqwest::blocking::{Client, Response};
use serde_json::{Value, json};

use super::kubectl::Webhook;
use super::{ACCEPTED, Flags, Kubectl, User};
use infra_harness::browser;

const API_VERSION: &str = "authentication.k8s.io/v1";

pub(super) struct Authenticator {
    flags: Flags,
    webhook: Webhook,
    client: Client,
    /// A clock that stands still until a test advances it.
    now: Duration,
    /// The cache of the whole authenticator, for accepted tokens only.
    accepted: HashMap<String, CacheEntry<User>>,
    /// The cache of the webhook, for accepted and rejected tokens; failures are not cached.
    answers: HashMap<String, CacheEntry<Option<User>>>,
    pub(super) reviews: usize,
    /// The log of failed reviews.
    pub(super) log: Vec<String>,
}

struct CacheEntry<T> {
    answer: T,
    until: Duration,
}

impl Authenticator {
    pub(super) fn new(kubectl: &Kubectl, flags: Flags) -> Self {
        // The client sends its timeout in the query, which the daemon has to accept.
        let mut webhook = kubectl.read_kubeconfig(&flags.webhook);
        webhook.server.set_query(Some("timeout=30s"));
        let client =
            browser::client(&[webhook.authority.clone()]).expect("an authority in the webhook's file");
        Self {
            flags,
            webhook,
            client,
            now: Duration::ZERO,
            accepted: HashMap::new(),
            answers: HashMap::new(),
            reviews: 0,
            log: Vec::new(),
        }
    }

    pub(super) fn advance_clock(&mut self, time: Duration) {
        self.now += time;
    }

    /// Serialized, so that concurrent requests with one token share the answer.
    pub(super) fn authenticate(&mut self, token: &str) -> Option<User> {
        if let Some(user) = cached(&self.accepted, token, self.now) {
            return Some(user);
        }
        let user = self.ask_webhook(token)?;
        let until = self.now + ACCEPTED;
        self.accepted.insert(token.to_owned(), CacheEntry { answer: user.clone(), until });
        Some(user)
    }

    fn ask_webhook(&mut self, token: &str) -> Option<User> {
        if let Some(answer) = cached(&self.answers, token, self.now) {
            return answer;
        }
        match self.review(token) {
            Ok(answer) => {
                let until = self.now + self.flags.cache_ttl;
                self.answers.insert(token.to_owned(), CacheEntry { answer: answer.clone(), until });
                answer
            }
            Err(reason) => {
                self.log.push(format!("Unable to authenticate the request: {reason}"));
                None
            }
        }
    }

    /// Sends a review to the daemon. Both a `status.error` and a missing response are failures.
    fn review(&mut self, token: &str) -> Result<Option<User>, String> {
        self.reviews += 1;
        let audiences = &self.flags.audiences;
        let review = json!({
            "kind": "TokenReview",
            "apiVersion": API_VERSION,
            "metadata": {},
            "spec": { "token": token, "audiences": audiences },
            "status": { "user": {} },
        });
        let Webhook { server, token: credential, .. } = &self.webhook;
        let request = self.client.post(server.clone()).bearer_auth(credential).json(&review);
        let request = request.header("accept", "application/json, */*");
        let response = request.send().and_then(Response::error_for_status);
        let answered: Value = response.and_then(Response::json).map_err(|error| format!("{error:?}"))?;
        if answered["kind"] != "TokenReview" || answered["apiVersion"] != API_VERSION {
            return Err(format!("no TokenReview: {answered}"));
        }
        let status = &answered["status"];
        if let Some(error) = status["error"].as_str().filter(|error| !error.is_empty()) {
            return Err(error.to_owned());
        }
        // A response without audiences means the audiences of the API server.
        let named = texts(&status["audiences"]);
        let is_for_us = named.is_empty() || named.iter().any(|audience| audiences.contains(audience));
        if status["authenticated"] != true || !is_for_us {
            return Ok(None);
        }
        let user = &status["user"];
        let text = |name: &str| user[name].as_str().unwrap_or_default().to_owned();
        Ok(Some(User {
            name: text("username"),
            uid: text("uid"),
            groups: texts(&user["groups"]),
            extra: user["extra"].clone(),
        }))
    }
}

fn cached<T: Clone>(answers: &HashMap<String, CacheEntry<T>>, token: &str, now: Duration) -> Option<T> {
    answers.get(token).filter(|cached| now < cached.until).map(|cached| cached.answer.clone())
}

pub(super) fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}
