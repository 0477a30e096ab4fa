//! Token exchange of workloads: broken issuers, tokens of one kind presented as another, malformed requests, and what services and
//! operators see.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use infra_harness::api::{Answered, connect};
use infra_harness::daemon::Daemon;
use infra_harness::provider::{CLIENT_ID, Endpoint, Misbehaviour, Provider};
use infra_harness::services::{self, introspect, request_token, review, verify};
use infra_harness::workloads::{
    GRANT_TYPE, ID_TOKEN, assert_issued, assert_refused, exchange, exchange_form, github, rule, token,
};
use infra_harness::{login, wait};
use infra_shared::api::ProblemCode;
use serde_json::{Value, json};

use crate::workloads::{CLAIMS, Setup, rejected};

const INACTIVE: &str = r#"{"active":false}"#;

#[test]
fn broken_issuer_fails_only_its_own_tokens() {
    let evil = "https://evil.test";
    let cases = [
        ("WL-40 metadata", Misbehaviour::default().out_of_order(Endpoint::Discovery, 500)),
        (
            "WL-40 issuer of another",
            Misbehaviour::default()
                .json(Endpoint::Discovery, move |metadata| metadata["issuer"] = json!(evil)),
        ),
        (
            "WL-40 keys over HTTP",
            Misbehaviour::default()
                .json(Endpoint::Discovery, |metadata| metadata["jwks_uri"] = json!("http://127.0.0.1:9/")),
        ),
        (
            "WL-40 keys in a private network",
            Misbehaviour::default().json(Endpoint::Discovery, |metadata| {
                metadata["jwks_uri"] = json!("https://169.254.169.254/keys");
            }),
        ),
        ("WL-41 keys", Misbehaviour::default().out_of_order(Endpoint::Keys, 500)),
        ("WL-41 no keys", Misbehaviour::default().json(Endpoint::Keys, |set| set["keys"] = json!([]))),
        (
            "WL-41 10 MB of keys",
            Misbehaviour::default().answer(Endpoint::Keys, |answer| answer.body = vec![b' '; 10_000_000]),
        ),
    ];
    // Each has an issuer of its own, because a failure counts for two seconds.
    let broken = cases.map(|(id, misbehaviour)| {
        let provider = Provider::start();
        provider.misbehave(misbehaviour);
        (id, provider)
    });
    let issuer = Provider::start();
    let mut rules = rule("ci", &issuer, CLAIMS, "[wiki]");
    for (number, (_, provider)) in broken.iter().enumerate() {
        rules.push_str(&rule(&format!("broken-{number}"), provider, CLAIMS, "[wiki]"));
    }
    let setup = Setup::with_rules(issuer, &rules);
    for (id, provider) in &broken {
        let answered = exchange(&setup.api(), &token(provider, &github(provider)), "wiki");
        assert_refused(&answered, 503, "temporarily_unavailable");
        assert!(answered.header("retry-after").is_some(), "{id}: {answered:?}");
        assert!(setup.audit().contains(provider.issuer()), "{id}");
        setup.accept();
        assert_eq!(login_status(&setup), 200, "{id}");
    }
    // It recovers by itself, and unsigned tokens cause few requests until then.
    let (_, broken) = &broken[0];
    let calls = broken.calls(Endpoint::Discovery);
    for _ in 0..20 {
        assert_refused(
            &exchange(&setup.api(), &token(broken, &github(broken)), "wiki"),
            503,
            "temporarily_unavailable",
        );
    }
    let more = broken.calls(Endpoint::Discovery) - calls;
    assert!(more < 10, "{more} fetches for 20 tokens");
    broken.behave();
    let recovers = || {
        let answered = exchange(&setup.api(), &token(broken, &github(broken)), "wiki");
        (answered.status == 200).then_some(())
    };
    assert!(wait::until(Duration::from_secs(30), recovers).is_some());
    // One issuer cannot speak for another.
    let mut forged = github(&setup.issuer);
    forged["iss"] = json!(setup.issuer.issuer());
    setup.refuse("WL-42 another issuer's key", &token(broken, &forged), rejected("unknown_key"));
}

fn login_status(setup: &Setup) -> u16 {
    let session = login::over_http(&setup.daemon, &setup.people);
    setup.api().get_as("/v1/session", &session).status
}

/// The most memory that the daemon has had since the last call, in MiB.
fn peak_memory(daemon: &Daemon) -> u64 {
    let process = daemon.process();
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its memory");
    let peak = line.split_ascii_whitespace().next().and_then(|size| size.parse::<u64>().ok());
    std::fs::write(format!("/proc/{process}/clear_refs"), "5").expect("its own peak is forgotten");
    peak.expect("a size") / 1024
}

