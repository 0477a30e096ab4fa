//! Limits per client address, and what happens to clients that exceed them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use infra_harness::api::{Answered, Api, connect};
use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::login::{self, Started};
use infra_harness::peers;
use infra_harness::pending_login::PendingLogin;
use infra_harness::ports::Ports;
use infra_harness::program::User;
use infra_harness::provider::{Endpoint, Provider};
use infra_harness::services::{self, CREDENTIAL, credential_in};
use infra_shared::api::ProblemCode;
use serde_json::{Value, json};

fn start_with_redirect(api: &Api, redirect_uri: &str) -> Answered {
    let body = json!({
        "provider": "okta",
        "redirectURI": redirect_uri,
        "state": "s".repeat(43),
        "codeChallenge": "c".repeat(43),
    });
    api.post("/v1/logins", &body)
}

fn start(daemon: &Daemon, api: &Api) -> Answered {
    let port = *daemon.redirect_ports().first().expect("a port for redirects");
    start_with_redirect(api, &format!("http://127.0.0.1:{port}/callback"))
}

#[test]
fn login_starts_are_limited_per_connection() {
    let (provider, alice) = (Provider::start(), User::new());
    let audit = tempfile::tempdir().expect("a directory");
    let log = audit.path().join("audit.jsonl");
    let mut daemon = Daemon::start_with(&provider, |configuration| {
        configuration.more =
            format!("limits: {{loginStartsPerMinute: 3}}\naudit: {{file: {}}}\n", log.display());
    });
    let begun = Instant::now();
    let token = login::over_http(&daemon, &provider);
    let api = daemon.api();
    for _ in 0..20 {
        assert_eq!(
            start_with_redirect(&api, "http://127.0.0.1:1/callback").status,
            400,
            "what is refused does not count"
        );
    }
    let (mut started, mut refusals) = (0, Vec::new());
    while refusals.len() < 5 {
        let answered = start(&daemon, &api);
        if answered.status == 200 { started += 1 } else { refusals.push(answered) }
    }
    // Two more for the address, and three for the connection. Both get one more every 20 seconds.
    let later = 2 * begun.elapsed().as_secs() / 20;
    assert!((5..=5 + later).contains(&started), "{started} started in {:?}", begun.elapsed());
    for refused in refusals {
        assert_eq!(refused.problem().code, ProblemCode::TooManyRequests);
        let wait: u64 = refused.header("retry-after").expect("when again").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{wait}");
    }
    assert_eq!(api.get_as("/v1/session", &token).status, 200, "validation has no part in it");
    login::succeed(&alice, &daemon, &provider);

    // The audit log aggregates them instead of writing one event each.
    daemon.stop();
    let lines = std::fs::read_to_string(&log).expect("the audit log");
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |name: &str| events.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    assert_eq!(of("login_rejected").len(), 20, "{lines}");
    let counted: u64 =
        of("logins_suppressed").iter().filter_map(|event| event["startRateLimited"].as_u64()).sum();
    assert!(counted >= 5, "{lines}");
}

#[test]
fn refused_requests_do_not_use_up_login_limits() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start_with(&provider, |configuration| {
        configuration.more = "limits: {loginStartsPerMinute: 2, failedLoginsPerMinute: 2}\n".to_owned();
    });
    let api = daemon.api();
    let (first, second) = (Started::at(&daemon), Started::at(&daemon));
    let response = first.sign_in(&provider);
    let good = first.finish_body(&response);
    let with = |name: &str, value: &str| {
        let mut body = good.clone();
        body[name] = value.into();
        body
    };
    let page = |path: &str, body: &Value| {
        Answered::of(api.request("POST", path).header("origin", "https://page.test").json(body))
    };
    for _ in 0..50 {
        assert_eq!(page("/v1/logins", &json!({})).status, 400);
        assert_eq!(page("/v1/logins/finish", &good).status, 400);
        assert_eq!(api.post("/v1/logins", &json!({"provider": "okta"})).status, 400);
        assert_eq!(api.post("/v1/logins/finish", &json!([])).status, 400);
        for forged in [
            with("ticket", "forged"),
            with("ticket", &second.ticket),
            with("codeVerifier", &second.code_verifier),
            with("codeVerifier", "short"),
            with("code", ""),
        ] {
            let status = api.post("/v1/logins/finish", &forged).status;
            assert!(status == 400 || status == 403, "{status}: {forged}");
        }
    }
    assert_eq!(provider.calls(Endpoint::Token), 0, "one of them reached the provider");
    // None of them consumed the ticket either.
    assert_eq!(first.finish(&response).status, 201);
    login::succeed(&alice, &daemon, &provider);
}

