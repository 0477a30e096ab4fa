//! `kubectl` with `infra` as its plugin, and an API server with the daemon's webhook, set up as in
//! `docs/kubernetes.md`.

use std::ffi::OsStr;
use std::time::Duration;

use infra_harness::api::Answered;
use infra_harness::browser;
use infra_harness::login;
use infra_harness::program::{Ran, User, built};
use infra_harness::services::token;
use infra_harness::skip;
use infra_peers::kubernetes_api::cluster::{Cluster, run_with_token};
use infra_peers::kubernetes_api::documentation::{self, GROUP};
use infra_peers::kubernetes_api::{ACCEPTED, private_file};
use serde_json::{Value, json};

const LIST: [&str; 5] = ["get", "configmaps", "--namespace", "web", "--output=name"];
const ALICE: &str = "infra:alice@example.test";

fn groups(groups: &[&str]) -> (&'static str, Value) {
    ("groups", json!(groups))
}

/// The documented services, open to everyone.
fn open_to_all(services: &str) -> String {
    let rule = format!("[{{provider: okta, groups: [{GROUP}]}}]");
    assert!(services.contains(&rule), "{services}");
    services.replace(&rule, "everyone")
}

/// Fails the test unless `kubectl` got the list.
#[track_caller]
fn is_listed(ran: Ran) {
    let ran = ran.expect(0);
    assert_eq!(ran.stdout, "configmap/settings\n", "{ran}");
}

/// Fails the test unless the API server authenticated the user and denied the request.
#[track_caller]
fn is_forbidden(ran: Ran, user: &str) {
    let words = ["Error from server (Forbidden)", "cannot list resource \"configmaps\"", user];
    ran.expect(1).stderr_contains(&words).stdout_is_empty();
}

/// Fails the test unless the API server rejected the credentials.
#[track_caller]
fn is_unauthorized(ran: Ran) {
    ran.expect(1).stderr_contains(&["You must be logged in to the server"]).stdout_is_empty();
}

#[test]
fn kubectl_acts_as_the_daemons_user_with_its_group_bindings() {
    let Some(cluster) = Cluster::start() else { return };
    let alice = cluster.sign_in("alice", &[groups(&[GROUP, "Everyone"])]);
    let user = cluster.whoami(&alice);
    assert_eq!(user["username"], ALICE);
    assert_eq!(user["groups"], json!(["infra:engineering", "infra:Everyone", "system:authenticated"]));
    assert_eq!(user["uid"], format!("{}#sub-alice", cluster.provider.issuer()));
    let session = alice.infra(["status", "--json"]).run().expect(0).json();
    assert_eq!(user["extra"], json!({ "infra.session/id": [session["session"]["id"]] }), "{session}");

    is_forbidden(cluster.run(&alice, &LIST), ALICE);
    cluster.api.apply(&documentation::role_binding());
    is_listed(cluster.run(&alice, &LIST));
    cluster.run(&alice, &["create", "configmap", "more", "--namespace=web"]).expect(0);
    is_forbidden(cluster.run(&alice, &["get", "configmaps", "--namespace=default"]), ALICE);
    cluster.kubectl.run_helm(&alice, &["list", "--namespace=web"]).expect(0);

    // Every request carried the plugin's token, and a single review covered all of them.
    let requests = cluster.api.take_requests();
    let is_alice = |name: &str| name == ALICE;
    assert!(
        requests.iter().all(|(_, user)| user.as_ref().is_some_and(|user| is_alice(&user.name))),
        "{requests:?}"
    );
    assert_eq!(cluster.api.reviews(), 1);
    let names = [token_in(&alice), login::token(&alice)];
    let log = cluster.daemon.complete_log();
    assert!(names.iter().all(|secret| !log.contains(secret)), "a token is logged");
}

/// The cluster's audience token that `infra` caches.
fn token_in(user: &User) -> String {
    let kept: Value = serde_json::from_str(&user.file("sessions.json").expect("a session")).expect("JSON");
    let session = kept.get("sessions").and_then(|sessions| sessions.as_object()?.values().next());
    let token = session.and_then(|session| session.pointer("/audienceTokens/prod/token"));
    token.and_then(Value::as_str).expect("a token for the cluster").to_owned()
}

#[test]
fn user_without_group_is_authenticated_but_forbidden() {
    let Some(cluster) = Cluster::start_with(open_to_all) else { return };
    cluster.api.apply(&documentation::role_binding());
    let bob = cluster.sign_in("bob", &[groups(&["finance", "engineering2", "Engineering"])]);
    assert_eq!(cluster.whoami(&bob)["username"], "infra:bob@example.test");
    is_forbidden(cluster.run(&bob, &LIST), "infra:bob@example.test");
    let alice = cluster.sign_in("alice", &[groups(&[GROUP])]);
    is_listed(cluster.run(&alice, &LIST));
}