/// The tokens are unverified, so any client can send them.
#[test]
fn exchanges_that_wait_hold_no_parsed_claims() {
    const AT_ONCE: usize = 40;
    // Accepts connections and never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let issuer = format!("https://{}", silent.local_addr().expect("a bound socket"));
    let rules = format!(
        "- {{name: ci, issuer: '{issuer}', audiences: [infra], claims: {{sub: a}}, services: [wiki]}}\n"
    );
    let setup = Setup::with_rules(Provider::start(), &rules);
    // Each small object takes a hundred times its text.
    let claims = json!({"iss": issuer, "small": vec![json!({"a": 1}); 1_400]});
    let [header, claims] =
        [json!({"alg": "RS256"}), claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
    let token = format!("{header}.{claims}.AA");
    peak_memory(&setup.daemon);
    let before = peak_memory(&setup.daemon);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                assert_refused(&exchange(&setup.api(), &token, "wiki"), 503, "temporarily_unavailable")
            });
        }
    });
    let grown = peak_memory(&setup.daemon) - before;
    assert!(grown < 24, "{AT_ONCE} requests took {grown} MiB");
}

/// The body comes in a packet of its own, as many clients send it.
#[test]
fn request_that_takes_long_is_answered() {
    // Longer than the limit for headers, and shorter than that for requests.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let issuer = format!("https://{}", silent.local_addr().expect("a bound socket"));
    let rules = format!(
        "- {{name: ci, issuer: '{issuer}', audiences: [infra], claims: {{sub: a}}, services: [wiki]}}\n"
    );
    let mut setup = Setup::with_rules(Provider::start(), &rules);
    setup.daemon.change(|configuration| {
        configuration.more = configuration.more.replace("limits: {", "limits: {requestHeaderTimeout: 1s, ");
    });
    setup.daemon.restart();
    let [header, claims] = [json!({"alg": "RS256"}), json!({"iss": issuer})]
        .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
    let body = format!(
        "grant_type={GRANT_TYPE}&subject_token_type={ID_TOKEN}&audience=wiki&subject_token={header}.{claims}.AA"
    );
    let origin = setup.daemon.parsed_origin();
    let mut stream = connect(&origin, setup.daemon.pin());
    let head = format!(
        "POST /v1/tokens HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        setup.daemon.port(),
        body.len()
    );
    let send = |stream: &mut dyn Write, part: &str| {
        stream.write_all(part.as_bytes()).and_then(|()| stream.flush()).expect("the daemon reads");
    };
    send(&mut stream, &head);
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).expect("the daemon asks for the body");
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    send(&mut stream, &body);
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{read:?} {answer}");
}

#[test]
fn keys_of_issuer_are_fetched_rarely() {
    let setup = Setup::new();
    setup.accept();
    setup.accept();
    let calls = || (setup.issuer.calls(Endpoint::Discovery), setup.issuer.calls(Endpoint::Keys));
    assert_eq!(calls(), (1, 1), "cached");
    setup.issuer.rotate_keys();
    setup.accept();
    assert_eq!(calls(), (1, 2), "fetched for the new key");
    for number in 0..20 {
        let unknown = setup.issuer.sign(
            &github(&setup.issuer),
            |draft| draft.header["kid"] = json!(format!("unknown-{number}")),
            |_| {},
        );
        assert_refused(&exchange(&setup.api(), &unknown, "wiki"), 400, "invalid_request");
    }
    assert_eq!(calls(), (1, 2), "unknown key IDs cause no fetch within the interval");
    setup.accept();
}

