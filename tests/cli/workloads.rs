//! `infra token --audience` and `infra exec` in CI jobs and pods: the ID token of the platform instead of a session.

#![expect(clippy::indexing_slicing, reason = "an answer without the member fails the test")]

use infra_harness::authority::Authority;
use infra_harness::canaries::Canaries;
use infra_harness::daemon::Daemon;
use infra_harness::https::{Answer, Server};
use infra_harness::login;
use infra_harness::program::{Call, User};
use infra_harness::provider::Provider;
use infra_harness::services::{self, introspect};
use infra_harness::workloads::{github, rule, token};
use serde_json::{Value, json};

const CLAIMS: &str = "{repository_id: '74', ref: refs/heads/main}";
const RUNNER_TOKEN: &str = "canary-of-the-runner-0123456789";

/// A daemon with a rule for jobs of `issuer`, who may use the wiki.
fn daemon(people: &Provider, issuer: &Provider) -> Daemon {
    let mut daemon = services::daemon(
        people,
        &["{name: wiki, credentials: [CREDENTIAL], allow: everyone}", "{name: payroll, allow: everyone}"],
    );
    // `infra` requests tokens for the address of the daemon.
    let audience = daemon.origin();
    let rules = rule("ci", issuer, CLAIMS, "[wiki]").replace(infra_harness::workloads::AUDIENCE, &audience);
    daemon.stop();
    daemon.change(|configuration| configuration.more = format!("{}workloads:\n{rules}", configuration.more));
    daemon.start_again();
    daemon
}

fn platform_token(daemon: &Daemon, issuer: &Provider) -> String {
    let mut claims = github(issuer);
    claims["aud"] = json!(daemon.origin());
    token(issuer, &claims)
}

/// A call in a job that knows the daemon's address and fingerprint.
fn in_job<'a>(user: &'a User, daemon: &Daemon, words: &[&str]) -> Call<'a> {
    user.infra(words.iter().copied())
        .env("INFRA_SERVER", daemon.origin())
        .env("INFRA_FINGERPRINT", daemon.fingerprint())
}

#[track_caller]
fn assert_of_job(daemon: &Daemon, audience_token: &str) {
    let active = introspect(&daemon.api(), "wiki", audience_token.trim_end()).json();
    assert_eq!(active["workload"], "ci", "{active}");
}

/// GitHub's endpoint for ID tokens of a job.
fn runner(authority: &Authority, value: String) -> Server {
    Server::start(authority.issue(), move |request| {
        let is_job = request.header("authorization") == Some(&format!("Bearer {RUNNER_TOKEN}"))
            && request.query.starts_with("api-version=2.0&audience=https%3A%2F%2F127.0.0.1%3A");
        let answer = if is_job {
            Answer::json(200, &json!({"count": value.len(), "value": value}))
        } else {
            Answer::json(401, &json!({"message": "no job"}))
        };
        async move { answer }
    })
}

#[test]
fn github_job_gets_audience_token_without_session() {
    let (people, issuer, job) = (Provider::start(), Provider::start(), User::new());
    let daemon = daemon(&people, &issuer);
    let authority = Authority::new();
    let id_token = platform_token(&daemon, &issuer);
    let runner = runner(&authority, id_token.clone());
    let url = format!("https://127.0.0.1:{}/token?api-version=2.0", runner.port());
    let call = |words: &[&str]| {
        in_job(&job, &daemon, words)
            .env("ACTIONS_ID_TOKEN_REQUEST_URL", &url)
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", RUNNER_TOKEN)
            .env("SSL_CERT_FILE", authority.file())
    };
    let ran = call(&["token", "--audience", "wiki", "-vv"]).run().expect(0);
    assert_of_job(&daemon, &ran.stdout);
    let mut canaries = Canaries::default();
    canaries.add("the runner's token", RUNNER_TOKEN);
    canaries.add("the ID token", id_token.rsplit_once('.').expect("a signature").1);
    assert_eq!(canaries.find(ran.to_string().as_bytes()), Vec::<String>::new(), "{ran}");
    assert!(!job.infra_home().join("sessions.json").exists(), "something was stored");

    // The runner gives the same token again, which the daemon refuses.
    let again = call(&["token", "--audience", "wiki"]).run().expect(6).stdout_is_empty();
    let again = again.stderr_contains(&[
        "does not issue this job a token",
        "already exchanged",
        "new ID token for each call",
    ]);
    assert_eq!(canaries.find(again.to_string().as_bytes()), Vec::<String>::new(), "{again}");

    let refused = in_job(&job, &daemon, &["token", "--audience", "wiki"])
        .env("ACTIONS_ID_TOKEN_REQUEST_URL", &url)
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "another")
        .env("SSL_CERT_FILE", authority.file());
    refused.run().expect(4).stderr_contains(&["from GitHub Actions", "status 401", "id-token: write"]);
}