#[test]
fn only_failed_logins_count_toward_limit() {
    let provider = Provider::start();
    let daemon = Daemon::start_with(&provider, |configuration| {
        configuration.more = "limits: {failedLoginsPerMinute: 8}\n".to_owned();
    });
    let api = daemon.api();
    let start_login = || Started::over(&api, &daemon, "okta");
    for _ in 0..10 {
        let started = start_login();
        assert_eq!(started.finish(&started.sign_in(&provider)).status, 201);
    }
    let fail = || {
        let started = start_login();
        started.finish(&started.sign_in(&provider).with("code", "unknown"))
    };
    let begun = Instant::now();
    let (mut rejected, mut calls) = (0, provider.calls(Endpoint::Token));
    let refused = loop {
        let failed = fail();
        if failed.problem().code != ProblemCode::LoginRejected {
            break failed;
        }
        (rejected, calls) = (rejected + 1, provider.calls(Endpoint::Token));
    };
    // A quarter of the address's limit: two, and one more every 30 seconds.
    let later = begun.elapsed().as_secs() / 30;
    assert!((2..=2 + later).contains(&rejected), "{rejected} were rejected in {:?}", begun.elapsed());
    assert_eq!(refused.problem().code, ProblemCode::TooManyRequests);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(provider.calls(Endpoint::Token), calls, "it reached the provider");
    // Another client at the same address has its own connection.
    login::over_http(&daemon, &provider);
}

#[test]
fn rate_limited_login_finishes_later() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start_with(&provider, |configuration| {
        configuration.more = "limits: {failedLoginsPerMinute: 12}\n".to_owned();
    });
    let pending = PendingLogin::begin(login::call(&alice, &daemon));
    let response = pending.sign_in(&provider);
    // Another client at the same address exhausts the limit, with a few failures per connection.
    let exhausted = (0..40).any(|_| {
        let started = Started::at(&daemon);
        started.finish(&response.with("code", "unknown")).status == 429
    });
    assert!(exhausted, "the limit was never reached\n{}", daemon.log());
    assert_eq!(pending.respond(&response).0, 200);
    pending.wait().expect(0);
}

