//! CI jobs and pods, acted out as `docs/workloads.md` writes it: the configuration, the scripts, and what operators see.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use infra_harness::authority::Authority;
use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::documents::{Block, Page};
use infra_harness::https::{Answer, Server};
use infra_harness::peers;
use infra_harness::provider::{Endpoint, Misbehaviour, Provider};
use infra_harness::services::{credential_in, introspect, verify};
use infra_harness::workloads::{
    AUDIENCE, assert_issued, assert_refused, exchange, github, gitlab, kubernetes, rule, token,
};
use serde_json::{Value, json};

const PAGE: &str = "docs/workloads.md";
const GRAFANA: &str = "https://grafana.example.com";

/// A daemon with the services and rules of the page, for the platform that `issuer` acts.
fn daemon(issuer: &Provider, rules: &str) -> Daemon {
    // People sign in there too, as at a GitLab of one's own.
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(issuer)], |_| {});
    let credential = credential_in(daemon.directory());
    let audit = daemon.directory().join("audit.jsonl");
    daemon.change(|configuration| {
        configuration.more = format!(
            "audit: {{file: {}}}\nservices:\n- {{name: grafana, audience: '{GRAFANA}', allow: everyone, credentials: \
             ['{credential}']}}\n- {{name: wiki, allow: everyone, credentials: ['{credential}']}}\nworkloads:\n{rules}",
            audit.display()
        );
    });
    daemon.start_again();
    assert_eq!(issuer.calls(Endpoint::Discovery), 0, "the start fetches nothing");
    daemon
}

fn block(heading: &str, language: &str, first: &str) -> Block {
    let blocks = Page::read(PAGE).blocks().into_iter();
    let found = blocks
        .filter(|block| block.heading == heading && block.language == language)
        .filter(|block| block.text.starts_with(first));
    let found: Vec<Block> = found.collect();
    assert_eq!(found.len(), 1, "{PAGE}: blocks `{first}` under {heading}");
    found.into_iter().next().expect("one was counted")
}

/// Runs the page's scripts to get an ID token and to exchange it, and prints the audience token.
fn run(daemon: &Daemon, of_platform: &str, environment: &[(&str, &str)]) -> Output {
    let authority = daemon.directory().join("ca.pem");
    let printed = daemon.infrad(["ca", "print"]).wait().expect(0).stdout;
    std::fs::write(&authority, printed).expect("a file");
    let exchange = block("Exchange the token", "sh", "answer=").text;
    let exchange = exchange.replace("https://infra.example.com/", &format!("{}/", daemon.origin()));
    let script = format!("{of_platform}{exchange}printf %s \"$token\"\n");
    Command::new("bash")
        .args(["-euc", &script])
        .current_dir(daemon.directory())
        .envs(environment.iter().copied())
        .env("no_proxy", "*")
        .output()
        .expect("a shell")
}

