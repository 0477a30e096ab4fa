//! Nushell completion: a static script of commands and options that never calls the program.

use clap::Command;
use clap_complete_nushell::Nushell;

pub(super) fn script(mut command: Command, name: &str) -> String {
    let mut script = Vec::new();
    clap_complete::generate(Nushell, &mut command, name, &mut script);
    String::from_utf8(script).expect("completion scripts are text")
}
