//! `completions/`, `man/` and `docs/infrad.md` match the arguments of `infrad`. Packages omit the development provider and its
//! page.

#![cfg(feature = "dev")]

use clap::CommandFactory;
use infra_daemon::arguments::{Arguments, PROGRAM};
use infra_harness::generated;
use infra_harness::program::built;

#[test]
fn completion_scripts_match_the_arguments() {
    generated::compare("completions", "infrad", &generated::completions(&PROGRAM));
}

#[test]
fn manual_pages_match_the_arguments() {
    generated::compare("man", "infrad", &generated::manual_pages(&Arguments::command(), "8"));
}

#[test]
fn command_reference_matches_the_arguments() {
    generated::compare_file("docs/infrad.md", &generated::reference(&Arguments::command()));
}

#[test]
fn mandoc_and_groff_accept_the_manual_pages() {
    generated::lint(&generated::manual_pages(&Arguments::command(), "8"));
}

/// Shells split value names at colons, and the text after a colon once became a program to run.
#[test]
fn value_names_contain_no_colon() {
    fn check(command: &clap::Command) {
        for argument in command.get_arguments() {
            let names = argument.get_value_names().unwrap_or_default();
            assert!(names.iter().all(|name| !name.contains(':')), "{} {argument}", command.get_name());
        }
        command.get_subcommands().for_each(check);
    }
    check(&Arguments::command());
}

/// An environment file with a variable that was never set would otherwise decide which daemon a command means.
#[test]
fn empty_config_variable_is_named() {
    let run = |arguments: &[&str]| {
        let mut infrad = std::process::Command::new(built("infrad"));
        let output = infrad.args(arguments).env("INFRAD_CONFIG", "").output().expect("infrad runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for arguments in [&["check"][..], &["check", "--config", "/nonexistent.yaml"], &["serve"], &["status"]] {
        let (code, text) = run(arguments);
        let words =
            ["error: INFRAD_CONFIG is set, but empty", "try: set INFRAD_CONFIG to its value, or unset it"];
        assert!(
            code == Some(2) && words.iter().all(|words| text.contains(words)),
            "{arguments:?}: {code:?} {text}"
        );
    }
    assert_eq!(run(&["--help"]).0, Some(0));
    let mut infrad = std::process::Command::new(built("infrad"));
    let output = infrad.args(["check", "--config="]).output().expect("infrad runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && text.contains("--config"), "{text}");
}
