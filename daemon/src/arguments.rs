//! What can be typed after `infrad`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Signs users in with your OpenID Provider, keeps their sessions, and answers whose token it was shown
#[derive(Debug, Parser)]
#[command(name = "infrad", version, propagate_version = true, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,

    #[command(flatten)]
    pub global: Global,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", env = "INFRAD_CONFIG")]
    #[arg(default_value = "/etc/infra/infrad.yaml", hide_env_values = true)]
    pub config: PathBuf,

    /// Log more than the configuration says: once for `debug`, twice for `trace`
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Colour::Auto)]
    pub color: Colour,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the daemon
    Serve,

    /// Check the configuration, without a network and without reading a secret
    Check,

    /// Try it out: a daemon on loopback with a development identity provider, in a throw-away directory
    ///
    /// Everybody may sign in as `alice` or `bob`: never let anybody but yourself reach it. With a COMMAND, runs it
    /// against this daemon, cleans up and exits with its status.
    #[cfg(feature = "dev")]
    Dev {
        /// The command to run, after `--`
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },

    /// Print the fingerprint that users give to `infra login --fingerprint`
    Fingerprint,

    /// Print the script that lets a shell complete this program's arguments
    Completions {
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// When to use colour; `auto` minds `NO_COLOR`, `CLICOLOR_FORCE` and whether a terminal reads it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    #[default]
    Auto,
    Always,
    Never,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definitions_agree_with_each_other() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn global_options_are_taken_after_the_command_too() {
        let arguments = parse("infrad check --config a.yaml -vv --color never").expect("good arguments");
        assert_eq!(arguments.command, Command::Check);
        assert_eq!(arguments.global.config, PathBuf::from("a.yaml"));
        assert_eq!(arguments.global.verbose, 2);
        assert_eq!(arguments.global.color, Colour::Never);
    }

    #[cfg(feature = "dev")]
    #[test]
    fn a_command_after_two_dashes_is_kept_with_its_options() {
        let arguments = parse("infrad dev -- sh -c true -v").expect("good arguments");
        let command = ["sh", "-c", "true", "-v"].map(OsString::from).to_vec();
        assert_eq!(arguments.command, Command::Dev { command });
        assert_eq!(arguments.global.verbose, 0);
    }

    #[test]
    fn what_is_not_understood_exits_with_2() {
        for line in
            ["infrad", "infrad search", "infrad serve extra", "infrad check -q -v", "infrad completions csh"]
        {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }
}
