//! Services of a test daemon, and their requests to it.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::api::{Answered, Api};
use crate::daemon::{Daemon, ProviderEntry};
use crate::provider::Provider;

/// The credential of all test services.
pub const CREDENTIAL: &str = "canary-service-credential-0123456789";

/// Starts a daemon with these services, each a YAML section in which `CREDENTIAL` becomes a reference to
/// [`CREDENTIAL`].
pub fn daemon(provider: &Provider, services: &[&str]) -> Daemon {
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(provider)], |_| {});
    let credential = format!("'{}'", credential_in(daemon.directory()));
    let services: String = services
        .iter()
        .flat_map(|service| ["- ".to_owned(), service.replace("CREDENTIAL", &credential), "\n".to_owned()])
        .collect();
    daemon.change(|configuration| configuration.more = format!("services:\n{services}"));
    daemon.start_again();
    daemon
}

/// Writes [`CREDENTIAL`] to a file of mode 0600 in `directory`, and returns its reference.
pub fn credential_in(directory: &Path) -> String {
    let path = directory.join("service-credential");
    write_private(&path, CREDENTIAL);
    format!("file:{}", path.display())
}

/// Writes a file with mode 0600.
pub fn write_private(path: &Path, text: &str) {
    use std::io::Write;

    let beside = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .expect("a file of the test");
    file.write_all(text.as_bytes()).expect("a file of the test");
    fs::rename(&beside, path).expect("a file of the test");
}

/// Requests an audience token for `audience`.
pub fn request_token(api: &Api, session_token: &str, audience: &str) -> Answered {
    let body = json!({ "audience": audience });
    Answered::of(api.request("POST", "/v1/tokens").bearer_auth(session_token).json(&body))
}

/// Returns an audience token for `audience`.
#[track_caller]
pub fn token(api: &Api, session_token: &str, audience: &str) -> String {
    let answered = request_token(api, session_token, audience);
    assert_eq!(answered.status, 201, "{answered:?}");
    answered.json()["token"].as_str().expect("a token").to_owned()
}

/// Introspects a token as `service`.
pub fn introspect(api: &Api, service: &str, token: &str) -> Answered {
    let request = api.request("POST", "/v1/introspect").basic_auth(service, Some(CREDENTIAL));
    Answered::of(request.form(&[("token", token)]))
}

/// Validates a token as a reverse proxy in front of `service` does.
pub fn verify(api: &Api, service: &str, token: &str) -> Answered {
    api.get_as(&format!("/v1/verify/{service}"), token)
}

/// Reviews a token as the API server of `cluster` does.
pub fn review(api: &Api, cluster: &str, token: &str, audiences: &[&str]) -> Answered {
    let body = token_review(token, audiences);
    let path = format!("/v1/kubernetes/{cluster}/tokenreview");
    Answered::of(api.request("POST", &path).bearer_auth(CREDENTIAL).json(&body))
}

/// The request body of an API server.
pub fn token_review(token: &str, audiences: &[&str]) -> Value {
    json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "metadata": { "creationTimestamp": null },
        "spec": { "token": token, "audiences": audiences },
        "status": { "user": {} },
    })
}