#[test]
fn user_without_admission_gets_no_cluster_token() {
    let Some(cluster) = Cluster::start() else { return };
    let bob = cluster.sign_in("bob", &[groups(&["finance"])]);
    cluster
        .run(&bob, &LIST)
        .expect(1)
        .stderr_contains(&["does not issue you a token for `prod`", "getting credentials"]);
    assert_eq!(cluster.api.take_requests(), []);
}

#[test]
fn provider_group_named_like_kubernetes_group_grants_nothing() {
    let Some(cluster) = Cluster::start_with(open_to_all) else { return };
    let mallory = [groups(&["system:masters", "system:authenticated", "masters"])];
    let mallory = cluster.sign_in("mallory", &mallory);
    is_forbidden(cluster.run(&mallory, &LIST), "infra:mallory@example.test");
    let user = cluster.whoami(&mallory);
    let expected =
        ["infra:system:masters", "infra:system:authenticated", "infra:masters", "system:authenticated"];
    assert_eq!(user["groups"], json!(expected));

    // The prefix also protects against names, if the service uses the subject as name.
    let by_subject = |services: &str| format!("{}    username: subject\n", open_to_all(services));
    let Some(cluster) = Cluster::start_with(by_subject) else { return };
    let mallory = cluster.sign_in("mallory", &[("sub", json!("system:admin"))]);
    assert_eq!(cluster.whoami(&mallory)["username"], "infra:system:admin");
}

#[test]
fn unverified_email_is_never_a_user_name() {
    let by_subject = |services: &str| format!("{services}    username: subject\n");
    let Some(mut cluster) = Cluster::start_with(by_subject) else { return };
    let unverified = [("email", json!("alice@example.test")), ("email_verified", json!(false))];
    let mallory = cluster.sign_in("mallory", &unverified);
    assert_eq!(cluster.whoami(&mallory)["username"], "infra:sub-mallory");

    // Once addresses are names, the API server rejects an earlier token.
    cluster.daemon.change(|configuration| {
        configuration.more = configuration.more.replace("    username: subject\n", "");
    });
    cluster.daemon.restart();
    let binding = documentation::role_binding().replace("alice@example.com", "alice@example.test");
    cluster.api.apply(&binding.replace("infra:engineering", "infra:nobody"));
    cluster.api.advance_clock(ACCEPTED);
    is_unauthorized(cluster.run(&mallory, &LIST));
    let reason = "the user has no name in this cluster";
    assert!(cluster.api.log().contains(reason), "{}", cluster.api.log());
    is_listed(cluster.run(&cluster.sign_in("alice", &[]), &LIST));

    // The daemon issues no new token without `email_verified: true`.
    cluster.api.take_requests();
    for vouched in [json!(false), Value::Null, json!("false"), json!(0)] {
        let claims = [("email", json!("alice@example.test")), ("email_verified", vouched)];
        let refused = cluster.run(&cluster.sign_in("mallory", &claims), &LIST).expect(1).stdout_is_empty();
        refused.stderr_contains(&["does not issue you a token for `prod`", "has not verified your e-mail"]);
    }
    assert_eq!(cluster.api.take_requests(), []);
}

#[test]
fn revoked_session_is_rejected_after_api_server_cache_expires() {
    let Some(mut cluster) = Cluster::start() else { return };
    // The API server caches an accepted token for another ten seconds after the webhook's cache.
    let still_let_in: [(Duration, &[u64]); 2] =
        [(Duration::from_secs(1), &[0, 9]), (Duration::from_mins(2), &[0, 119, 9])];
    for (ttl, pauses) in still_let_in {
        cluster.restart_api(|flags| flags.cache_ttl = ttl);
        cluster.api.apply(&documentation::role_binding());
        let alice = cluster.sign_in("alice", &[]);
        is_listed(cluster.run(&alice, &LIST));
        let shown = token_in(&alice);
        alice.infra(["logout"]).run().expect(0);

        // `kubectl` no longer gets a token.
        cluster.api.take_requests();
        cluster.run(&alice, &LIST).expect(1).stderr_contains(&["infra login", "failed with exit code 3"]);
        assert_eq!(cluster.api.take_requests(), []);

        // A copied token works until the API server sends its next review.
        for seconds in pauses {
            cluster.api.advance_clock(Duration::from_secs(*seconds));
            is_listed(cluster.run_with_token(&alice, &shown, &LIST));
        }
        cluster.api.advance_clock(Duration::from_secs(1));
        is_unauthorized(cluster.run_with_token(&alice, &shown, &LIST));
    }
}

