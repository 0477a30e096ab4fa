//! What can be typed after `infrad`.

mod help;
mod sessions;

use std::path::PathBuf;

use clap::{ArgAction, Args, ColorChoice, CommandFactory, Parser, Subcommand, ValueHint};
use infra_shared::completion::{Program, Shell};

use crate::config::parse_duration;

pub use sessions::SessionsCommand;

/// This program, as shells ask it at TAB.
pub const PROGRAM: Program =
    Program { name: "infrad", variable: "INFRAD_COMPLETE", arguments: Arguments::command };

/// Signs users in with your OpenID Provider, keeps their sessions, and answers whose token it was shown
#[derive(Debug, Parser)]
#[command(name = "infrad", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = help::SHORT, after_long_help = help::PROGRAM)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,

    #[command(flatten)]
    pub global: Global,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", env = "INFRAD_CONFIG")]
    #[arg(default_value = "/etc/infra/infrad.yaml", hide_env_values = true, value_hint = ValueHint::FilePath)]
    pub config: PathBuf,

    /// Log more than the configuration says: once for `debug`, twice for `trace`
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub color: ColorChoice,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the daemon
    #[command(after_long_help = help::SERVE)]
    Serve {
        /// Start with data that is older than this host has seen, and end all sessions in it
        #[arg(long)]
        accept_rollback: bool,
        /// Create a new store in an empty data directory, although this host has seen another store
        #[arg(long)]
        new_store: bool,
        /// Serve this DNS name, with a certificate of Let's Encrypt as soon as it leads here; may be repeated
        ///
        /// The same as the name in `tls.acme.domains` and in `publicURLs`. The authority's terms of service are agreed to.
        #[arg(long, value_name = "NAME")]
        domain: Vec<String>,
    },

    /// Check the configuration, and the files and variables that it names, without a network
    #[command(after_long_help = help::CHECK)]
    Check {
        /// Also read each secret, use each root key, ask each provider and the ACME directory: nothing of a secret is shown
        #[arg(long)]
        live: bool,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
        /// Print the JSON Schema of the configuration, for editors, and check nothing
        #[arg(long, conflicts_with_all = ["live", "json"])]
        schema: bool,
    },

    /// Ask the running daemon how it is
    #[command(after_long_help = help::STATUS)]
    Status {
        /// Print the answer as JSON
        #[arg(long)]
        json: bool,
    },

    /// Look at the keys that protect the store, and change them
    #[command(after_long_help = help::KEY)]
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },

    /// Write an encrypted backup to a file, while the daemon runs or not
    ///
    /// It opens with a root key of the store, which is not in it, or with the recovery key.
    #[command(after_long_help = help::BACKUP)]
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Backup {
        /// The file to write; nothing may be there
        #[arg(required = true, value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,

        #[command(subcommand)]
        command: Option<BackupCommand>,
    },

    /// Restore a backup into the data directory, while no daemon runs
    ///
    /// The backup is verified before anything is replaced. All its sessions are ended.
    #[command(after_long_help = help::RESTORE)]
    Restore {
        /// The backup
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Open it with the recovery key, which is asked for, or read from standard input
        #[arg(long)]
        recovery: bool,
    },

    /// Try it out: a daemon on loopback with a development identity provider, in a throw-away directory
    ///
    /// Everybody may sign in as `alice` or `bob`: never let anybody but yourself reach it. With a COMMAND, runs it
    /// against this daemon, cleans up and exits with its status.
    #[cfg(feature = "dev")]
    #[command(after_long_help = help::DEV)]
    Dev {
        /// The command to run, after `--`
        #[arg(last = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
        command: Vec<std::ffi::OsString>,
    },

    /// Print the fingerprint that users give to `infra login --fingerprint`
    #[command(after_long_help = help::FINGERPRINT)]
    Fingerprint,

    /// The daemon's own certification authority, which users prove it by
    #[command(after_long_help = help::CA)]
    Ca {
        #[command(subcommand)]
        command: CaCommand,
    },

    /// The certificate that the running daemon serves with; `infrad status` shows it
    #[command(after_long_help = help::CERTIFICATE)]
    Certificate {
        #[command(subcommand)]
        command: CertificateCommand,
    },

    /// The sessions of users: see them, and end them
    #[command(after_long_help = help::SESSIONS)]
    Sessions {
        #[command(subcommand)]
        command: SessionsCommand,
    },

    /// The audit log, which the configuration names
    #[command(after_long_help = help::AUDIT)]
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },

    /// Run another command as the systemd unit runs the daemon: as its user, with its root key, environment and sandbox
    ///
    /// For the host of infrad.service, as root. Settings of the unit and its drop-ins hold; input, output and the exit code are
    /// those of COMMAND. A command with a file (`backup`, `restore`, `audit verify --file`) sees the host's files as that user does.
    #[command(after_long_help = help::AS_SERVICE)]
    AsService {
        /// The command, with its options
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        words: Vec<std::ffi::OsString>,
    },

    /// Print the script that lets a shell complete this program's arguments
    #[command(after_long_help = help::COMPLETIONS)]
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum KeyCommand {
    /// Say which root key wraps the data key, and whether there is a recovery key
    #[command(after_long_help = help::KEY_STATUS)]
    Status {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },

    /// Wrap the data key under the first root key of the configuration; the running daemon reads `keys` anew
    #[command(after_long_help = help::KEY_REWRAP)]
    Rewrap {
        /// Open the data with the recovery key, which is asked for, or read from standard input; while no daemon runs
        #[arg(long)]
        recovery: bool,
    },

    /// Move the store to a new data key, while the daemon runs or not
    #[command(after_long_help = help::KEY_ROTATE)]
    Rotate,

    /// An offline key that opens the store and its backups when the root key is lost
    #[command(after_long_help = help::RECOVERY)]
    Recovery {
        #[command(subcommand)]
        command: RecoveryCommand,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum CaCommand {
    /// Print its certificate as PEM, for `infra login --ca-file` and other clients
    #[command(after_long_help = help::CA_PRINT)]
    Print {
        /// The one that is to come, after `infrad ca rotate`
        #[arg(long)]
        next: bool,
    },

    /// Have another authority take over, after a time in which users are told of it
    ///
    /// Until then the present one goes on vouching for the daemon and announces the next to every user who comes by:
    /// those are not asked again. Who does not come by in that time has to accept the new fingerprint with `infra trust`.
    #[command(after_long_help = help::CA_ROTATE)]
    Rotate {
        /// How long the present one goes on, such as `30d` or `12h`; `0s` takes it out of use at once, for when its key is
        /// known to others
        #[arg(long, value_name = "TIME", default_value = "30d", value_parser = overlap)]
        overlap: u32,
        /// Have it take the place of one that was announced before: who heard of that one, and does not come by again, has
        /// to accept the new fingerprint
        #[arg(long)]
        replace: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AuditCommand {
    /// Check that the log is an unbroken chain: no line but the last was changed, removed, inserted or moved by itself
    ///
    /// A changed last line, lines cut off at the end, and a log that was written again as a whole show only against a head that
    /// was kept elsewhere: this prints the head, and `--head` looks for it.
    #[command(after_long_help = help::AUDIT)]
    Verify {
        /// The log, in the place of the configured one; what was set aside of it (FILE.1 and so on) is verified with it
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
        /// The log is a copy of the journal, in which another chain begins at each start of the daemon
        #[arg(long, requires = "file")]
        journal: bool,
        /// The head that an earlier run printed: check that its chain is unchanged from its beginning up to that line
        #[arg(long, value_name = "HEX")]
        head: Option<String>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum CertificateCommand {
    /// Get a new one now, whether one is due or not; by ACME, this counts against the authority's limits
    #[command(after_long_help = help::CERTIFICATE)]
    Renew,
}

/// Seconds of a time such as `30d`, a year at most.
fn overlap(text: &str) -> Result<u32, String> {
    const MOST: i64 = 366 * 24 * 3_600;
    let expected = "a time up to a year, such as `30d`, `12h` or `0s`".to_owned();
    let duration = parse_duration(text).ok_or_else(|| expected.clone())?;
    Some(duration.as_secs())
        .filter(|seconds| (0..=MOST).contains(seconds))
        .and_then(|seconds| u32::try_from(seconds).ok())
        .ok_or(expected)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum RecoveryCommand {
    /// Make a recovery key and print it, this once; the one from before opens what is written from now on no more
    #[command(after_long_help = help::RECOVERY_CREATE)]
    Create,

    /// Say whether a recovery key, which is asked for or read from standard input, opens the store
    #[command(after_long_help = help::RECOVERY_TEST)]
    Test,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum BackupCommand {
    /// Read a backup from its beginning to its end, and say whether it could be restored
    #[command(after_long_help = help::BACKUP_VERIFY)]
    Verify {
        /// The backup
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Open it with the recovery key, which is asked for, or read from standard input
        #[arg(long)]
        recovery: bool,
    },
}

#[cfg(test)]
mod tests {
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
        assert_eq!(arguments.command, Command::Check { live: false, json: false, schema: false });
        assert_eq!(arguments.global.config, PathBuf::from("a.yaml"));
        assert_eq!(arguments.global.verbose, 2);
        assert_eq!(arguments.global.color, ColorChoice::Never);
    }

    #[test]
    fn a_backup_is_written_to_a_file_or_verified() {
        let file = |name: &str| PathBuf::from(name);
        let written = Command::Backup { file: Some(file("a")), command: None };
        assert_eq!(parse("infrad backup a").expect("good arguments").command, written);
        let verify = BackupCommand::Verify { file: file("a"), recovery: true };
        let verified = Command::Backup { file: None, command: Some(verify) };
        assert_eq!(parse("infrad backup verify a --recovery").expect("good arguments").command, verified);
    }

    #[cfg(feature = "dev")]
    #[test]
    fn a_command_after_two_dashes_is_kept_with_its_options() {
        let arguments = parse("infrad dev -- sh -c true -v").expect("good arguments");
        let command = ["sh", "-c", "true", "-v"].map(std::ffi::OsString::from).to_vec();
        assert_eq!(arguments.command, Command::Dev { command });
        assert_eq!(arguments.global.verbose, 0);
    }

    #[test]
    fn what_is_not_understood_exits_with_2() {
        for line in [
            "infrad",
            "infrad search",
            "infrad backup",
            "infrad key",
            "infrad restore",
            "infrad serve extra",
            "infrad check -q -v",
            "infrad completions csh",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }
}
