//! Tests of the answers to shells and of the scripts.

use clap::{Arg, ArgAction};

use super::*;

fn arguments() -> Command {
    let known = |_: &std::ffi::OsStr| {
        ["plain", "$(id>x)", "two words", "line\nbreak", "\u{1b}[2J"]
            .into_iter()
            .map(CompletionCandidate::new)
            .collect::<Vec<_>>()
    };
    let name = Arg::new("name").long("name").add(ArgValueCompleter::new(known));
    let file = Arg::new("file").long("file").value_hint(ValueHint::FilePath);
    let quiet = Arg::new("quiet").long("quiet").action(ArgAction::SetTrue);
    let command = Arg::new("command").last(true).num_args(1..).value_hint(ValueHint::CommandWithArguments);
    let copy = Command::new("copy").arg(Arg::new("from").value_hint(ValueHint::FilePath));
    let copy = copy.subcommand(Command::new("verify")).args_conflicts_with_subcommands(true);
    Command::new("gate")
        .subcommand(Command::new("open").args([name, file.clone(), quiet]))
        .subcommand(Command::new("run").arg(file).arg(command))
        .subcommand(copy)
}

const PROGRAM: Program = Program { name: "gate", variable: "GATE_COMPLETE", arguments };

/// The answer to `shell` for `words`, the last of which is incomplete.
fn answer(shell: &str, words: &[&str]) -> String {
    let words: Vec<OsString> = ["gate", "--", "gate"].iter().chain(words).map(OsString::from).collect();
    PROGRAM.answer(shell, &words)
}

#[test]
fn every_script_calls_program_or_lists_all_commands() {
    for shell in Shell::value_variants() {
        let script = PROGRAM.script(*shell);
        let knows = |command| script.contains(command);
        assert!(knows("GATE_COMPLETE") || ["open", "run", "copy"].into_iter().all(knows), "{shell:?}");
        assert!(!script.contains("PROGRAM") && !script.contains("VARIABLE"), "{shell:?}");
    }
}

#[test]
fn options_are_offered_only_after_dash() {
    assert_eq!(answer("fish", &["o"]), "names\nopen\t\n");
    assert!(!answer("fish", &[""]).contains('-'));
    assert_eq!(answer("fish", &["open", "--qu"]), "names\n--quiet\t\n");
    assert_eq!(answer("fish", &["open", "--nothing"]), "");
}

#[test]
fn files_and_commands_are_completed_by_shell() {
    for words in [&["open", "--file", ""][..], &["open", "--file=a"], &["copy", ""], &["copy", "a"]] {
        assert_eq!(answer("bash", words), "files\n", "{words:?}");
    }
    assert_eq!(answer("bash", &["copy", "ver"]), "names\nverify\t\n");
    assert_eq!(answer("bash", &["run", "--", ""]), "command 3\n");
    assert_eq!(answer("bash", &["run", "--", "ls", "-l", "/sr"]), "command 3\n");
    assert_eq!(answer("bash", &["run", "--file", "a", "--", "ls"]), "command 5\n");
    assert_eq!(answer("bash", &["open", "--", "ls"]), "");
}

#[test]
fn hostile_names_are_quoted_or_omitted() {
    let bash = "names\nplain\t\n\\$\\(id\\>x\\)\t\ntwo\\ words\t\n";
    assert_eq!(answer("bash", &["open", "--name", ""]), bash);
    let quoted_by_the_shell = "names\nplain\t\n$(id>x)\t\ntwo words\t\n";
    for shell in ["elvish", "fish", "zsh"] {
        assert_eq!(answer(shell, &["open", "--name", ""]), quoted_by_the_shell, "{shell}");
    }
    let powershell = "names\nplain\t\n'$(id>x)'\t\n'two words'\t\n";
    assert_eq!(answer("powershell", &["open", "--name", ""]), powershell);
}

#[test]
fn invalid_completion_request_has_no_answer() {
    assert_eq!(answer("tcsh", &[""]), "");
    assert_eq!(answer("bash", &["nonsense", "x"]), "");
    assert_eq!(PROGRAM.answer("bash", &["gate".into(), "open".into()]), "");
    assert_eq!(PROGRAM.answer("bash", &[]), "");
}
