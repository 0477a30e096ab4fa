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
fn helm_finds_nothing_to_say_about_any_combination() {
    holds("lint");
}

#[test]
fn the_chart_is_packed_whole_and_to_the_same_bytes() {
    holds("package");
}

#[test]
fn every_combination_is_valid_for_kubernetes() {
    holds("kubernetes");
}

#[test]
fn every_rendered_configuration_is_accepted_by_infrad() {
    holds("check");
}

#[test]
fn the_role_names_exactly_the_secrets_that_the_configuration_references() {
    holds("roles");
}

#[test]
fn pods_are_restricted_and_the_root_key_is_apart_from_the_data() {
    holds("restricted");
}

#[test]
fn no_manifest_and_no_message_holds_a_secret() {
    holds("secrets");
}

#[test]
fn bad_values_are_refused_and_told() {
    holds("refused");
}

#[test]
fn the_network_is_open_for_what_the_configuration_names() {
    holds("network");
}

#[test]
fn the_schema_has_the_keys_that_infrad_has() {
    holds("keys");
}

#[test]
fn the_page_on_kubernetes_works_as_it_is_written() {
    holds("page");
}

#[test]
fn a_restore_with_another_pod_is_another_job() {
    holds("restore");
}

#[test]
fn the_notes_tell_how_users_sign_in() {
    holds("notes");
}
