//! Help: examples that work verbatim, correct use of colour, and lines that fit the terminal.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use infra_cli::arguments::Arguments;
use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::peers;
use infra_harness::program::{RecordingBrowser, Running, User, built};
use infra_harness::provider::Provider;
use infra_harness::tmux::Screen;

const COMMANDS: [&str; 13] = [
    "login",
    "logout",
    "status",
    "token",
    "exec",
    "delegate",
    "kubernetes",
    "helper",
    "sessions",
    "use",
    "trust",
    "doctor",
    "completions",
];
const FINGERPRINT: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

#[test]
fn every_command_has_help_with_examples() {
    let mut program = Arguments::command();
    program.build();
    let commands: Vec<&clap::Command> =
        program.get_subcommands().filter(|command| command.get_name() != "help").collect();
    for command in commands {
        let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        assert!(!examples(&help).is_empty(), "{} has no examples", command.get_name());
        let longest = examples_as_shown(&help).map(str::len).max().unwrap_or_default();
        assert!(longest <= 96, "a line of {longest} characters would be broken where it is typed");
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
    }
}

#[test]
fn unwritable_help_is_reported_with_its_reason() {
    let ran = User::new().infra(["--help"]).under(["bash", "-c", "exec \"$@\" >/dev/full", "bash"]).run();
    ran.expect(1).stderr_contains(&["cannot write to standard output", "No space left"]);
}

