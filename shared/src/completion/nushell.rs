//! Nushell, whose scripts hold commands and options, and ask nobody.

use clap::Command;
use clap_complete_nushell::Nushell;

pub(super) fn script(mut command: Command, name: &str) -> String {
    let mut script = Vec::new();
    clap_complete::generate(Nushell, &mut command, name, &mut script);
    String::from_utf8(script).expect("completion scripts are text")
}
