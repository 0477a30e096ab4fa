//! Tests of command-line errors.

use clap::{Parser, Subcommand};

use super::*;

#[derive(Debug, Parser)]
#[command(name = "tool", version)]
struct Tool {
    #[command(subcommand)]
    command: ToolCommand,
}

#[derive(Debug, Subcommand)]
enum ToolCommand {
    Login {
        #[arg(value_parser = server)]
        server: Option<u16>,
        #[arg(long)]
        provider: Option<String>,
        #[arg(long, conflicts_with = "server")]
        all: bool,
    },
    Use {
        #[arg(value_parser = ["bash", "zsh"])]
        shell: String,
    },
}

fn server(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "a server is a number".to_owned())
}

fn parse(words: &[OsString]) -> Result<Tool, Result<ExitCode, Failure>> {
    super::parse(words, &[("signin", "`tool login`")])
}

fn misuse(line: &str) -> String {
    let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    let failure = parse(&words).expect_err(line).expect_err(line);
    assert_eq!(failure.exit(), Exit::Usage, "{line}");
    failure.text()
}

#[test]
fn misuse_is_explained_by_clap_with_a_hint() {
    for (line, text) in [
        (
            "tool logni",
            "unrecognized subcommand 'logni'\n  tip: a similar subcommand exists: 'login'\n  \
             Usage: tool <COMMAND>\n  try: `tool --help`",
        ),
        ("tool signin x", "unrecognized subcommand 'signin'\n  try: `tool login`"),
        (
            "tool login --provder x",
            "unexpected argument '--provder' found\n  tip: a similar argument exists: '--provider'\n  \
             Usage: tool login --provider <PROVIDER> [SERVER]\n  try: `tool login --help`",
        ),
        (
            "tool login 1 2",
            "unexpected argument '2' found\n  Usage: tool login [OPTIONS] [SERVER]\n  try: `tool login --help`",
        ),
        (
            "tool login 1 --all",
            "the argument '[SERVER]' cannot be used with '--all'\n  Usage: tool login <SERVER>\n  \
             try: `tool login --help`",
        ),
        (
            "tool use",
            "the following required arguments were not provided:\n  <SHELL>\n  Usage: tool use <SHELL>\n  \
             try: `tool use --help`",
        ),
        (
            "tool use tcsh",
            "invalid value 'tcsh' for '<SHELL>'\n  [possible values: bash, zsh]\n  \
             tip: a similar value exists: 'zsh'\n  try: `tool use --help`",
        ),
        (
            "tool login x",
            "invalid value 'x' for '[SERVER]': a server is a number\n  try: `tool login --help`",
        ),
    ] {
        assert_eq!(misuse(line), text, "{line}");
    }
}

#[test]
fn quoted_argument_cannot_reach_the_terminal() {
    for line in [
        "tool login x\u{1b}[2J\nerror:",
        "tool lo\u{7}gni\u{202e}",
        "tool login --pro\u{9b}31m",
        "tool login 1\n",
    ] {
        let text = misuse(line);
        let lines_of_its_own = text.lines().filter(|line| !line.starts_with("  ")).count();
        assert!(text.replace('\n', "").chars().all(crate::printable::is_printable), "{text:?}");
        assert_eq!(lines_of_its_own, 1, "{text}");
    }
    assert!(misuse(&format!("tool login {}", "x".repeat(10_000))).len() < 500);
}

#[cfg(unix)]
#[test]
fn argument_that_is_not_text_is_rejected() {
    use std::os::unix::ffi::OsStringExt;

    let words = ["tool".into(), "login".into(), OsString::from_vec(vec![b'x', 0xff])];
    let failure = parse(&words).expect_err("not text").expect_err("not text");
    assert!(failure.text().starts_with("invalid value 'x\u{fffd}' for '[SERVER]'"), "{failure}");
}

#[test]
fn colour_is_read_before_arguments_are_parsed() {
    use clap::ColorChoice::{Always, Auto, Never};

    for (line, choice) in [
        ("infra --color never --help", Never),
        ("infra login --color=always", Always),
        ("infra --color=always --color auto", Auto),
        ("infra --color", Auto),
        ("infra -- --color=always", Auto),
    ] {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        assert_eq!(colour(&words), choice, "{line}");
    }
}

#[test]
fn nearest_name_is_similar_or_none() {
    let known = ["okta", "github", "infra.example.com"];
    for (typed, name) in [
        ("otka", Some("okta")),
        ("GitHub", Some("github")),
        ("git", Some("github")),
        ("infra.exampel.com", Some("infra.example.com")),
        ("infra", Some("infra.example.com")),
        ("azure", None),
        ("", None),
    ] {
        assert_eq!(nearest(typed, known), name, "{typed}");
    }
}

#[test]
fn secret_that_was_typed_is_not_repeated() {
    const TOKEN: &str = "infra_VmNJEtYXZH.itugRhoJ0123456789abcdef";
    const KEY: &str = "9XKE-3RV1-9XKE-3RV1-9XKE-3RV1-9XKE-3RV1-9XKE-3RV1-9XKE-3RV1-9XKE-3RV1";
    for line in [
        format!("tool login {TOKEN}"),
        format!("tool login {}", &TOKEN[..18]),
        "tool login infra_aud_UVsCIoqRjx.itugRhoJ".to_owned(),
        format!("tool login 1 {KEY}"),
        format!("tool {TOKEN}"),
        format!("tool use {TOKEN}"),
        format!("tool login --token={TOKEN}"),
    ] {
        let told = misuse(&line);
        assert!(!told.contains("itug") && !told.contains("UVsC") && !told.contains("3RV1"), "{told}");
        assert!(told.contains('…') || told.contains("--token"), "{told}");
    }
    let fingerprint = "0a".repeat(32);
    assert!(misuse(&format!("tool login {fingerprint}")).contains(&fingerprint));
}