#[track_caller]
fn succeed(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Returns whether `curl` and `jq` are here. A missing one is reported, and fails in CI.
fn has_tools() -> bool {
    ["curl", "jq"].into_iter().all(|tool| peers::find_program(tool).is_some())
}

#[test]
fn github_job_gets_token_as_documented() {
    if !has_tools() {
        return;
    }
    let issuer = Provider::start();
    let rules = rule("ci", &issuer, "{repository_id: '74', ref: refs/heads/main}", "[grafana]");
    let daemon = daemon(&issuer, &rules);
    // GitHub's endpoint for ID tokens.
    let (authority, platform) = (Authority::new(), token(&issuer, &github(&issuer)));
    let answered = platform.clone();
    let runner = Server::start(authority.issue(), move |request| {
        let is_known = request.header("authorization") == Some("Bearer runner-secret")
            && request.query.to_lowercase() == "api-version=2.0&audience=https%3a%2f%2finfra.example.com";
        let answer = if is_known {
            Answer::json(200, &json!({"count": answered.len(), "value": answered}))
        } else {
            Answer::json(401, &json!({"message": format!("{request:?}")}))
        };
        async move { answer }
    });
    let script = block("GitHub Actions", "sh", "answer=").text;
    let url = format!("https://127.0.0.1:{}/token?api-version=2.0", runner.port());
    let authorities = authority.file().display().to_string();
    let environment = [
        ("ACTIONS_ID_TOKEN_REQUEST_URL", url.as_str()),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runner-secret"),
        // Of the runner only: the daemon's own authority is in `ca.pem`.
        ("CURL_CA_BUNDLE", authorities.as_str()),
    ];
    let audience_token = succeed(&run(&daemon, &script, &environment));
    let active = introspect(&daemon.api(), "grafana", &audience_token).json();
    assert_eq!(active["sub"], "workload:ci/repo:octo-org/octo-repo:ref:refs/heads/main", "{active}");
    assert_eq!((&active["aud"], &active["workload"]), (&json!(GRAFANA), &json!("ci")), "{active}");
    assert_eq!(verify(&daemon.api(), "grafana", &audience_token).status, 200);

    // The same token again: the script ends with the daemon's reason.
    let again = run(&daemon, &script, &environment);
    assert!(!again.status.success() && again.stdout.is_empty(), "{again:?}");
    let reason = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(reason.contains("already exchanged") && reason.contains("requestID"), "{reason}");
    assert!(!reason.contains(&platform), "{reason}");

    // A pull request of a fork: the same repository in the subject's name, another ID.
    let mut fork = github(&issuer);
    fork["repository_id"] = json!("75");
    assert_refused(&exchange(&daemon.api(), &token(&issuer, &fork), "grafana"), 400, "invalid_request");
    let mut pull = github(&issuer);
    pull["ref"] = json!("refs/pull/1/merge");
    assert_refused(&exchange(&daemon.api(), &token(&issuer, &pull), "grafana"), 400, "invalid_request");
}

#[test]
fn gitlab_job_gets_token_as_documented() {
    if !has_tools() {
        return;
    }
    let issuer = Provider::start();
    let rules = rule("gitlab", &issuer, "{project_id: '20', ref: main, ref_protected: 'true'}", "[grafana]");
    let daemon = daemon(&issuer, &rules);
    let script = block("GitLab CI", "sh", "id_token=").text;
    let platform = token(&issuer, &gitlab(&issuer));
    let audience_token = succeed(&run(&daemon, &script, &[("INFRA_ID_TOKEN", &platform)]));
    let active = introspect(&daemon.api(), "grafana", &audience_token).json();
    assert_eq!(active["sub"], "workload:gitlab/project_path:my-group/my-project:ref_type:branch:ref:main");
    let life = active["exp"].as_i64().expect("a time") - active["iat"].as_i64().expect("a time");
    assert!((880..=900).contains(&life), "GitLab's token lasts an hour, this one 15 minutes: {active}");

    let mut unprotected = gitlab(&issuer);
    unprotected["ref_protected"] = json!("false");
    assert_refused(
        &exchange(&daemon.api(), &token(&issuer, &unprotected), "grafana"),
        400,
        "invalid_request",
    );
    let mut boolean = gitlab(&issuer);
    boolean["ref_protected"] = json!(true);
    assert_refused(&exchange(&daemon.api(), &token(&issuer, &boolean), "grafana"), 400, "invalid_request");
}

#[test]
fn kubernetes_account_gets_token_as_documented() {
    if !has_tools() {
        return;
    }
    let issuer = Provider::start();
    let subject = "{sub: 'system:serviceaccount:my-namespace:deployer'}";
    let daemon = daemon(&issuer, &rule("deployer", &issuer, subject, "[grafana]"));
    let mounted: PathBuf = daemon.directory().join("token");
    std::fs::write(&mounted, token(&issuer, &kubernetes(&issuer))).expect("a file");
    let script = block("Kubernetes", "sh", "id_token=").text;
    let script = script.replace("/var/run/secrets/infra/token", &mounted.display().to_string());
    let audience_token = succeed(&run(&daemon, &script, &[]));
    let active = introspect(&daemon.api(), "grafana", &audience_token).json();
    assert_eq!(active["sub"], "workload:deployer/system:serviceaccount:my-namespace:deployer", "{active}");
    // The pod's token for the API server.
    let mut of_cluster = kubernetes(&issuer);
    of_cluster["aud"] = json!(["https://kubernetes.default.svc", AUDIENCE]);
    assert_refused(&exchange(&daemon.api(), &token(&issuer, &of_cluster), "grafana"), 400, "invalid_request");
}

#[test]
fn first_rule_that_lists_the_service_counts() {
    let issuer = Provider::start();
    let mut rules = String::new();
    for (name, claims, services) in [
        ("other", "{repository_id: '1'}", "[grafana, wiki]"),
        ("main", "{repository_id: '74', ref: refs/heads/main}", "[grafana]"),
        ("all", "{repository_owner_id: '65'}", "[grafana, wiki]"),
    ] {
        let _ = write!(rules, "{}", rule(name, &issuer, claims, services));
    }
    let daemon = daemon(&issuer, &rules);
    for (service, expected) in [("grafana", "main"), ("wiki", "all")] {
        let audience_token =
            assert_issued(&exchange(&daemon.api(), &token(&issuer, &github(&issuer)), service));
        assert_eq!(
            introspect(&daemon.api(), service, &audience_token).json()["workload"],
            expected,
            "{service}"
        );
    }
}

#[test]
fn exchanges_are_audited_and_counted() {
    let issuer = Provider::start();
    let rules = rule("ci", &issuer, "{repository_id: '74'}", "[grafana]");
    let mut daemon = daemon(&issuer, &rules);
    let metrics = infra_harness::ports::Ports::reserve(1);
    let port = *metrics.all().first().expect("a port");
    daemon.stop();
    daemon.change(|configuration| {
        let _ = writeln!(configuration.more, "metrics: {{listen: '127.0.0.1:{port}'}}");
    });
    daemon.start_again();
    let platform = token(&issuer, &github(&issuer));
    let audience_token = assert_issued(&exchange(&daemon.api(), &platform, "grafana"));
    assert_refused(&exchange(&daemon.api(), &platform, "grafana"), 400, "invalid_request");
    let audit = std::fs::read_to_string(daemon.directory().join("audit.jsonl")).expect("an audit log");
    let of = |name: &str| {
        let lines = audit.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines.filter(|line| line["event"] == name).collect::<Vec<_>>()
    };
    let [line] = &of("workload_token_issued")[..] else { panic!("one line: {audit}") };
    assert_eq!((&line["workload"], &line["audience"]), (&json!("ci"), &json!(GRAFANA)));
    assert_eq!(line["subject"], "workload:ci/repo:octo-org/octo-repo:ref:refs/heads/main");
    let sid = introspect(&daemon.api(), "grafana", &audience_token).json()["sid"].clone();
    assert_eq!((&line["issuer"], &line["session"]), (&json!(issuer.issuer()), &sid));
    let [line] = &of("workload_token_rejected")[..] else { panic!("one line: {audit}") };
    assert_eq!((&line["workload"], &line["reason"]), (&json!("ci"), &json!("token_used")));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the metrics are served");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let request = format!("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    let mut scraped = String::new();
    stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut scraped)).expect("metrics");
    for line in [
        "infrad_workload_tokens_total{workload=\"ci\",outcome=\"issued\"} 1",
        "infrad_workload_tokens_total{workload=\"ci\",outcome=\"token_used\"} 1",
        "infrad_workload_tokens_total{workload=\"\",outcome=\"unknown_issuer\"} 0",
    ] {
        assert!(scraped.contains(line), "{line}\n{scraped}");
    }
}