/// If the service is cached, other code waits for the body.
#[test]
fn introspection_body_times_out_for_cached_service() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let credential = credential_in(daemon.directory());
    daemon.change(|configuration| {
        configuration.more = format!(
            "limits: {{requestBodyTimeout: 1s}}\n\
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
    daemon.wait_for_log("receiving the body timed out");
}

#[test]
fn request_bodies_are_bounded_in_size_depth_and_time() {
    let provider = Provider::start();
    let daemon = Daemon::start_with(&provider, |configuration| {
        configuration.more = "limits: {requestBodyTimeout: 1s, maxRequestBodyBytes: 16384}\n".to_owned();
    });
    let api = daemon.api();
    let body = |text: String| {
        api.request("POST", "/v1/logouts").header("content-type", "application/json").body(text)
    };
    let status = |text: String| Answered::of(body(text)).status;
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
    daemon.wait_for_log("receiving the body timed out");
}

#[test]
fn refusals_over_http2_reach_curl_whole() {
    let Some(curl) = peers::find_program("curl") else { return };
    let (provider, files) = (Provider::start(), tempfile::tempdir().expect("a directory"));
    let daemon = Daemon::start(&provider);
    for (name, content) in [("large", "x".repeat(1 << 20)), ("small", "{}".to_owned())] {
        std::fs::write(files.path().join(name), content).expect("written");
    }
    let json = "content-type: application/json";
    for (path, body, header, expected) in [
        ("/v1/logins", "small", "content-type: text/plain", "400"),
        ("/v1/tokens", "small", json, "401"),
        ("/nothing", "small", json, "404"),
        ("/nothing", "large", json, "404"),
        ("/v1/server", "small", json, "405"),
        ("/v1/logins", "large", json, "413"),
    ] {
        for _ in 0..20 {
            let mut call = std::process::Command::new(&curl);
            call.args(["--silent", "--insecure", "--http2", "--noproxy", "*", "--max-time", "30"])
                .args(["--output", "/dev/null", "--write-out", "%{http_version} %{http_code}"])
                .args(["--header", header, "--data-binary", &format!("@{body}")])
                .arg(format!("{}{path}", daemon.origin()))
                .current_dir(files.path());
            let answered = call.output().expect("curl");
            let said = String::from_utf8_lossy(&answered.stdout);
            assert_eq!(said, format!("2 {expected}"), "{path} {body}: {}", answered.status);
            assert_eq!(answered.status.code(), Some(0), "{path} {body}: {said}");
        }
    }
}

/// Sends a raw request and returns the status of its answer.
fn status_of(mut stream: impl Read + Write, request: &str) -> String {
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    String::from_utf8_lossy(answer.get(9..).expect("a status")).into_owned()
}

#[test]
fn host_is_required_by_every_listener() {
    let provider = Provider::start();
    let ports = Ports::reserve(2);
    let [metrics, redirecting] = ports.all()[..] else { panic!("two ports were reserved") };
    let daemon = Daemon::start_with(&provider, |configuration| {
        configuration.more = format!(
            "metrics: {{listen: \"127.0.0.1:{metrics}\"}}\ntls: {{redirectHTTP: \"127.0.0.1:{redirecting}\"}}\n"
        );
    });
    let token = login::over_http(&daemon, &provider);
    assert_eq!(daemon.api().get_as("/v1/session", &token).status, 200, "it is known from now on");
    let (origin, cached) = (daemon.parsed_origin(), format!("Authorization: Bearer {token}\r\n"));
    let plain = |port: u16| {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        stream
    };
    let control = || UnixStream::connect(daemon.data_dir().join("control.sock")).expect("it listens");
    for hosts in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host:\r\n",
        "Host: a/b\r\n",
        "Host: a@b\r\n",
    ] {
        let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\n{hosts}{more}\r\n");
        let main = || connect(&origin, daemon.pin());
        assert_eq!(status_of(main(), &get("/healthz", "")), "400", "{hosts:?}");
        assert_eq!(status_of(main(), &get("/v1/session", &cached)), "400", "from memory: {hosts:?}");
        assert_eq!(status_of(plain(metrics), &get("/healthz", "")), "400", "metrics: {hosts:?}");
        assert_eq!(status_of(plain(redirecting), &get("/", "")), "400", "redirect: {hosts:?}");
        let post = format!("POST /operations HTTP/1.1\r\n{hosts}Content-Length: 0\r\n\r\n");
        assert_eq!(status_of(control(), &post), "400", "control: {hosts:?}");
    }
    let one = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(status_of(plain(metrics), &one("/healthz")), "204");
    assert_eq!(status_of(plain(redirecting), &one("/")), "308");
}

#[test]
fn low_open_file_limit_is_logged_at_start() {
    let provider = Provider::start();
    let daemon = Daemon::start_with(&provider, |configuration| {
        configuration.more = "limits: {maxConnections: 65536}\n".to_owned();
    });
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.process())).expect("its limits");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line on files");
    let [soft, hard] = [3, 4].map(|column| line.split_ascii_whitespace().nth(column).expect("a limit"));
    assert_eq!(soft, hard, "the soft limit is not as high as it may be");
    let is_too_low = soft.parse().is_ok_and(|files: u64| files < 65_536);
    let log = daemon.complete_log();
    assert_eq!(log.contains("too low for `limits.maxConnections`"), is_too_low, "{log}");
}

#[test]
fn missing_port_privilege_is_reported_with_a_fix() {
    let provider = Provider::start();
    let daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |configuration| {
        configuration.more = "metrics: {listen: \"127.0.0.1:80\"}\n".to_owned();
    });
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let Some(setpriv) = peers::find_program("setpriv") else { return };
    if first.ok().and_then(|first| first.trim().parse::<u16>().ok()).is_none_or(|first| first <= 80) {
        return infra_harness::skip::report("this machine lets everybody listen on port 80");
    }
    let mut program = std::process::Command::new(setpriv);
    if rustix::process::geteuid().is_root() {
        program.args(["--bounding-set", "-net_bind_service", "--inh-caps", "-net_bind_service"]);
    }
    let words = [
        "cannot listen on 127.0.0.1:80: ",
        "CAP_NET_BIND_SERVICE",
        "setcap ",
        "`ListenStream=80`",
        "above 1023",
    ];
    daemon.infrad_under(program, &["serve"]).wait().expect(1).stderr_contains(&words);
}
