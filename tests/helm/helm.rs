//! The Helm chart: what it renders, what it refuses, and its page. `check.py` does the checks, one part per test.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use infra_harness::peers;
use infra_harness::program::{Running, built};

const LIMIT: Duration = Duration::from_mins(5);

#[track_caller]
fn run_part(part: &str) {
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
    run_part("lint");
}

#[test]
fn chart_package_is_complete_and_reproducible() {
    run_part("package");
}

#[test]
fn every_combination_passes_kubernetes_validation() {
    run_part("kubernetes");
}

#[test]
fn every_rendered_configuration_passes_infrad_check() {
    run_part("check");
}

#[test]
fn role_names_exactly_the_referenced_secrets() {
    run_part("roles");
}

#[test]
fn pods_are_restricted_with_separate_root_key() {
    run_part("restricted");
}

#[test]
fn manifests_and_messages_contain_no_secret() {
    run_part("secrets");
}

#[test]
fn invalid_values_are_refused_with_reason() {
    run_part("refused");
}

#[test]
fn network_policy_matches_configuration() {
    run_part("network");
}

#[test]
fn schema_has_the_keys_of_infrad() {
    run_part("keys");
}

#[test]
fn kubernetes_page_commands_work() {
    run_part("page");
}

#[test]
fn restore_with_different_pod_gets_different_job_name() {
    run_part("restore");
}

#[test]
fn notes_show_how_users_sign_in() {
    run_part("notes");
}

#[test]
fn new_store_is_made_where_the_values_say_so() {
    run_part("new_store");
}

#[test]
fn rollback_is_accepted_where_the_values_say_so() {
    run_part("accept_rollback");
}

#[test]
fn pods_with_a_database_are_replicas_without_volumes() {
    run_part("database");
}