#[test]
fn check_explains_rules_that_never_match() {
    let (issuer, away) = (Provider::start(), Provider::start());
    issuer.misbehave(Misbehaviour::default().json(Endpoint::Discovery, |metadata| {
        metadata["claims_supported"] = json!(["sub", "aud", "repository_id", "ref"]);
    }));
    away.misbehave(Misbehaviour::default().out_of_order(Endpoint::Discovery, 404));
    let mut rules = rule("good", &issuer, "{repository_id: '74'}", "[grafana]");
    rules.push_str(&rule("typo", &issuer, "{repositry_id: '74'}", "[grafana]"));
    rules.push_str(&rule("away", &away, "{sub: a}", "[wiki]"));
    rules.push_str(&rule("deaf", &issuer, "{sub: a}", "[wiki]").replace(&format!("['{AUDIENCE}']"), "[]"));
    let daemon = daemon(&issuer, &rules);
    let offline = daemon.infrad(["check"]).wait().expect(1);
    assert!(offline.stdout.contains("failed   workload deaf: rule"), "{offline}");
    assert!(offline.stdout.contains("`audiences` is empty, so the rule accepts no token"), "{offline}");
    assert!(offline.stdout.contains("workload good: issuer https://127.0.0.1:"), "{offline}");
    let live = daemon.infrad(["check", "--live"]).wait().expect(1);
    for part in [
        "ok       workload good: issuer https://127.0.0.1:",
        "ok       workload good: signing keys",
        "unknown  workload typo: claims",
        "`repositry_id` (did you mean `repository_id`?)",
        "failed   workload away: issuer",
        "status 404",
    ] {
        assert!(live.stdout.contains(part), "{part}\n{live}");
    }
}

#[test]
fn failures_of_an_address_are_limited() {
    let issuer = Provider::start();
    let mut daemon = daemon(&issuer, &rule("ci", &issuer, "{repository_id: '74'}", "[grafana]"));
    daemon.stop();
    daemon.change(|configuration| configuration.more.push_str("limits: {failedLoginsPerMinute: 8}\n"));
    daemon.start_again();
    let mut other = github(&issuer);
    other["repository_id"] = json!("75");
    // Each connection may use a quarter of the address's failures.
    let api = daemon.api();
    let refused: Vec<u16> =
        (0..6).map(|_| exchange(&api, &token(&issuer, &other), "grafana").status).collect();
    assert!(refused.starts_with(&[400]) && refused.ends_with(&[429]), "{refused:?}");
    let limited = exchange(&api, &token(&issuer, &other), "grafana");
    assert_refused(&limited, 429, "temporarily_unavailable");
    assert!(limited.header("retry-after").is_some(), "{limited:?}");
    // Another job behind the same address goes on.
    let honest = exchange(&daemon.api(), &token(&issuer, &github(&issuer)), "grafana");
    assert_issued(&honest);
}
