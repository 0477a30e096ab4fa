//! Token validation by services: audience tokens, introspection, forward-auth, Kubernetes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use infra_harness::api::{Answered, Api};
use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::provider::{Misbehaviour, Person, Provider};
use infra_harness::services::{
    self, CREDENTIAL, introspect, request_token, review, token, token_review, verify, write_private,
};
use infra_harness::wait;
use infra_shared::api::ProblemCode;
use infra_shared::token_text::SessionToken;
use serde_json::{Value, json};

const WIKI: &str = "https://wiki.example.test";
const INACTIVE: &str = r#"{"active":false}"#;

/// Longer than the pause between two reads of a credential.
const LIMIT: Duration = Duration::from_mins(1);

/// Starts a daemon with services: a wiki for everyone, payroll for a group, an old one that accepts session tokens, and
/// two clusters.
fn daemon(provider: &Provider) -> Daemon {
    services::daemon(
        provider,
        &[
            &format!("{{name: wiki, audience: {WIKI}, credentials: [CREDENTIAL], allow: everyone}}"),
            "{name: payroll, credentials: [CREDENTIAL], allow: [{provider: okta, groups: [finance]}]}",
            "{name: old, credentials: [CREDENTIAL], allow: everyone, acceptSessionToken: true}",
            "{name: mute, allow: everyone}",
            "{name: prod, kind: kubernetes, credentials: [CREDENTIAL], allow: [{provider: okta}], \
             apiAudiences: [https://kubernetes.default.svc]}",
            "{name: stage, kind: kubernetes, credentials: [CREDENTIAL], allow: everyone, username: subject, \
             prefix: 'infra:{provider}:'}",
        ],
    )
}