#[test]
fn job_without_id_token_is_told_how_to_get_one() {
    let (people, issuer, job) = (Provider::start(), Provider::start(), User::new());
    let daemon = daemon(&people, &issuer);
    let ran = in_job(&job, &daemon, &["token", "--audience", "wiki"]).env("CI", "true").run();
    ran.expect(3).stderr_contains(&["give this job an ID token", "id_tokens"]).stdout_is_empty();
    let person = in_job(&job, &daemon, &["token", "--audience", "wiki"]).run();
    person.expect(3).stderr_contains(&["infra login"]).stdout_is_empty();
}

#[test]
fn job_passes_its_id_token_by_variable_or_file() {
    let (people, issuer, job) = (Provider::start(), Provider::start(), User::new());
    let daemon = daemon(&people, &issuer);
    let id_token = platform_token(&daemon, &issuer);
    let ran = in_job(&job, &daemon, &["token", "--audience", "wiki"]).env("INFRA_ID_TOKEN", &id_token).run();
    assert_of_job(&daemon, &ran.expect(0).stdout);

    let file = job.home().join("token");
    std::fs::write(&file, format!("{}\n", platform_token(&daemon, &issuer))).expect("a file");
    let print = ["exec", "--audience", "wiki", "--", "sh", "-c", "printf %s \"$INFRA_AUDIENCE_TOKEN\""];
    let ran = in_job(&job, &daemon, &print).env("INFRA_ID_TOKEN_FILE", &file).run().expect(0);
    assert_of_job(&daemon, &ran.stdout);

    for (words, variable, value, code, said) in [
        (
            ["token", "--audience", "payroll"],
            "INFRA_ID_TOKEN",
            platform_token(&daemon, &issuer),
            1,
            "may not use that service",
        ),
        (
            ["token", "--audience", "wiki"],
            "INFRA_ID_TOKEN",
            "a.b.c".to_owned(),
            6,
            "no workload with the issuer",
        ),
        (
            ["token", "--audience", "wiki"],
            "INFRA_ID_TOKEN",
            String::new(),
            2,
            "INFRA_ID_TOKEN is set, but empty",
        ),
        (
            ["token", "--audience", "wiki"],
            "INFRA_ID_TOKEN_FILE",
            "/nonexistent".to_owned(),
            1,
            "INFRA_ID_TOKEN_FILE",
        ),
        // Without an ID token, a job is a person who is not signed in.
        (["token", "--audience", "wiki"], "OTHER", String::new(), 3, "not signed in"),
    ] {
        let ran = in_job(&job, &daemon, &words).env(variable, &value).run().expect(code).stdout_is_empty();
        ran.stderr_contains(&[said]);
    }
}

#[test]
fn session_comes_before_id_token_of_job() {
    let (people, issuer, alice) = (Provider::start(), Provider::start(), User::new());
    let daemon = daemon(&people, &issuer);
    login::succeed(&alice, &daemon, &people);
    let id_token = platform_token(&daemon, &issuer);
    let of_person = |ran: &str| {
        let active = introspect(&daemon.api(), "wiki", ran.trim_end()).json();
        assert_eq!(
            (&active["sub"], active.get("workload")),
            (&json!("sub-alice"), None::<&Value>),
            "{active}"
        );
    };
    let ran =
        in_job(&alice, &daemon, &["token", "--audience", "wiki"]).env("INFRA_ID_TOKEN", &id_token).run();
    of_person(&ran.expect(0).stdout);
    let (session, job) = (login::token(&alice), User::new());
    let call = in_job(&job, &daemon, &["token", "--audience", "wiki"]).env("INFRA_ID_TOKEN", &id_token);
    of_person(&call.env("INFRA_TOKEN", session).run().expect(0).stdout);
    // Unused, so it still works.
    let ran = in_job(&job, &daemon, &["token", "--audience", "wiki"]).env("INFRA_ID_TOKEN", &id_token).run();
    assert_of_job(&daemon, &ran.expect(0).stdout);
}