#[test]
fn every_example_parses() {
    let mut checked = 0;
    for command in COMMANDS.map(Some).into_iter().chain([None]) {
        for example in examples(&long_help(command)) {
            for call in example.split(['|', '&', '$', '>']).filter_map(|part| part.split_once("infra ")) {
                let call = call.1.split([')', '\'', ';']).next().unwrap_or_default();
                // The tool adds the operation.
                let operation = call.starts_with("helper ").then_some("get");
                let words = std::iter::once("infra").chain(call.split_whitespace()).chain(operation);
                Arguments::try_parse_from(words).unwrap_or_else(|error| panic!("{example}: {error}"));
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn examples_work_verbatim() {
    if ["jq", "curl", "git"].into_iter().any(|program| peers::find_program(program).is_none()) {
        return;
    }
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start_with(&provider, |configuration| {
        "services: [{name: grafana, audience: https://grafana.example.com, allow: everyone}]\n"
            .clone_into(&mut configuration.more);
    });
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    // The daemon plays the examples' service, and answers who a token belongs to.
    fs::write(alice.home().join(".curlrc"), "insecure\nsilent\nfail\nmax-time = 10\n")
        .expect("the user's own file");
    let deploy = alice.home().join("deploy");
    fs::write(&deploy, "#!/bin/sh\n").expect("the user's own file");
    fs::set_permissions(&deploy, fs::Permissions::from_mode(0o755)).expect("the user's own file");
    let run = |line: &str| {
        let host = daemon.origin().replace("https://", "");
        let line = line
            .replace("https://service.example.com", &format!("{}/v1/session", daemon.origin()))
            .replace("@- https://grafana.example.com", &format!("@- {}/v1/verify/grafana", daemon.origin()))
            .replace("infra.example.com", &host)
            .replace(FINGERPRINT, &daemon.fingerprint());
        let mut shell = Command::new("bash");
        let folder = built("infra").parent().expect("a folder").display().to_string();
        shell
            .args(["-e", "-o", "pipefail", "-c", &line])
            .env_clear()
            .env("HOME", alice.home())
            .env("SSL_CERT_FILE", provider.authority_file())
            .env("TZ", "UTC");
        shell.env("PATH", format!("{folder}:/usr/local/bin:/usr/bin:/bin")).current_dir(alice.home());
        browser.prepare(&mut shell);
        Running::start(shell, line, None, Duration::from_mins(1)).wait()
    };
    let mut ran = Vec::new();
    for command in COMMANDS.into_iter().filter(|command| *command != "completions").map(Some).chain([None]) {
        login::succeed(&alice, &daemon, &provider);
        for example in examples(&long_help(command)) {
            // Two examples need something else: a terminal without a browser, and a file from the operator.
            if !example.contains("--no-browser") && !example.contains("ca.pem") {
                ran.push(run(&example).expect(0));
            }
        }
    }
    let signed = ran.iter().filter(|ran| ran.name.contains("/v1/session")).collect::<Vec<_>>();
    assert!(!signed.is_empty() && signed.iter().all(|ran| ran.stdout.contains("sub-alice")), "{signed:?}");
    let seconds = ran.iter().find(|ran| ran.name.contains("jq")).expect("an example for scripts");
    assert!(seconds.stdout.trim().parse::<u32>().is_ok(), "{seconds}");
    assert!(ran.len() > 12, "{}", ran.len());
}

#[test]
fn documentation_installs_completions_like_the_help() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/completions.md");
    let documentation = fs::read_to_string(path).expect("the documentation").replace("\\|", "|");
    for line in examples(&long_help(Some("completions"))) {
        assert!(documentation.contains(&format!("`{line}`")), "{line}");
    }
}

#[test]
fn colour_follows_terminal_variables_and_option() {
    let alice = User::new();
    let talk: [&[&str]; 3] = [&["use", "nowhere.example"], &["logni"], &["login", "--pasword"]];
    let terminal: [(&[(&str, &str)], bool); 7] = [
        (&[("TERM", "xterm")], true),
        (&[("TERM", "xterm"), ("NO_COLOR", "1")], false),
        (&[("TERM", "dumb")], false),
        (&[("TERM", "xterm"), ("CLICOLOR", "0")], false),
        (&[("TERM", "xterm"), ("COLOR", "never")], false),
        (&[("TERM", "xterm"), ("NO_COLOR", "1"), ("COLOR", "always")], true),
        (&[("TERM", "dumb"), ("CLICOLOR_FORCE", "1")], true),
    ];
    let pipe: [(&[(&str, &str)], bool); 4] = [
        (&[("TERM", "xterm")], false),
        (&[("TERM", "xterm"), ("CLICOLOR_FORCE", "1")], true),
        (&[("COLOR", "always")], true),
        (&[("CLICOLOR_FORCE", "1"), ("COLOR", "never")], false),
    ];
    // `COLOR` represents the `--color` option.
    let call = |words: &[&str], variables: &[(&str, &str)]| {
        let option = variables.iter().filter(|(name, _)| *name == "COLOR");
        let option: Vec<String> = option.map(|(_, value)| format!("--color={value}")).collect();
        let mut call = alice.infra(words.iter().map(ToString::to_string).chain(option));
        for (name, value) in variables {
            call = call.env(name, value);
        }
        call
    };
    for words in talk {
        for (variables, wanted) in terminal {
            let ran = call(words, variables).start_in_terminal().wait();
            assert_eq!(ran.stderr.contains('\u{1b}'), wanted, "at a terminal, {variables:?}\n{ran}");
        }
        for (variables, wanted) in pipe {
            let ran = call(words, variables).run();
            assert_eq!(ran.stderr.contains('\u{1b}'), wanted, "into a pipe, {variables:?}\n{ran}");
        }
    }
    for (variables, wanted) in pipe {
        let ran = call(&["--help"], variables).run().expect(0);
        assert_eq!(ran.stdout.contains('\u{1b}'), wanted, "help into a pipe, {variables:?}\n{ran}");
    }
}

#[test]
fn lines_fit_narrow_and_wide_terminals() {
    for width in [40, 80, 200] {
        for call in [
            "--help",
            "login --help",
            "token --help",
            "logni",
            "use nowhere.example.com",
            "login --timeout 1h x",
            "status a.test",
        ] {
            let Some((text, unbroken)) = shown(call, width) else { return };
            // The terminal may only wrap text for pasting: a fingerprint, an address or a command.
            for whole in unbroken.lines().map(str::trim_end).filter(|line| line.chars().count() > width) {
                let is_one = !whole.trim_start().trim_matches('`').contains(' ')
                    || whole.trim_start().starts_with('`');
                assert!(is_one && width == 40, "{width} columns, `infra {call}`: {whole}\n{text}");
            }
            assert!(text.lines().all(|line| line.chars().count() <= 100), "{width}: {text}");
        }
    }
}

/// Runs `infra` in a terminal of this width. Returns the visible text, and the text with wrapped lines
/// joined.
fn shown(call: &str, width: usize) -> Option<(String, String)> {
    let alice = User::new();
    let home = alice.home().display().to_string();
    let line = format!("{} {call}; echo END; exec sleep 60", built("infra").display());
    let screen =
        Screen::start(&["sh", "-c", &line], &[("HOME", &home), ("PATH", "/usr/bin:/bin")], width, 300)?;
    screen.wait_for("the end", |text| text.lines().any(|line| line == "END").then_some(()));
    Some((screen.text(), screen.unbroken()))
}

/// The command lines in a help text.
fn examples(help: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in examples_as_shown(help) {
        match lines.last_mut() {
            Some(before) if before.ends_with('\\') => {
                before.pop();
                before.push_str(line.trim_start());
            }
            Some(before) if before.ends_with(['|', '&']) => {
                *before = format!("{before} {}", line.trim_start());
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

fn examples_as_shown(help: &str) -> impl Iterator<Item = &str> {
    let examples = help.split_once("Examples:\n").map_or("", |(_, rest)| rest);
    let examples = examples.split("\n\n").next().unwrap_or_default();
    examples.lines().filter_map(|line| line.strip_prefix("    "))
}

fn long_help(command: Option<&str>) -> String {
    let mut program = Arguments::command();
    program.build();
    let command = command.map_or(Some(&program), |name| program.find_subcommand(name)).expect("a command");
    command.get_after_long_help().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn command_of_another_name_is_named() {
    for (program, word, meant) in [
        ("infra", "dev", "try: `infrad dev`"),
        ("infra", "serve", "try: `infrad serve`"),
        ("infra", "whoami", "try: `infra status`"),
        ("infrad", "start", "`infrad dev` to try Infra"),
        ("infrad", "login", "try: `infra login`"),
    ] {
        let output = Command::new(built(program)).arg(word).output().expect("a program");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(meant) && !text.contains("similar"), "{text}");
    }
}
