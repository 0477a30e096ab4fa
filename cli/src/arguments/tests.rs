//! Tests of command-line parsing.

use clap::CommandFactory;

use super::*;

fn parse(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(line.split_whitespace())
}

#[test]
fn argument_definitions_are_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn server_is_accepted_without_scheme() {
    for text in ["infra.test", "infra.test:443", "https://infra.test"] {
        let arguments = parse(&format!("infra login {text}")).expect("valid arguments");
        let Command::Login(login) = arguments.command else { panic!("it is a login") };
        assert_eq!(login.server.expect("a server").to_string(), "https://infra.test");
    }
}

#[test]
fn timeout_requires_unit_and_respects_limit() {
    for (text, seconds) in [("90s", 90), ("5m", 300), ("1m30s", 90)] {
        let arguments = parse(&format!("infra login --timeout {text}")).expect("valid arguments");
        let Command::Login(login) = arguments.command else { panic!("it is a login") };
        assert_eq!(login.timeout, Duration::from_secs(seconds));
    }
    for text in ["0s", "6m", "-1s", "fast", "30"] {
        assert_eq!(parse(&format!("infra login --timeout {text}")).expect_err(text).exit_code(), 2, "{text}");
    }
}

#[test]
fn last_of_two_opposite_options_wins() {
    let arguments = parse("infra login --keyring --no-keyring").expect("valid arguments");
    let Command::Login(login) = arguments.command else { panic!("it is a login") };
    assert!(login.no_keyring && !login.keyring);
}

#[test]
fn usage_errors_exit_with_2() {
    for line in [
        "infra",
        "infra search",
        "infra login http://infra.test",
        "infra login --fingerprint md5:00",
        "infra login --token x",
        "infra logout a.test --all",
        "infra use",
        "infra completions csh",
        "infra status -q -v",
    ] {
        assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
    }
}

/// An option of every command is one wherever it stands, also between a command and its subcommand.
#[test]
fn global_options_are_accepted_before_subcommands() {
    for line in [
        "infra sessions --server a.test revoke --others",
        "infra sessions revoke --others --server a.test",
        "infra --server a.test sessions revoke --others",
        "infra sessions -v revoke --all",
        "infra kubernetes --server a.test token --cluster prod",
    ] {
        let parsed = parse(line);
        assert!(parsed.is_ok(), "{line}: {:?}", parsed.err().map(|error| error.to_string()));
    }
}

/// Shells split what completes them at colons: what comes after one was a program to run, once.
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
