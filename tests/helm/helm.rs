//! The Helm chart: what it renders, what it refuses, and its page. `check.py` does the checks, one part per test.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use infra_harness::peers;
use infra_harness::program::{Running, built};

const LIMIT: Duration = Duration::from_mins(5);

#[track_caller]
fn holds(part: &str) {
    let tools = peers::find("kubernetes-tools", "helm");
    let python = peers::find("kubernetes-validate", "bin/kubernetes-validate");
    let (Some(tools), Some(python)) = (tools, python) else { return };
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let repository = repository.canonicalize().expect("the repository");
    let mut command = Command::new(python.join("bin/python"));
    command.arg(repository.join("tests/helm/check.py")).arg(part).arg(&repository);
    command.arg(tools).arg(built("infrad")).stdin(Stdio::null());
    Running::start(command, format!("check.py {part}"), None, LIMIT).wait().expect(0);
}

#[test]
fn every_combination_passes_helm_lint() {
    holds("lint");
}

#[test]
fn chart_package_is_complete_and_reproducible() {
    holds("package");
}

#[test]
fn every_combination_passes_kubernetes_validation() {
    holds("kubernetes");
}

#[test]
fn every_rendered_configuration_passes_infrad_check() {
    holds("check");
}

#[test]
fn role_names_exactly_the_referenced_secrets() {
    holds("roles");
}

#[test]
fn pods_are_restricted_with_separate_root_key() {
    holds("restricted");
}

#[test]
fn manifests_and_messages_contain_no_secret() {
    holds("secrets");
}

#[test]
fn invalid_values_are_refused_with_reason() {
    holds("refused");
}

#[test]
fn network_policy_matches_configuration() {
    holds("network");
}

#[test]
fn schema_has_the_keys_of_infrad() {
    holds("keys");
}

#[test]
fn kubernetes_page_commands_work() {
    holds("page");
}

#[test]
fn restore_with_different_pod_gets_different_job_name() {
    holds("restore");
}

#[test]
fn notes_show_how_users_sign_in() {
    holds("notes");
}