/// Signs `person` in with these additional claims.
fn sign_in(daemon: &Daemon, provider: &Provider, person: &str, claims: &[(&'static str, Value)]) -> String {
    provider.person(Person::SignsIn(person.to_owned()));
    let claims = claims.to_vec();
    provider.misbehave(Misbehaviour::default().id_token(move |draft| {
        for (name, value) in &claims {
            draft.set_claim(name, value.clone());
        }
    }));
    let token = login::over_http(daemon, provider);
    provider.behave();
    token
}

fn groups(groups: &[&str]) -> (&'static str, Value) {
    ("groups", json!(groups))
}

fn is_authenticated(answered: &Answered) -> bool {
    assert_eq!(answered.status, 200, "{answered:?}");
    answered.json().pointer("/status/authenticated") == Some(&json!(true))
}

#[test]
fn audience_token_is_valid_only_for_its_service() {
    let provider = Provider::start();
    let daemon = daemon(&provider);
    let api = daemon.api();
    let session = sign_in(&daemon, &provider, "alice", &[groups(&["engineering"])]);
    let opened = request_token(&api, &session, WIKI);
    assert_eq!(opened.status, 201, "{opened:?}");
    assert_eq!(opened.header("cache-control"), Some("no-store"));
    assert_eq!(opened.json()["audience"], WIKI);
    let (expires, now) = (opened.json()["expiresAt"].clone(), opened.json()["now"].clone());
    let read = |time: Value| time.as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
    let lifetime = read(expires).duration_since(read(now)).as_secs();
    assert!((590..=600).contains(&lifetime), "{lifetime} s");
    let for_wiki = opened.json()["token"].as_str().expect("a token").to_owned();
    assert!(for_wiki.starts_with("infra_aud_"));

    let active = introspect(&api, "wiki", &for_wiki).json();
    let id = SessionToken::parse(&session).expect("a token").id().to_string();
    assert_eq!((&active["active"], &active["aud"], &active["sid"]), (&json!(true), &json!(WIKI), &json!(id)));
    assert_eq!((&active["sub"], &active["iss"]), (&json!("sub-alice"), &json!(provider.issuer())));
    assert_eq!(
        (&active["email"], &active["username"]),
        (&json!("alice@example.test"), &json!("alice@example.test"))
    );
    assert_eq!((&active["groups"], &active["token_type"]), (&json!(["engineering"]), &json!("Bearer")));
    let (exp, iat) = (active["exp"].as_i64().expect("a number"), active["iat"].as_i64().expect("a number"));
    assert!((590..=600).contains(&(exp - iat)), "{active}");
    assert_eq!(verify(&api, "wiki", &for_wiki).status, 200);

    // A service that received the token can do nothing else with it.
    for (method, path) in [
        ("GET", "/v1/session"),
        ("DELETE", "/v1/session"),
        ("GET", "/v1/sessions"),
        ("DELETE", "/v1/sessions/AAAAAAAAAA"),
    ] {
        let answered = Answered::of(api.request(method, path).bearer_auth(&for_wiki));
        assert_eq!(answered.problem().code, ProblemCode::NotAuthenticated, "{method} {path}");
    }
    assert_eq!(request_token(&api, &for_wiki, WIKI).problem().code, ProblemCode::NotAuthenticated);
    for other in ["payroll", "old"] {
        assert_eq!(introspect(&api, other, &for_wiki).body, INACTIVE, "{other}");
        assert_eq!(verify(&api, other, &for_wiki).problem().code, ProblemCode::NotAuthenticated, "{other}");
    }
    assert!(!is_authenticated(&review(&api, "prod", &for_wiki, &[])));

    // The service's name selects the same audience.
    let by_name = request_token(&api, &session, "wiki").json();
    assert_eq!(by_name["audience"], WIKI);
    for unknown in ["https://wiki.example.test/", "WIKI", "", "nobody"] {
        assert_eq!(request_token(&api, &session, unknown).problem().code, ProblemCode::NotFound, "{unknown}");
    }
    assert_eq!(Answered::of(api.request("GET", "/v1/tokens").bearer_auth(&session)).status, 405);
}

#[test]
fn cached_and_uncached_answers_are_identical() {
    let provider = Provider::start();
    let daemon = daemon(&provider);
    let api = daemon.api();
    let session = sign_in(&daemon, &provider, "alice", &[groups(&["engineering"])]);
    let mine = token(&api, &session, "wiki");
    // The daemon has nothing cached, then the token, then also the service credential.
    let answers: Vec<_> = (0..4).map(|_| introspect(&api, "wiki", &mine)).collect();
    let [first, rest @ ..] = answers.as_slice() else { unreachable!() };
    let comparable = |answered: &Answered| {
        let mut headers = answered.headers.clone();
        headers.remove("date");
        (answered.status, headers, answered.body.clone())
    };
    assert!(first.body.contains("\"active\":true"), "{first:?}");
    assert!(rest.iter().all(|later| comparable(later) == comparable(first)), "{answers:?}");

    let ask = |form: String| {
        let request = api.request("POST", "/v1/introspect").basic_auth("wiki", Some(CREDENTIAL));
        let media_type = "Application/X-WWW-Form-URLencoded; charset=utf-8";
        Answered::of(request.header("content-type", media_type).body(form))
    };
    assert_eq!(comparable(&ask(format!("token={mine}"))), comparable(first));
    assert_eq!(comparable(&ask(format!("padding={}&token={mine}", "a".repeat(8192)))), comparable(first));
    for form in [format!("token={mine}&token={mine}"), "tokens=a".to_owned()] {
        assert_eq!(ask(form).problem().code, ProblemCode::BadRequest);
    }
    assert_eq!(introspect(&api, "payroll", &mine).body, INACTIVE);
    assert_eq!(api.delete_as("/v1/session", &session).status, 204);
    assert_eq!(introspect(&api, "wiki", &mine).body, INACTIVE);
}

#[test]
fn session_token_is_accepted_only_by_configured_service() {
    let provider = Provider::start();
    let daemon = daemon(&provider);
    let api = daemon.api();
    let session = sign_in(&daemon, &provider, "alice", &[]);
    assert_eq!(introspect(&api, "wiki", &session).body, INACTIVE);
    assert_eq!(verify(&api, "wiki", &session).status, 401);
    assert!(!is_authenticated(&review(&api, "prod", &session, &[])));
    assert_eq!(introspect(&api, "old", &session).json()["aud"], "old");
    assert_eq!(verify(&api, "old", &session).status, 200);
    assert_eq!(verify(&api, "old", &token(&api, &session, "old")).status, 200);
}

#[test]
fn inactive_tokens_are_answered_alike() {
    let provider = Provider::start();
    let daemon = daemon(&provider);
    let api = daemon.api();
    let session = sign_in(&daemon, &provider, "alice", &[]);
    let (mine, foreign) = (token(&api, &session, WIKI), token(&api, &session, "old"));
    let revoked = sign_in(&daemon, &provider, "bob", &[]);
    let of_revoked = token(&api, &revoked, WIKI);
    assert_eq!(introspect(&api, "wiki", &of_revoked).json()["active"], true);
    assert_eq!(api.delete_as("/v1/session", &revoked).status, 204);
    let wrong_secret = format!("{}{}", &mine[..mine.len() - 1], if mine.ends_with('a') { 'b' } else { 'a' });
    for (what, shown) in [
        ("unknown", "infra_aud_AAAAAAAAAA.aaaaaaaaaaaaaaaaaaaaaaaa"),
        ("no token", "hello"),
        ("a wrong secret", &wrong_secret),
        ("another's", &foreign),
        ("of a revoked session", &of_revoked),
        ("a session token", &session),
        ("a revoked session token", &revoked),
        ("the dummy row", "infra_aud_0000000000.aaaaaaaaaaaaaaaaaaaaaaaa"),
    ] {
        let answered = introspect(&api, "wiki", shown);
        assert_eq!((answered.status, answered.body.as_str()), (200, INACTIVE), "{what}");
        let answered = verify(&api, "wiki", shown);
        assert_eq!(answered.status, 401, "{what}");
        let challenge = answered.header("www-authenticate").expect("a challenge");
        assert_eq!(challenge, r#"Bearer realm="infra", error="invalid_token""#, "{what}");
    }
    assert_eq!(introspect(&api, "wiki", &mine).json()["active"], true, "the valid token stays valid");
    assert_eq!(daemon.complete_log().matches(&mine[20..]).count(), 0, "a token is in the log");
}

#[test]
fn introspection_requires_service_credential() {
    let provider = Provider::start();
    let daemon = daemon(&provider);
    let api = daemon.api();
    let session = sign_in(&daemon, &provider, "alice", &[]);
    let mine = token(&api, &session, WIKI);
    let form = [("token", mine.as_str())];
    let ask = || api.request("POST", "/v1/introspect").form(&form);
    let unauthenticated = [
        ("nothing", ask()),
        ("a wrong credential", ask().basic_auth("wiki", Some("canary-service-credential-0123456780"))),
        ("an empty credential", ask().basic_auth("wiki", Some(""))),
        ("a service without credentials", ask().basic_auth("mute", Some(""))),
        ("no such service", ask().basic_auth("nobody", Some(CREDENTIAL))),
        ("a name in another case", ask().basic_auth("Wiki", Some(CREDENTIAL))),
        ("a session token", ask().bearer_auth(&session)),
        ("a credential without a name", ask().bearer_auth(CREDENTIAL)),
        ("not base64", ask().header("authorization", "Basic %%%")),
        (
            "two of them",
            ask().basic_auth("wiki", Some(CREDENTIAL)).header("authorization", format!("Bearer {session}")),
        ),
    ];
    for (what, request) in unauthenticated {
        let answered = Answered::of(request);
        assert_eq!(answered.problem().code, ProblemCode::NotAuthenticated, "{what}");
        let challenge = answered.header("www-authenticate").expect("a challenge");
        assert!(challenge.starts_with("Basic realm="), "{what}: {challenge}");
    }
    let as_wiki = |method: &str, path: &str| api.request(method, path).basic_auth("wiki", Some(CREDENTIAL));
    assert_eq!(Answered::of(as_wiki("GET", &format!("/v1/introspect?token={mine}"))).status, 405);
    // The root of a proxy that appends its path. An unknown token is never answered from the cache.
    for path in ["/v1/verify/wiki", "/v1/verify/wiki/", "/v1/verify/wiki/a"] {
        let unknown = Answered::of(api.request("GET", path).bearer_auth("infra_aud_unknown"));
        assert_eq!(unknown.status, 401, "{path}");
    }
    for (what, request) in [
        ("the query", as_wiki("POST", &format!("/v1/introspect?token={mine}")).form(&form)),
        ("JSON", as_wiki("POST", "/v1/introspect").json(&json!({ "token": mine }))),
        ("no token", as_wiki("POST", "/v1/introspect").form(&[("tokens", "a")])),
        ("two tokens", as_wiki("POST", "/v1/introspect").form(&[("token", "a"), ("token", &mine)])),
        ("a web page", as_wiki("POST", "/v1/introspect").form(&form).header("origin", "https://a.test")),
    ] {
        let problem = Answered::of(request).problem();
        assert_eq!((problem.code, problem.detail.is_some()), (ProblemCode::BadRequest, true), "{what}");
    }
    let with_hint =
        as_wiki("POST", "/v1/introspect").form(&[("token_type_hint", "access_token"), ("token", &mine)]);
    assert_eq!(Answered::of(with_hint).json()["active"], true);
    assert!(!daemon.complete_log().contains(CREDENTIAL), "a credential is in the log");
}

#[test]
fn rejected_service_is_named_in_the_log() {
    let provider = Provider::start();
    let mut daemon = daemon(&provider);
    let api = daemon.api();
    let wrong = "canary-service-credential-0123456780";
    let ask = |service: &str| {
        let request = api.request("POST", "/v1/introspect").basic_auth(service, Some(wrong));
        Answered::of(request.form(&[("token", "any")])).problem().code
    };
    assert_eq!((ask("wiki"), ask("mute")), (ProblemCode::NotAuthenticated, ProblemCode::NotAuthenticated));
    daemon.wait_for_log("this is not a credential of the service `wiki`");
    daemon.wait_for_log("the service `mute` has no `credentials` in the configuration");
    let review = api.request("POST", "/v1/kubernetes/prod/tokenreview").bearer_auth(wrong);
    let review = Answered::of(review.json(&token_review("any", &[]))).problem();
    assert_eq!(review.code, ProblemCode::NotAuthenticated);
    assert!(review.detail.expect("what to do").contains("as a bearer token"));

    std::fs::remove_file(daemon.directory().join("service-credential")).expect("a file of the test");
    daemon.restart();
    assert_eq!(introspect(&daemon.api(), "wiki", "any").status, 503);
    let line = daemon.wait_for_log("no value was read before, so the service gets 503");
    assert!(line.contains("wiki"), "{line}");
}

#[test]
fn service_credential_is_replaced_without_restart() {
    let provider = Provider::start();
    let daemon = daemon(&provider);
    let api = daemon.api();
    let session = sign_in(&daemon, &provider, "alice", &[]);
    let mine = token(&api, &session, WIKI);
    let file = daemon.directory().join("service-credential");
    assert_eq!(introspect(&api, "wiki", &mine).status, 200);

    let replaced = "another-service-credential+with/odd%signs=";
    write_private(&file, replaced);
    let ask = |secret: &str| {
        let request = api.request("POST", "/v1/introspect").basic_auth("wiki", Some(secret));
        Answered::of(request.form(&[("token", &mine)])).status
    };
    // If a credential does not match, the daemon reads the file again, at most every five seconds.
    let is_accepted = || (ask(replaced) == 200).then_some(());
    assert!(wait::until(LIMIT, is_accepted).is_some(), "the new credential is refused");
    assert_eq!(ask(CREDENTIAL), 401, "the old one is no longer valid");
    let encoded: String = url::form_urlencoded::byte_serialize(replaced.as_bytes()).collect();
    assert_eq!(ask(&encoded), 200, "RFC 6749 section 2.3.1");

    std::fs::remove_file(&file).expect("a file of the test");
    assert_eq!(ask(replaced), 200, "it was read a moment ago");
    write_private(&file, "too short");
    assert_eq!(ask("too short"), 401, "short credentials are refused");
}

#[test]
fn unreadable_credential_is_outage_without_api_server_wait() {
    let provider = Provider::start();
    let mut daemon = daemon(&provider);
    std::fs::remove_file(daemon.directory().join("service-credential")).expect("a file of the test");
    daemon.restart();
    let api = daemon.api();
    let wiki = introspect(&api, "wiki", "any");
    assert_eq!((wiki.problem().code, wiki.header("retry-after").is_some()), (ProblemCode::Unavailable, true));
    // With `retry-after`, the API server's client would wait, and so would all its users.
    let cluster = review(&api, "prod", "any", &[]);
    assert_eq!((cluster.problem().code, cluster.header("retry-after")), (ProblemCode::Unavailable, None));
}

#[test]
fn user_not_admitted_by_rules_gets_no_token_or_access() {
    let provider = Provider::start();
    let daemon = daemon(&provider);
    let api = daemon.api();
    let (clerk, alice) = (
        sign_in(&daemon, &provider, "bob", &[groups(&["finance"])]),
        sign_in(&daemon, &provider, "alice", &[groups(&["Finance", "finances"])]),
    );
    assert_eq!(verify(&api, "payroll", &token(&api, &clerk, "payroll")).status, 200);
    assert_eq!(request_token(&api, &alice, "payroll").problem().code, ProblemCode::Forbidden);

    // A session token that the service would accept does not help either.
    let mut daemon = daemon;
    daemon.change(|configuration| {
        configuration.more = configuration
            .more
            .replace("groups: [finance]}]", "groups: [finance]}], acceptSessionToken: true");
    });
    daemon.restart();
    let api = daemon.api();
    assert_eq!(verify(&api, "payroll", &alice).problem().code, ProblemCode::Forbidden);
    assert_eq!(introspect(&api, "payroll", &alice).body, INACTIVE);
    assert_eq!(verify(&api, "payroll", &clerk).status, 200);
}

#[test]
fn verify_returns_identity_in_unforgeable_headers() {
    let provider = Provider::start();
    let daemon = daemon(&provider);
    let api = daemon.api();
    let session = sign_in(
        &daemon,
        &provider,
        "alice",
        &[groups(&["a,b", "Zoë", "x%2Cy", "c d"]), ("name", json!("Alice, \"the first\" ÅÄ"))],
    );
    let mine = token(&api, &session, WIKI);
    let answered = verify(&api, "wiki", &mine);
    assert_eq!((answered.status, answered.body.as_str()), (200, ""));
    assert_eq!(answered.header("x-infra-user"), Some("sub-alice"));
    assert_eq!(answered.header("x-infra-email"), Some("alice@example.test"));
    assert_eq!(answered.header("x-infra-groups"), Some("a%2Cb,Zo%C3%AB,x%252Cy,c%20d"));
    assert_eq!(answered.header("x-infra-name"), Some("Alice%2C%20%22the%20first%22%20%C3%85%C3%84"));
    assert_eq!(answered.header("x-infra-provider"), Some("okta"));
    assert_eq!(answered.header("cache-control"), Some("no-store"));

    // The daemon ignores the request's method, path, origin and identity headers.
    for (method, path) in [
        ("POST", "/v1/verify/wiki"),
        ("OPTIONS", "/v1/verify/wiki"),
        ("PROPFIND", "/v1/verify/wiki/a/b?access_token=x"),
        ("GET", "/v1/verify/wiki/v1/session"),
    ] {
        let request = api.request(method, path).bearer_auth(&mine).header("origin", "https://page.test");
        let answered = Answered::of(request.header("x-infra-user", "root").header("cookie", "a=b"));
        assert_eq!(
            (answered.status, answered.header("x-infra-user")),
            (200, Some("sub-alice")),
            "{method} {path}"
        );
    }
    for (what, request) in [
        ("nothing", api.request("GET", "/v1/verify/wiki")),
        ("the query", api.request("GET", &format!("/v1/verify/wiki?access_token={mine}"))),
        ("Basic", api.request("GET", "/v1/verify/wiki").basic_auth("alice", Some(&mine))),
        ("two", api.request("GET", "/v1/verify/wiki").bearer_auth("a").bearer_auth(&mine)),
        (
            "other headers",
            api.request("GET", "/v1/verify/wiki")
                .header("x-forwarded-authorization", format!("Bearer {mine}")),
        ),
    ] {
        let answered = Answered::of(request);
        assert_eq!(answered.status, 401, "{what}");
        assert_eq!(answered.header("www-authenticate"), Some(r#"Bearer realm="infra""#), "{what}");
        assert_eq!(answered.header("x-infra-user"), None);
    }
    assert_eq!(verify(&api, "nobody", &mine).status, 404);

    // The daemon omits an unverified e-mail address.
    let unverified = sign_in(&daemon, &provider, "bob", &[("email_verified", json!(false))]);
    let answered = verify(&api, "wiki", &token(&api, &unverified, WIKI));
    assert_eq!((answered.status, answered.header("x-infra-email")), (200, Some("")));
    let active = introspect(&api, "wiki", &token(&api, &unverified, WIKI)).json();
    assert_eq!((&active["email"], &active["username"]), (&Value::Null, &json!("sub-bob")));
}

#[test]
fn token_review_prefixes_names_and_groups() {
    let provider = Provider::start();
    let daemon = daemon(&provider);
    let api = daemon.api();
    let session =
        sign_in(&daemon, &provider, "alice", &[groups(&["system:masters", "engineering", "masters"])]);
    let mine = token(&api, &session, "prod");
    let id = SessionToken::parse(&session).expect("a token").id().to_string();
    let answered = review(&api, "prod", &mine, &["https://kubernetes.default.svc", "other"]);
    assert_eq!(answered.status, 200);
    assert_eq!(
        answered.json(),
        json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "status": {
                "authenticated": true,
                "user": {
                    "username": "infra:alice@example.test",
                    "uid": format!("{}#sub-alice", provider.issuer()),
                    "groups": ["infra:system:masters", "infra:engineering", "infra:masters"],
                    "extra": { "infra.session/id": [id] },
                },
                "audiences": ["https://kubernetes.default.svc"],
            },
        })
    );
    assert_eq!(review(&api, "prod", &mine, &[]).json()["status"]["audiences"], json!(["prod"]));
    let elsewhere = review(&api, "prod", &mine, &["https://another.cluster"]);
    assert!(!is_authenticated(&elsewhere), "{elsewhere:?}");
    assert!(!is_authenticated(&review(&api, "prod", &token(&api, &session, "stage"), &[])));
    let staged = review(&api, "stage", &token(&api, &session, "stage"), &[]).json();
    assert_eq!(staged["status"]["user"]["username"], "infra:okta:sub-alice");

    // If usernames are e-mail addresses, a user with an unverified address has none.
    let unverified = sign_in(&daemon, &provider, "bob", &[("email_verified", json!(false))]);
    assert_eq!(request_token(&api, &unverified, "prod").problem().code, ProblemCode::Forbidden);
    assert!(is_authenticated(&review(&api, "stage", &token(&api, &unverified, "stage"), &[])));

    // Only the API server may request a review.
    let path = "/v1/kubernetes/prod/tokenreview";
    let ask = || api.request("POST", path).json(&token_review(&mine, &[]));
    for (what, request) in [
        ("nothing", ask()),
        ("a user's token", ask().bearer_auth(&session)),
        ("another service's name", ask().basic_auth("wiki", Some(CREDENTIAL))),
        ("a wrong credential", ask().basic_auth("prod", Some("canary-service-credential-0123456780"))),
    ] {
        assert_eq!(Answered::of(request).problem().code, ProblemCode::NotAuthenticated, "{what}");
    }
    assert!(is_authenticated(&Answered::of(ask().basic_auth("prod", Some(CREDENTIAL)))));
    let mut older = token_review(&mine, &[]);
    older["apiVersion"] = json!("authentication.k8s.io/v1beta1");
    let older = api.request("POST", path).bearer_auth(CREDENTIAL).json(&older);
    assert_eq!(Answered::of(older).problem().code, ProblemCode::BadRequest);
    for cluster in ["wiki", "nobody"] {
        assert_eq!(review(&api, cluster, &mine, &[]).status, 404, "{cluster}");
    }
    // The daemon logs each mistake in the API server's configuration as a warning with a hint.
    for (mistake, remedy) in [
        ("received a TokenReview without the cluster's credential", "compare `token`"),
        ("received a TokenReview of an unsupported version", "--authentication-token-webhook-version=v1"),
        ("received a TokenReview for an unknown cluster", "asked_for=\"nobody\" clusters=\"prod, stage\""),
    ] {
        let is_warned = |line: &str| line.contains("WARN") && line.contains(mistake) && line.contains(remedy);
        daemon.wait_for_log_with(mistake, |log| log.lines().any(is_warned));
    }
}

#[test]
fn revoked_session_invalidates_its_tokens_also_after_kill() {
    let provider = Provider::start();
    let mut daemon = daemon(&provider);
    let api = daemon.api();
    let other_session = sign_in(&daemon, &provider, "bob", &[]);
    let other_token = token(&api, &other_session, WIKI);
    let session = sign_in(&daemon, &provider, "alice", &[]);
    let tokens: Vec<String> =
        ["wiki", "old", "prod"].iter().map(|service| token(&api, &session, service)).collect();
    let all_refused = |api: &Api| {
        let [wiki, old, prod] = tokens.as_slice() else { unreachable!("three") };
        introspect(api, "wiki", wiki).body == INACTIVE
            && verify(api, "old", old).status == 401
            && !is_authenticated(&review(api, "prod", prod, &[]))
    };
    // The tokens are cached, over connections that stay open.
    assert!(!all_refused(&api));
    assert_eq!(verify(&api, "wiki", &other_token).status, 200);
    assert_eq!(api.delete_as("/v1/session", &session).status, 204);
    assert!(all_refused(&api), "a token outlives its session");
    assert_eq!(request_token(&api, &session, WIKI).status, 401);

    daemon.kill();
    daemon.start_again();
    let api = daemon.api();
    assert!(all_refused(&api), "a token is back after a kill");
    assert_eq!(verify(&api, "wiki", &other_token).status, 200);
}

#[test]
fn audience_tokens_per_session_are_limited() {
    let provider = Provider::start();
    let daemon = daemon(&provider);
    let api = daemon.api();
    let (session, other) =
        (sign_in(&daemon, &provider, "alice", &[]), sign_in(&daemon, &provider, "bob", &[]));
    let opened =
        (0..300).map(|_| request_token(&api, &session, WIKI)).take_while(|it| it.status == 201).count();
    assert_eq!(opened, 256);
    let refused = request_token(&api, &session, WIKI);
    assert_eq!(refused.problem().code, ProblemCode::TooManyRequests);
    let wait: u64 = refused.header("retry-after").expect("how long").parse().expect("seconds");
    assert!((500..=600).contains(&wait), "{wait} s");
    assert_eq!(request_token(&api, &other, WIKI).status, 201);
}

/// Sets the flag when dropped.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn revoked_session_is_refused_on_every_path_under_load() {
    let provider = Provider::start();
    let daemon = daemon(&provider);
    let api = daemon.api();
    let other_session = sign_in(&daemon, &provider, "bob", &[]);
    let busy = token(&api, &other_session, WIKI);
    let is_done = AtomicBool::new(false);
    let requests = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let api = daemon.api();
            let (is_done, requests, busy) = (&is_done, &requests, &busy);
            scope.spawn(move || {
                while !is_done.load(Ordering::Relaxed) {
                    assert_eq!(verify(&api, "wiki", busy).status, 200, "an honest one is refused");
                    requests.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Stops the threads even if an assertion fails.
        let _ending = SetOnDrop(&is_done);
        let started = Instant::now();
        let mut rounds = 0;
        while rounds < 5 || requests.load(Ordering::Relaxed) < 1_000 {
            assert!(started.elapsed() < Duration::from_mins(5), "too few were answered");
            let session = sign_in(&daemon, &provider, "alice", &[]);
            let tokens: Vec<String> =
                ["wiki", "old", "prod"].iter().map(|service| token(&api, &session, service)).collect();
            let [wiki, old, prod] = tokens.as_slice() else { unreachable!("three") };
            let accepted = || {
                [
                    api.get_as("/v1/session", &session).status == 200,
                    introspect(&api, "wiki", wiki).body != INACTIVE,
                    verify(&api, "old", old).status == 200,
                    is_authenticated(&review(&api, "prod", prod, &[])),
                ]
            };
            assert_eq!(accepted(), [true; 4]);
            assert_eq!(api.delete_as("/v1/session", &session).status, 204);
            // With one daemon, revocation takes effect immediately.
            assert_eq!(accepted(), [false; 4], "a token outlives its session");
            rounds += 1;
        }
        let rate = f64::from(u32::try_from(requests.load(Ordering::Relaxed)).unwrap_or(u32::MAX));
        eprintln!("{:.0} requests/s during {rounds} revocations", rate / started.elapsed().as_secs_f64());
    });
}
