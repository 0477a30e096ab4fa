//! `infra kubernetes`: the credential plugin for client-go.

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::program::User;
use infra_harness::provider::Provider;
use infra_harness::services::{self, review};
use infra_shared::clock::{Clock, SystemClock};
use serde_json::Value;

const EXEC_INFO: &str = "KUBERNETES_EXEC_INFO";
const V1: &str = r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false}}"#;

fn daemon(provider: &Provider) -> Daemon {
    let cluster = |name: &str| {
        format!("{{name: {name}, kind: kubernetes, credentials: [CREDENTIAL], allow: everyone}}")
    };
    services::daemon(provider, &[&cluster("prod"), &cluster("stage")])
}

#[test]
fn plugin_answers_client_go_with_a_token_for_one_cluster() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let ran = alice.infra(["kubernetes", "token", "--cluster", "prod"]).env(EXEC_INFO, V1).run().expect(0);
    let credential: Value = serde_json::from_str(&ran.stdout).expect("JSON");
    assert_eq!(credential["apiVersion"], "client.authentication.k8s.io/v1");
    assert_eq!(credential["kind"], "ExecCredential");
    let expires: jiff::Timestamp =
        credential["status"]["expirationTimestamp"].as_str().expect("a time").parse().expect("a time");
    let left = expires.duration_since(SystemClock.now()).as_secs();
    assert!((500..=570).contains(&left), "{left} s");
    let token = credential["status"]["token"].as_str().expect("a token");
    let is_let_in =
        |cluster: &str| review(&daemon.api(), cluster, token, &[]).json()["status"]["authenticated"] == true;
    assert!(is_let_in("prod") && !is_let_in("stage"));

    let beta = V1.replace("/v1", "/v1beta1");
    let refused =
        alice.infra(["kubernetes", "token", "--cluster", "prod"]).env(EXEC_INFO, &beta).run().expect(1);
    assert!(
        refused.stdout.is_empty()
            && refused.stderr.contains("requests client.authentication.k8s.io/v1beta1,"),
        "{refused}"
    );
    alice.infra(["logout"]).run().expect(0);
    assert!(!is_let_in("prod"), "the token outlives its session");
    let refused =
        alice.infra(["kubernetes", "token", "--cluster", "prod"]).env(EXEC_INFO, V1).run().expect(3);
    assert!(refused.stdout.is_empty() && refused.stderr.contains("infra login"), "{refused}");
}

#[test]
fn unsafe_api_server_address_is_a_usage_error() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    for address in ["http://k8s.test", "k8s.test:6443", "https://a:b@k8s.test", "https://k8s.test/?a=b"] {
        alice.infra(["kubernetes", "configure", "prod", "--api-server", address]).run().expect(2);
    }
    assert!(!alice.home().join(".kube").exists());
}
