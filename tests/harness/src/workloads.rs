//! Platforms that issue tokens to workloads: GitHub Actions, GitLab CI and Kubernetes, with the claims of their documentation.

use infra_shared::clock::{Clock, SystemClock};
use infra_shared::random;
use serde_json::{Value, json};

use crate::api::{Answered, Api};
use crate::provider::Provider;

/// The audience of every test token.
pub const AUDIENCE: &str = "https://infra.example.com";
pub const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// The claims of a job on the branch `main`, as GitHub documents them.
pub fn github(provider: &Provider) -> Value {
    with_times(
        provider,
        json!({
            "sub": "repo:octo-org/octo-repo:ref:refs/heads/main",
            "ref": "refs/heads/main", "sha": "example-sha", "repository": "octo-org/octo-repo",
            "repository_owner": "octo-org", "actor_id": "12", "repository_visibility": "private",
            "repository_id": "74", "repository_owner_id": "65", "run_id": "example-run-id", "run_number": "10",
            "run_attempt": "2", "runner_environment": "github-hosted", "actor": "octocat",
            "workflow": "example-workflow", "head_ref": "", "base_ref": "", "event_name": "workflow_dispatch",
            "ref_type": "branch",
            "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
        }),
        300,
    )
}

/// The claims of a job on the branch `main`, as GitLab documents them.
pub fn gitlab(provider: &Provider) -> Value {
    with_times(
        provider,
        json!({
            "sub": "project_path:my-group/my-project:ref_type:branch:ref:main",
            "namespace_id": "72", "namespace_path": "my-group", "project_id": "20",
            "project_path": "my-group/my-project", "user_id": "1", "user_login": "sample-user",
            "user_email": "sample-user@example.com", "pipeline_id": "574", "pipeline_source": "push", "job_id": "302",
            "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main", "ref_protected": "true",
            "runner_id": 1, "runner_environment": "self-hosted",
            "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc", "project_visibility": "private",
        }),
        3600,
    )
}

/// The claims of a projected token of the account `deployer`, as Kubernetes documents them.
pub fn kubernetes(provider: &Provider) -> Value {
    let claims = json!({
        "sub": "system:serviceaccount:my-namespace:deployer",
        "kubernetes.io": {
            "namespace": "my-namespace",
            "pod": {"name": "my-pod", "uid": "5b8f8f1c-3c0f-4a51-9d1d-0b9c6b1f0a11"},
            "serviceaccount": {"name": "deployer", "uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"},
        },
    });
    let mut claims = with_times(provider, claims, 600);
    claims["aud"] = json!([AUDIENCE]);
    claims
}

fn with_times(provider: &Provider, mut claims: Value, lifetime: i64) -> Value {
    let now = SystemClock.now().as_second();
    for (name, value) in [
        ("iss", json!(provider.issuer())),
        ("aud", json!(AUDIENCE)),
        ("jti", json!(random::alphanumeric(24))),
        ("iat", json!(now)),
        ("nbf", json!(now - 5)),
        ("exp", json!(now + lifetime)),
    ] {
        claims[name] = value;
    }
    claims
}

/// Returns the token of a workload with these claims.
pub fn token(provider: &Provider, claims: &Value) -> String {
    provider.sign(claims, |_| {}, |_| {})
}

/// Exchanges a workload's token for a token for `audience`.
pub fn exchange(api: &Api, token: &str, audience: &str) -> Answered {
    exchange_form(
        api,
        &[
            ("grant_type", GRANT_TYPE),
            ("subject_token", token),
            ("subject_token_type", ID_TOKEN),
            ("audience", audience),
        ],
    )
}

pub fn exchange_form(api: &Api, form: &[(&str, &str)]) -> Answered {
    Answered::of(api.request("POST", "/v1/tokens").form(form))
}

/// Asserts that the answer is an error of RFC 6749 §5.2 with this code, and returns its description.
#[track_caller]
pub fn assert_refused(answered: &Answered, status: u16, code: &str) -> String {
    assert_eq!(answered.status, status, "{answered:?}");
    assert_eq!(answered.header("cache-control"), Some("no-store"), "{answered:?}");
    assert_eq!(answered.header("content-type"), Some("application/json"), "{answered:?}");
    let body = answered.json();
    assert_eq!(body.get("error"), Some(&json!(code)), "{answered:?}");
    assert!(body.get("requestID").and_then(Value::as_str).is_some_and(|id| !id.is_empty()), "{answered:?}");
    assert!(body.get("access_token").is_none(), "{answered:?}");
    body.get("error_description").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Asserts that the exchange succeeded (RFC 8693 §2.2.1), and returns the token.
#[track_caller]
pub fn assert_issued(answered: &Answered) -> String {
    assert_eq!(answered.status, 200, "{answered:?}");
    assert_eq!(answered.header("cache-control"), Some("no-store"), "{answered:?}");
    let body = answered.json();
    assert_eq!(body.get("token_type"), Some(&json!("Bearer")), "{answered:?}");
    let kind = "urn:ietf:params:oauth:token-type:access_token";
    assert_eq!(body.get("issued_token_type"), Some(&json!(kind)), "{answered:?}");
    body.get("access_token").and_then(Value::as_str).expect("a token").to_owned()
}

/// A section `workloads` entry that trusts `provider`, with these claims and services.
pub fn rule(name: &str, provider: &Provider, claims: &str, services: &str) -> String {
    format!(
        "- {{name: {name}, issuer: '{}', audiences: ['{AUDIENCE}'], claims: {claims}, services: {services}, caFile: '{}'}}\n",
        provider.issuer(),
        provider.authority_file().display()
    )
}
