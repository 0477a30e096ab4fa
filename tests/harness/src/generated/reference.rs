//! The command reference: a page of Markdown per program.

use std::fmt::Write;

use clap::{Arg, Command};

use super::manual::{definitions, sections};

pub(super) fn page(program: &Command) -> String {
    let mut program = program.clone().disable_help_subcommand(true);
    program.build();
    let name = program.get_name().to_owned();
    let mut page = format!(
        "# Commands of {name}\n\nThe same text is in your terminal: add `--help` to a command, or read its manual page (`man {name}-COMMAND`).\n\n"
    );
    add(&mut page, &program);
    page += "## Options of every command\n\n";
    page.extend(program.get_arguments().map(option));
    let sections = sections(&program);
    for heading in ["Exit codes", "Environment", "Files"] {
        let _ = write!(page, "\n## {heading}\n\n");
        for (name, meaning) in definitions(&sections[heading]) {
            let _ = writeln!(page, "- `{name}`: {meaning}");
        }
    }
    page
}

/// Adds `command` and its subcommands.
fn add(page: &mut String, command: &Command) {
    let path = path(command);
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let about = about.split("\n\n").map(sentence).collect::<Vec<_>>().join("\n\n");
    let usage = command.clone().render_usage().to_string();
    let usage: Vec<&str> = usage.trim_start_matches("Usage:").lines().map(str::trim).collect();
    let _ = write!(page, "## {path}\n\n{about}\n\n```text\n{}\n```\n\n", usage.join("\n"));

    let of_every_command = |argument: &&Arg| {
        argument.is_global_set() || ["help", "version"].contains(&argument.get_id().as_str())
    };
    let own: String =
        command.get_arguments().filter(|argument| !of_every_command(argument)).map(option).collect();
    let mut subcommands = String::new();
    for sub in command.get_subcommands() {
        let name = self::path(sub);
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(subcommands, "- [`{name}`](#{}): {about}", name.replace(' ', "-"));
    }
    for list in [own, subcommands].into_iter().filter(|list| !list.is_empty()) {
        page.extend([list.as_str(), "\n"]);
    }
    page.push_str(&examples(&sections(command)["Examples"]));
    command.get_subcommands().for_each(|sub| add(page, sub));
}

fn path(command: &Command) -> String {
    command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned()
}

/// An item of a list: names, meaning, default and choices.
fn option(argument: &Arg) -> String {
    let short = argument.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut text = sentence(&help.replace("\n\n", ". "));
    let takes_values = argument.get_action().takes_values();
    let choices =
        argument.get_possible_values().into_iter().filter(|choice| takes_values && !choice.is_hide_set());
    let choices: Vec<String> = choices.map(|choice| format!("`{}`", choice.get_name())).collect();
    let defaults = argument.get_default_values().iter().filter(|_| takes_values);
    let defaults: Vec<String> = defaults.map(|value| format!("`{}`", value.to_string_lossy())).collect();
    let variable: Vec<String> =
        argument.get_env().map(|name| format!("`{}`", name.to_string_lossy())).into_iter().collect();
    for (what, values) in [("One of", choices), ("Default:", defaults), ("Variable:", variable)] {
        if !values.is_empty() {
            let _ = write!(text, " {what} {}.", values.join(", "));
        }
    }
    format!("- {short}`{argument}`: {text}\n")
}

/// One line that ends like a sentence.
fn sentence(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.ends_with(['.', ':']) { line } else { line + "." }
}

/// Two spaces before a sentence, four before a command.
fn examples(text: &str) -> String {
    let (mut markdown, mut is_typed) = (String::new(), false);
    for line in text.lines().filter(|line| !line.is_empty()).chain([""]) {
        let typed = line.strip_prefix("    ");
        if typed.is_some() != is_typed {
            markdown.push_str(if is_typed { "```\n\n" } else { "\n```sh\n" });
            is_typed = !is_typed;
        }
        if let Some(line) = typed.or(Some(line.trim_start()).filter(|line| !line.is_empty())) {
            markdown.extend([line, "\n"]);
        }
    }
    markdown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_usage_options_and_examples_of_each_command() {
        let program = Command::new("tool")
            .about("Does it")
            .after_long_help("Examples:\n  All:\n    tool do\n\nExit codes:\n  0  done\n\nEnvironment:\n  A_B its\n     name\n\nFiles:\n  ~/.t  kept")
            .arg(Arg::new("level").long("level").global(true).help("How much").default_value("all").value_parser(["all", "some"]))
            .subcommand(
                Command::new("do")
                    .about("Do it")
                    .arg(Arg::new("file").required(true).help("What to do"))
                    .after_long_help("Examples:\n  Now, with `x`:\n    tool do \\\n      x"),
            );
        assert_eq!(
            page(&program),
            "# Commands of tool\n\nThe same text is in your terminal: add `--help` to a command, or read its manual page (`man tool-COMMAND`).\n\n\
             ## tool\n\nDoes it.\n\n```text\ntool [OPTIONS] [COMMAND]\n```\n\n- [`tool do`](#tool-do): Do it\n\nAll:\n\n```sh\ntool do\n```\n\n\
             ## tool do\n\nDo it.\n\n```text\ntool do [OPTIONS] <file>\n```\n\n- `<file>`: What to do.\n\nNow, with `x`:\n\n```sh\ntool do \\\n  x\n```\n\n\
             ## Options of every command\n\n- `--level <level>`: How much. One of `all`, `some`. Default: `all`.\n- `-h`, `--help`: Print help (see a summary with '-h').\n\n\
             ## Exit codes\n\n- `0`: done\n\n## Environment\n\n- `A_B`: its name\n\n## Files\n\n- `~/.t`: kept\n"
        );
    }
}
