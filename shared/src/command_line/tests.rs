//! Tests of command-line errors.

use clap::{Arg, ArgAction, Command};

use super::*;

fn misuse(line: &str) -> Misuse {
    let command = Command::new("tool")
        .subcommand_required(true)
        .subcommand(
            Command::new("login")
                .arg(Arg::new("server").value_parser(|text: &str| {
                    text.parse::<u16>().map_err(|_| "a server is a number".to_owned())
                }))
                .arg(Arg::new("provider").long("provider"))
                .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).conflicts_with("server")),
        )
        .subcommand(Command::new("use").arg(Arg::new("shell").required(true).value_parser(["bash", "zsh"])));
    let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    let error = command.clone().try_get_matches_from(&words).expect_err(line);
    Misuse::of(&error, &command, &words).expect("no answer that was asked for")
}

#[test]
fn every_misuse_has_message_reason_and_hint() {
    for (line, what, because, hint) in [
        (
            "tool logni",
            "`logni` is not a command of `tool`",
            "it has login, use, help",
            "`login`? `tool --help` has them all",
        ),
        (
            "tool login --provder x",
            "`--provder` is not an option of `tool login`",
            "it is called as `tool login [OPTIONS] [server]`",
            "`--provider`? `tool login --help` has them all",
        ),
        (
            "tool login 1 2",
            "`tool login` does not take `2`",
            "it is called as `tool login [OPTIONS] [server]`",
            "`tool login --help`",
        ),
        (
            "tool login 1 --all",
            "`server` and `--all` exclude each other",
            "it is called as `tool login [OPTIONS] [server]`",
            "`tool login --help`",
        ),
        ("tool use", "`shell` is missing", "it is called as `tool use <shell>`", "`tool use --help`"),
        (
            "tool use zhs",
            "`zhs` cannot be used for `shell`",
            "it is one of bash, zsh",
            "`zsh`? `tool use --help` has them all",
        ),
        (
            "tool login x\u{1b}[2J",
            "`x[2J` cannot be used for `server`",
            "a server is a number",
            "`tool login --help`",
        ),
    ] {
        let Misuse { what: said, because: why, hint: tried } = misuse(line);
        assert_eq!((said.as_str(), why.as_str(), tried.as_str()), (what, because, hint), "{line}");
    }
}

#[test]
fn requested_help_is_not_a_misuse() {
    let command = Command::new("tool");
    let error = command.clone().try_get_matches_from(["tool", "--help"]).expect_err("help");
    assert_eq!(Misuse::of(&error, &command, &["tool".into(), "--help".into()]), None);
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