#[test]
fn session_revoked_elsewhere_opens_no_cluster() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.api.apply(&documentation::role_binding());
    let alice = cluster.sign_in("alice", &[]);
    is_listed(cluster.run(&alice, &LIST));
    let (session, kept) = (login::token(&alice), token_in(&alice));
    assert_eq!(cluster.daemon.api().delete_as("/v1/session", &session).status, 204);
    cluster.api.advance_clock(ACCEPTED);
    cluster.run(&alice, &LIST).expect(1).stderr_contains(&[
        "was revoked",
        "infra login",
        "failed with exit code 3",
    ]);
    is_unauthorized(cluster.run_with_token(&alice, &kept, &LIST));
    // `infra login` alone restores access.
    alice.infra(["status"]).run().expect(3);
    login::succeed(&alice, &cluster.daemon, &cluster.provider);
    is_listed(cluster.run(&alice, &LIST));
}

#[test]
fn token_for_another_service_opens_no_cluster() {
    let more = |services: &str| {
        let stage = services.replace("services:\n", "").replace("name: prod", "name: stage");
        format!("{services}{stage}  - {{name: wiki, allow: everyone}}\n")
    };
    let Some(cluster) = Cluster::start_with(more) else { return };
    cluster.api.apply(&documentation::role_binding());
    let alice = cluster.sign_in("alice", &[]);
    is_listed(cluster.run(&alice, &LIST));

    // A kubeconfig with the service of another cluster.
    cluster.configure(&alice, "stage");
    is_unauthorized(cluster.run(&alice, &LIST));
    let (api, session) = (cluster.daemon.api(), login::token(&alice));
    let for_wiki = token(&api, &session, "wiki");
    let mut changed = token(&api, &session, "prod");
    is_listed(cluster.run_with_token(&alice, &changed, &LIST));
    changed.pop();
    for refused in [&session, &for_wiki, &changed, "infra_aud_", "none"] {
        is_unauthorized(cluster.run_with_token(&alice, refused, &LIST));
    }
    // A request without a token is anonymous; a request with an invalid token is rejected.
    let client = browser::client(&[cluster.api.authority_file()]).expect("a client");
    let ask = |path: &str| client.get(format!("{}{path}", cluster.api.address()));
    assert_eq!(Answered::of(ask("/version")).status, 200);
    assert_eq!(Answered::of(ask("/api")).status, 403);
    assert_eq!(Answered::of(ask("/version").bearer_auth(&changed)).status, 401);
}

#[test]
fn cluster_rejects_users_only_while_daemon_is_unreachable() {
    let Some(mut cluster) = Cluster::start() else { return };
    cluster.api.apply(&documentation::role_binding());
    let alice = cluster.sign_in("alice", &[]);
    is_listed(cluster.run(&alice, &LIST));
    cluster.daemon.kill();
    // The API server still accepts a token from its cache.
    is_listed(cluster.run(&alice, &LIST));
    cluster.api.advance_clock(ACCEPTED);
    is_unauthorized(cluster.run(&alice, &LIST));
    is_unauthorized(cluster.run(&alice, &["auth", "whoami"]));
    assert!(cluster.api.log().contains("Connection refused"), "{}", cluster.api.log());

    // Failures are not cached.
    cluster.daemon.start_again();
    is_listed(cluster.run(&alice, &LIST));
}

#[test]
fn misconfigured_api_server_rejects_users_and_logs_why() {
    let Some(mut cluster) = Cluster::start() else { return };
    let file = std::fs::read_to_string(&cluster.flags.webhook).expect("the webhook's file");
    let foreign = cluster.provider.authority_file().display().to_string();
    let own = cluster.daemon.directory().join("infra-ca.pem").display().to_string();
    let alice = cluster.sign_in("alice", &[]);
    let webhook = |name: &str, text: &str| private_file(cluster.daemon.directory(), name, text);
    let wrong = [
        (webhook("credential", &file.replace("canary-service", "wrong")), "401"),
        (webhook("authority", &file.replace(&own, &foreign)), "UnknownIssuer"),
        (webhook("cluster", &file.replace("/prod/", "/stage/")), "404"),
    ];
    let right = cluster.flags.webhook.clone();
    // Control: client-go accepts the daemon's certificate.
    cluster.kubectl.get(&right, "/v1/server").expect(0);
    let authority = cluster.daemon.directory().join("authority");
    let refused = cluster.kubectl.get(&authority, "/v1/server").expect(1);
    refused.stderr_contains(&["certificate signed by unknown authority"]).stdout_is_empty();
    for (file, reason) in wrong {
        cluster.restart_api(|flags| flags.webhook = file);
        cluster.configure(&alice, "prod");
        is_unauthorized(cluster.run(&alice, &LIST));
        assert!(cluster.api.log().contains(reason), "{reason}\n{}", cluster.api.log());
    }
    cluster.restart_api(|flags| {
        flags.webhook = right;
        flags.audiences = vec!["https://another.cluster".to_owned()];
    });
    cluster.configure(&alice, "prod");
    is_unauthorized(cluster.run(&alice, &LIST));
    assert!(cluster.api.log().contains("none of the requested audiences"), "{}", cluster.api.log());
    cluster.daemon.wait_for_log("apiAudiences");
}

