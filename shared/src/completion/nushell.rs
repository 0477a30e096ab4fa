//! Nushell completion: a static script of commands and options that never calls the program.

use clap::Command;
use clap_complete_nushell::Nushell;

pub(super) fn script(mut command: Command, name: &str) -> String {
    let mut script = Vec::new();
    clap_complete::generate(Nushell, &mut command, name, &mut script);
    let script = String::from_utf8(script).expect("completion scripts are text");
    // The generator writes hidden options too.
    let hidden = hidden_options(&command);
    let option = |line: &str| line.trim_start().split([' ', ':', '(']).next().unwrap_or_default().to_owned();
    let is_shown = |line: &&str| !hidden.contains(&option(line));
    script.lines().filter(is_shown).flat_map(|line| [line, "\n"]).collect()
}

/// The hidden options of `command` and its subcommands. No visible one has such a name.
fn hidden_options(command: &Command) -> Vec<String> {
    let hidden = command.get_arguments().filter(|argument| argument.is_hide_set());
    let own = hidden.filter_map(|argument| Some(format!("--{}", argument.get_long()?)));
    own.chain(command.get_subcommands().flat_map(hidden_options)).collect()
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction};

    use super::*;

    #[test]
    fn hidden_option_is_not_offered() {
        let option = |name| Arg::new(name).long(name).action(ArgAction::SetTrue);
        let serve = Command::new("serve").arg(option("shown")).arg(option("kept-back").hide(true));
        let script = script(Command::new("tool").subcommand(serve), "tool");
        assert!(script.contains("--shown") && !script.contains("kept-back"), "{script}");
    }
}