/// Every kind of token at every place that accepts one.
#[test]
fn tokens_of_every_kind_are_accepted_only_where_they_belong() {
    let setup = Setup::new();
    let api = setup.api();
    let session = login::over_http(&setup.daemon, &setup.people);
    let of_person = services::token(&api, &session, "wiki");
    let of_workload = setup.accept();
    let platform = token(&setup.issuer, &github(&setup.issuer));
    let id_token = setup.people.last_id_token().expect("an ID token");

    // At the daemon's own routes, a session token only.
    for (kind, token) in [
        ("audience", &of_person),
        ("workload", &of_workload),
        ("platform", &platform),
        ("ID token", &id_token),
    ] {
        for (method, path) in [
            ("GET", "/v1/session"),
            ("DELETE", "/v1/session"),
            ("GET", "/v1/sessions"),
            ("DELETE", "/v1/sessions?which=others"),
            ("DELETE", "/v1/sessions/AAAAAAAAAA"),
        ] {
            let answered = Answered::of(api.request(method, path).bearer_auth(token));
            assert_eq!(answered.problem().code, ProblemCode::NotAuthenticated, "{kind} {method} {path}");
        }
        let asked = request_token(&api, token, "wiki");
        assert_eq!(asked.problem().code, ProblemCode::NotAuthenticated, "{kind}");
    }
    // In an exchange, a token of the platform only.
    for (kind, token) in
        [("session", &session), ("audience", &of_person), ("workload", &of_workload), ("ID token", &id_token)]
    {
        assert_refused(&exchange(&api, token, "wiki"), 400, "invalid_request");
        let with_bearer = Answered::of(api.request("POST", "/v1/tokens").bearer_auth(token).form(&[
            ("grant_type", GRANT_TYPE),
            ("subject_token", platform.as_str()),
            ("subject_token_type", ID_TOKEN),
            ("audience", "wiki"),
        ]));
        assert_refused(&with_bearer, 400, "invalid_request");
        assert!(!with_bearer.body.contains("infra_aud_"), "{kind}");
    }
    // At a service, an audience token of that service only; a session token where it is configured.
    for (kind, token) in [("platform", &platform), ("ID token", &id_token)] {
        for service in ["wiki", "old", "payroll"] {
            assert_eq!(introspect(&api, service, token).body, INACTIVE, "{kind} {service}");
            assert_eq!(verify(&api, service, token).status, 401, "{kind} {service}");
        }
        assert_eq!(review(&api, "prod", token, &[]).json()["status"]["authenticated"], false, "{kind}");
    }
    for (kind, token) in [("audience", &of_person), ("workload", &of_workload)] {
        assert_eq!(introspect(&api, "wiki", token).json()["active"], true, "{kind}");
        for other in ["payroll", "old"] {
            assert_eq!(introspect(&api, other, token).body, INACTIVE, "{kind} {other}");
            assert_eq!(verify(&api, other, token).status, 401, "{kind} {other}");
        }
        for cluster in ["prod", "stage"] {
            assert_eq!(review(&api, cluster, token, &[]).json()["status"]["authenticated"], false, "{kind}");
        }
    }
    // `acceptSessionToken` and `allow: everyone` admit no workload.
    assert_eq!(introspect(&api, "old", &session).json()["active"], true);
    let refused = exchange(&api, &token(&setup.issuer, &github(&setup.issuer)), "payroll");
    assert_refused(&refused, 400, "invalid_target");
    let unknown = exchange(&api, &token(&setup.issuer, &github(&setup.issuer)), "no-such-service");
    assert_refused(&unknown, 400, "invalid_target");
    assert_eq!(
        refused.json()["error_description"],
        unknown.json()["error_description"],
        "it tells which services there are"
    );
}

#[test]
fn malformed_exchange_requests_are_refused() {
    let setup = Setup::new();
    let api = setup.api();
    let platform = token(&setup.issuer, &github(&setup.issuer));
    let good = [
        ("grant_type", GRANT_TYPE),
        ("subject_token", platform.as_str()),
        ("subject_token_type", ID_TOKEN),
        ("audience", "wiki"),
    ];
    let with = |more: &[(&'static str, &'static str)]| {
        let mut form = good.to_vec();
        form.extend_from_slice(more);
        exchange_form(&api, &form)
    };
    assert_refused(&with(&[("audience", "payroll")]), 400, "invalid_request");
    assert_refused(&with(&[("subject_token", "a.b.c")]), 400, "invalid_request");
    assert_refused(&with(&[("actor_token", "a.b.c")]), 400, "invalid_request");
    assert_refused(&with(&[("resource", "https://wiki.example.test")]), 400, "invalid_target");
    assert_refused(&with(&[("scope", "admin")]), 400, "invalid_scope");
    assert_refused(&with(&[("requested_token_type", ID_TOKEN)]), 400, "invalid_request");
    assert_refused(&exchange_form(&api, &good[1..]), 400, "invalid_request");
    assert_refused(
        &exchange_form(&api, &[("grant_type", "client_credentials")]),
        400,
        "unsupported_grant_type",
    );

    let form = |path: &str| api.request("POST", path).form(&good);
    assert_refused(&Answered::of(form("/v1/tokens?audience=wiki")), 400, "invalid_request");
    assert_refused(
        &Answered::of(form("/v1/tokens").header("origin", "https://evil.test")),
        400,
        "invalid_request",
    );
    assert_refused(
        &Answered::of(form("/v1/tokens").basic_auth(CLIENT_ID, Some("x"))),
        400,
        "invalid_request",
    );
    let long = "a".repeat(65_536);
    assert_refused(&exchange(&api, &long, "wiki"), 413, "invalid_request");
    let mut padded = github(&setup.issuer);
    padded["padding"] = json!("a".repeat(16_000));
    assert_refused(&exchange(&api, &token(&setup.issuer, &padded), "wiki"), 400, "invalid_request");
    // None of them used the token up, and empty or unknown parameters change nothing.
    assert_issued(&with(&[("scope", ""), ("unknown", "1"), ("unknown", "2")]));
}