#[test]
fn plugin_is_found_by_name_and_missing_one_is_reported() {
    let Some(cluster) = Cluster::start() else { return };
    let alice = cluster.sign_in("alice", &[]);
    let folder = alice.home().join("programs");
    std::fs::create_dir(&folder).expect("a folder");
    std::os::unix::fs::symlink(built("infra"), folder.join("infra")).expect("a link");
    let configure = ["kubernetes", "configure", "prod", "--use", "--api-server", &cluster.api.address()];
    let path = format!("{}:{}", folder.display(), cluster.kubectl.path());
    alice.infra(configure).env("PATH", path).run().expect(0);
    let kubeconfig = std::fs::read_to_string(alice.home().join(".kube/config")).expect("a kubeconfig");
    assert!(kubeconfig.contains("command: infra\n"), "{kubeconfig}");

    let list = |path: &OsStr| cluster.kubectl.start(&alice, &["auth", "whoami"], &[("PATH", path)]).wait();
    list(folder.as_os_str()).expect(0);
    let missing = list(OsStr::new("/nowhere")).expect(1).stdout_is_empty();
    missing.stderr_contains(&["executable infra not found"]);
}

#[test]
fn concurrent_plugins_get_token_after_cached_one_expired() {
    const AT_ONCE: usize = 20;
    let Some(cluster) = Cluster::start() else { return };
    cluster.api.apply(&documentation::role_binding());
    let alice = cluster.sign_in("alice", &[]);
    is_listed(cluster.run(&alice, &LIST));
    let expired = token_in(&alice);
    alice.edit_session(|session| {
        session["audienceTokens"]["prod"]["expiresAt"] = json!("2026-01-01T00:00:00Z");
    });
    let running: Vec<_> = (0..AT_ONCE).map(|_| cluster.kubectl.start(&alice, &LIST, &[])).collect();
    for running in running {
        is_listed(running.wait());
    }
    assert_ne!(token_in(&alice), expired);
    let before = cluster.api.reviews();
    is_listed(cluster.run(&alice, &LIST));
    assert_eq!(cluster.api.reviews(), before, "another token than the kept one is shown");
}

#[test]
fn cluster_of_another_daemon_rejects_the_token() {
    let (Some(cluster), Some(other)) = (Cluster::start(), Cluster::start()) else { return };
    let bob = other.sign_in("bob", &[]);
    other.whoami(&bob);
    let (address, authority) = other.place();
    is_refused_there(&cluster, &address, &authority, &token_in(&bob));
}

#[test]
fn plugin_reaches_real_api_server_if_configured() {
    #[expect(clippy::disallowed_methods, reason = "whoever runs the tests says where an API server is")]
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let names = ["INFRA_TEST_KUBERNETES_URL", "INFRA_TEST_KUBERNETES_TOKEN", "INFRA_TEST_KUBERNETES_CA"];
    let [Some(address), Some(token), Some(authority)] = names.map(variable) else {
        return skip::report("no API server is given in INFRA_TEST_KUBERNETES_URL, _TOKEN and _CA");
    };
    // An existing API server cannot use this test's daemon.
    let Some(cluster) = Cluster::start() else { return };
    is_refused_there(&cluster, &address, &authority, &token);
}

/// Shows that the plugin's token reaches a real API server, which rejects it, while it accepts its own token.
#[track_caller]
fn is_refused_there(cluster: &Cluster, address: &str, authority: &str, own_token: &str) {
    let whoami = ["auth", "whoami"];
    let alice = cluster.sign_in("alice", &[]);
    run_with_token(&cluster.kubectl, &alice, (address, authority), own_token, &whoami).expect(0);
    let words = ["kubernetes", "configure", "prod", "--use", "--api-server", address];
    let more = ["--certificate-authority", authority];
    alice.infra(words.iter().chain(&more)).env("PATH", cluster.kubectl.path()).run().expect(0);
    is_unauthorized(cluster.run(&alice, &whoami));
}
