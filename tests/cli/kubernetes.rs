//! `infra kubernetes`: the credential plugin for client-go, and the kubeconfig that names it.

use std::process::Command;

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::peers;
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

fn configure<'a>(user: &'a User, more: &[&'a str]) -> infra_harness::program::Call<'a> {
    let words = ["kubernetes", "configure", "prod", "--api-server", "https://k8s.test:6443"];
    user.infra(words.iter().chain(more))
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
    assert!(refused.stdout.is_empty() && refused.stderr.contains("v1beta1 is asked for"), "{refused}");
    alice.infra(["logout"]).run().expect(0);
    assert!(!is_let_in("prod"), "the token outlives its session");
    let refused =
        alice.infra(["kubernetes", "token", "--cluster", "prod"]).env(EXEC_INFO, V1).run().expect(3);
    assert!(refused.stdout.is_empty() && refused.stderr.contains("infra login"), "{refused}");
}

#[test]
fn kubectl_reads_the_configured_kubeconfig() {
    let Some(tools) = peers::find("kubernetes-tools", "kubectl") else { return };
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    configure(&alice, &["--namespace", "web", "--use"]).run().expect(0);
    let file = alice.home().join(".kube/config");
    let text = std::fs::read_to_string(&file).expect("a kubeconfig");
    configure(&alice, &["--namespace", "web", "--use"]).run().expect(0);
    assert_eq!(std::fs::read_to_string(&file).expect("a kubeconfig"), text, "a second run changes something");

    let mut view = Command::new(tools.join("kubectl"));
    view.args(["config", "view", "--minify", "--output", "json"]).env_clear().env("HOME", alice.home());
    let ran = view.output().expect("kubectl runs");
    let view: Value = serde_json::from_slice(&ran.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&ran.stderr)));
    assert_eq!(view["current-context"], "prod");
    assert_eq!(view["clusters"][0]["cluster"]["server"], "https://k8s.test:6443");
    assert_eq!(view["contexts"][0]["context"]["namespace"], "web");
    let exec = &view["users"][0]["user"]["exec"];
    assert_eq!(exec["interactiveMode"], "Never");
    let words: Vec<&str> = exec["args"].as_array().expect("words").iter().filter_map(Value::as_str).collect();
    assert_eq!(words, ["--server", &daemon.origin(), "kubernetes", "token", "--cluster", "prod"]);
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