#[test]
fn workload_is_shown_as_no_person() {
    let setup = Setup::new();
    let api = setup.api();
    let identity = "workload:ci/repo:octo-org/octo-repo:ref:refs/heads/main";
    let of_workload = setup.accept();
    let active = introspect(&api, "wiki", &of_workload).json();
    assert_eq!(active["sub"], identity, "{active}");
    assert_eq!((&active["provider"], &active["workload"]), (&json!("workload:ci"), &json!("ci")), "{active}");
    assert_eq!(
        (&active["iss"], &active["username"]),
        (&json!(setup.issuer.issuer()), &json!(identity)),
        "{active}"
    );
    assert_eq!((&active["groups"], active.get("email")), (&json!([]), None), "{active}");
    let life = active["exp"].as_i64().expect("a time") - active["iat"].as_i64().expect("a time");
    assert!((1..=300).contains(&life), "it outlives the presented token: {active}");
    let verified = verify(&api, "wiki", &of_workload);
    assert_eq!(verified.header("x-infra-provider"), Some("workload%3Aci"));
    assert_eq!(verified.header("x-infra-email"), Some(""));
    let user = verified.header("x-infra-user").expect("a header").to_owned();
    assert!(user.starts_with("workload%3Aci%2Frepo%3A"), "{user}");
    let session = login::over_http(&setup.daemon, &setup.people);
    let of_person = services::token(&api, &session, "wiki");
    assert_eq!(introspect(&api, "wiki", &of_person).json().get("workload"), None);

    let cluster = assert_issued(&exchange(&api, &token(&setup.issuer, &github(&setup.issuer)), "prod"));
    let reviewed = review(&api, "prod", &cluster, &[]).json();
    assert_eq!(reviewed["status"]["user"]["username"], format!("infra:{identity}"), "{reviewed}");
    assert_eq!(reviewed["status"]["user"]["groups"], json!([]), "{reviewed}");

    // A person whose provider says to be the workload cannot sign in.
    setup.people.misbehave(Misbehaviour::default().claim("sub", json!(identity)));
    let started = login::Started::at(&setup.daemon);
    let refused = started.finish(&started.sign_in(&setup.people));
    assert_eq!(refused.status, 403, "{refused:?}");
    setup.people.behave();

    // Operators list it, and revoke it by its identity.
    let listed = setup.live_sessions();
    let is_workload = |session: &&Value| session["user"]["subject"] == identity;
    let workloads: Vec<&Value> = listed.as_array().expect("a list").iter().filter(is_workload).collect();
    assert_eq!(workloads.len(), 2, "{listed}");
    assert!(workloads.iter().all(|session| session["loginMethod"] == Value::Null), "{listed}");
    setup.daemon.infrad(["sessions", "revoke", "--user", identity]).wait().expect(0);
    assert_eq!(introspect(&api, "wiki", &of_workload).body, INACTIVE);
    assert_eq!(review(&api, "prod", &cluster, &[]).json()["status"]["authenticated"], false);
    assert_eq!(introspect(&api, "wiki", &of_person).json()["active"], true, "a person was revoked with it");
    setup.accept();
}

#[test]
fn removed_rule_or_service_ends_tokens_of_workload() {
    let mut setup = Setup::new();
    let kept = setup.accept();
    let is_active = |setup: &Setup| introspect(&setup.api(), "wiki", &kept).json()["active"] == true;
    setup.daemon.restart();
    assert!(is_active(&setup), "a restart ended it");
    for change in [("name: ci", "name: cd"), ("services: [wiki, ", "services: [")] {
        let mut before = String::new();
        setup.daemon.change(|configuration| {
            before.clone_from(&configuration.more);
            configuration.more = before.replace(change.0, change.1);
        });
        setup.daemon.restart();
        assert!(!is_active(&setup), "{change:?}");
        setup.daemon.change(|configuration| configuration.more = before);
        setup.daemon.restart();
        assert!(is_active(&setup), "{change:?}: it was revoked for other members too");
    }
}
