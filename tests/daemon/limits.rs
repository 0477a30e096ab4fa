//! What one address may ask of a daemon, and what becomes of it that asks more.

use std::io::{Read, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use infra_harness::api::{Api, connect};
use infra_harness::daemon::Daemon;
use infra_harness::login::{self, Started};
use infra_harness::program::User;
use infra_harness::provider::Provider;
use infra_harness::services::{self, CREDENTIAL, credential_in};
use infra_shared::api::ProblemCode;
use serde_json::{Value, json};

fn start(api: &Api) -> infra_harness::api::Answered {
    let body = json!({
        "provider": "okta",
        "redirectURI": "http://127.0.0.1:1/callback",
        "state": "s".repeat(43),
        "codeChallenge": "c".repeat(43),
    });
    api.post("/v1/logins", &body)
}

#[test]
fn one_address_starts_so_many_logins_and_infra_says_how_long_to_wait() {
    let (provider, alice) = (Provider::start(), User::new());
    let audit = tempfile::tempdir().expect("a directory");
    let log = audit.path().join("audit.jsonl");
    let daemon = Daemon::start_with(&provider, |configuration| {
        configuration.more =
            format!("limits: {{loginStartsPerMinute: 3}}\naudit: {{file: {}}}\n", log.display());
    });
    let token = login::over_http(&daemon, &provider);
    let api = daemon.api();
    for _ in 0..2 {
        assert_eq!(start(&api).status, 400, "it counts, whatever is wrong with it");
    }
    for _ in 0..5 {
        let refused = start(&api);
        assert_eq!(refused.problem().code, ProblemCode::TooManyRequests);
        let wait: u64 = refused.header("retry-after").expect("when again").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{wait}");
    }
    let refused = login::call(&alice, &daemon).run().expect(4);
    assert!(refused.stderr.contains("too many logins were tried from your address"), "{}", refused.stderr);
    assert!(refused.stderr.contains(" s"), "how long to wait is not told: {}", refused.stderr);
    assert_eq!(api.get_as("/v1/session", &token).status, 200, "validation has no part in it");

    // In the audit log they are counted, not told one by one.
    let mut daemon = daemon;
    daemon.stop();
    let lines = std::fs::read_to_string(&log).expect("the audit log");
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |name: &str| events.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    assert_eq!(of("login_refused").len(), 2, "{lines}");
    let counted: u64 = of("logins_counted").iter().filter_map(|event| event["startTooOften"].as_u64()).sum();
    assert!(counted >= 6, "{lines}");
}

#[test]
fn logins_that_fail_count_and_those_that_succeed_do_not() {
    let provider = Provider::start();
    let daemon = Daemon::start_with(&provider, |configuration| {
        configuration.more = "limits: {failedLoginsPerMinute: 2}\n".to_owned();
    });
    for _ in 0..5 {
        login::over_http(&daemon, &provider);
    }
    let pending = Started::at(&daemon);
    let response = pending.sign_in(&provider);
    for _ in 0..2 {
        let mut body = pending.finish_body(&response);
        body["ticket"] = "forged".into();
        assert_eq!(daemon.api().post("/v1/logins/finish", &body).problem().code, ProblemCode::LoginRefused);
    }
    let refused = pending.finish(&response);
    assert_eq!(refused.problem().code, ProblemCode::TooManyRequests);
    assert!(refused.header("retry-after").is_some());
    // Starting is another matter.
    Started::at(&daemon);
}

/// Of a service that is known its token is waited for in another place.
#[test]
fn the_token_of_a_service_that_is_known_is_there_in_time_too() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let credential = credential_in(daemon.directory());
    daemon.change(|configuration| {
        configuration.more = format!(
            "limits: {{requestBodyTime: 1s}}\n\
             services: [{{name: wiki, credentials: ['{credential}'], allow: everyone}}]\n"
        );
    });
    daemon.restart();
    let api = daemon.api();
    assert_eq!(services::introspect(&api, "wiki", "unknown").status, 200);
    let basic = BASE64_STANDARD.encode(format!("wiki:{CREDENTIAL}"));
    let head = format!(
        "POST /v1/introspect HTTP/1.1\r\nHost: a\r\nAuthorization: Basic {basic}\r\nContent-Type: \
         application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\ntok"
    );
    let origin = daemon.parsed_origin();
    let mut slow = connect(&origin, daemon.pin());
    slow.write_all(head.as_bytes()).expect("sent");
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 400");
    daemon.wait_for_log("body did not arrive in time");
}

#[test]
fn a_body_is_small_shallow_and_there_in_time() {
    let provider = Provider::start();
    let daemon = Daemon::start_with(&provider, |configuration| {
        configuration.more = "limits: {requestBodyTime: 1s, requestBodyBytes: 16384}\n".to_owned();
    });
    let api = daemon.api();
    let body = |text: String| {
        api.request("POST", "/v1/logouts").header("content-type", "application/json").body(text)
    };
    let status = |text: String| infra_harness::api::Answered::of(body(text)).status;
    assert_eq!(status("a".repeat(16_384)), 400);
    assert_eq!(status("a".repeat(16_385)), 413);
    assert_eq!(status("[".repeat(17)), 400);
    daemon.wait_for_log("JSON is nested too deeply");

    let origin = daemon.parsed_origin();
    let mut slow = connect(&origin, daemon.pin());
    slow.write_all(b"POST /v1/logouts HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
        .expect("sent");
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 400");
    daemon.wait_for_log("body did not arrive in time");
}

#[test]
fn too_few_open_files_are_told_at_start() {
    let provider = Provider::start();
    let daemon = Daemon::start_with(&provider, |configuration| {
        configuration.more = "limits: {connections: 65536}\n".to_owned();
    });
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.process())).expect("its limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line on files");
    let [soft, hard] = [3, 4].map(|column| line.split_ascii_whitespace().nth(column).expect("a limit"));
    assert_eq!(soft, hard, "the soft limit is not as high as it may be");
    let is_too_low = soft.parse().is_ok_and(|files: u64| files < 65_536);
    let log = daemon.complete_log();
    assert_eq!(log.contains("too low for `limits.connections`"), is_too_low, "{log}");
}
