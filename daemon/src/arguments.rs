//! What can be typed after `infrad`.

mod database;
mod help;
mod sessions;
mod token_keys;
mod values;

use std::path::PathBuf;

use clap::builder::TypedValueParser;
use clap::{ArgAction, Args, ColorChoice, CommandFactory, Parser, Subcommand, ValueHint};
use infra_shared::completion::{Program, Shell};

pub use database::DatabaseCommand;
pub use help::SYNONYMS;
pub use sessions::SessionsCommand;
pub use token_keys::TokenKeysCommand;
pub use values::session_id;

/// The configuration file, unless another one is named.
pub const DEFAULT_CONFIG: &str = "/etc/infra/infrad.yaml";

/// This program, as shells ask it at TAB.
pub const PROGRAM: Program =
    Program { name: "infrad", variable: "INFRAD_COMPLETE", arguments: Arguments::command };

/// Signs users in with your OpenID provider, stores their sessions, and validates tokens for services
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
    #[arg(default_value = DEFAULT_CONFIG, hide_env_values = true, value_hint = ValueHint::FilePath)]
    // An empty variable is rejected later, by its name.
    #[arg(value_parser = clap::builder::OsStringValueParser::new().map(PathBuf::from))]
    pub config: PathBuf,

    /// Log more than the configuration sets: once for `debug`, twice for `trace`
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,

    /// Print only errors and warnings
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
        /// Start with data that is older than the data this host used last, and revoke all its sessions
        #[arg(long)]
        accept_rollback: bool,
        /// Create a new store in an empty data directory, although this host has used another store; or a new CA, if the
        /// database has lost its own
        #[arg(long)]
        new_store: bool,
        /// Serve this DNS name with a certificate from Let's Encrypt, once the name resolves to this host; repeatable
        ///
        /// Equals the name in `tls.acme.domains` and in `publicURLs`. You agree to the terms of service of Let's Encrypt.
        #[arg(long, value_name = "NAME")]
        domain: Vec<String>,
        /// Stop once the data is accepted or created: for `infrad as-service`, because a unit's start takes no options
        #[arg(long, hide = true)]
        prepare: bool,
    },

    /// Check the configuration, with its files and variables
    #[command(after_long_help = help::CHECK)]
    Check {
        /// Also read each secret, use each root key, and contact each provider and the ACME server; prints no secrets
        #[arg(long)]
        live: bool,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
        /// Only print the JSON Schema of the configuration, for editors
        #[arg(long, conflicts_with_all = ["live", "json"])]
        schema: bool,
    },

    /// Show the state of the running daemon
    #[command(after_long_help = help::STATUS)]
    Status {
        /// Print the state as JSON
        #[arg(long)]
        json: bool,
    },

    /// Show and change the keys of the store
    #[command(after_long_help = help::KEY)]
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },

    /// Prepare the PostgreSQL database of several daemons
    #[command(after_long_help = help::DATABASE)]
    Database {
        #[command(subcommand)]
        command: DatabaseCommand,
    },

    /// Write an encrypted backup to a file, with the daemon running or stopped
    ///
    /// A root key of the store or the recovery key opens it. Keep both elsewhere.
    #[command(after_long_help = help::BACKUP)]
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Backup {
        /// The file to write; it must not exist
        #[arg(required = true, value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,

        #[command(subcommand)]
        command: Option<BackupCommand>,
    },

    /// Replace the store with a backup; stop the daemon first
    ///
    /// Verifies the whole backup, then replaces the store in the data directory, or in the database that `database` names, and
    /// revokes all sessions of the backup. Your users must sign in again. Before you restore to a database, stop all daemons.
    #[command(after_long_help = help::RESTORE)]
    Restore {
        /// The backup file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Open it with the recovery key; prompts for the key, or reads it from standard input
        #[arg(long)]
        recovery: bool,
    },

    /// Try it out: run a daemon and a development identity provider on loopback, in a temporary directory
    ///
    /// Anyone who reaches it can sign in as `alice` or `bob`: keep it to yourself. With a COMMAND, runs the command with
    /// this daemon, cleans up and exits with the command's status.
    #[cfg(feature = "dev")]
    #[command(after_long_help = help::DEV)]
    Dev {
        /// The command to run, after `--`
        #[arg(last = true, value_name = "COMMAND", value_hint = ValueHint::CommandWithArguments)]
        command: Vec<std::ffi::OsString>,
    },

    /// Print the fingerprint that users pass to `infra login --fingerprint`
    #[command(after_long_help = help::FINGERPRINT)]
    Fingerprint,

    /// Print or rotate the daemon's own certification authority (CA)
    #[command(after_long_help = help::CA)]
    Ca {
        #[command(subcommand)]
        command: CaCommand,
    },

    /// Renew the certificate of the running daemon
    #[command(after_long_help = help::CERTIFICATE)]
    Certificate {
        #[command(subcommand)]
        command: CertificateCommand,
    },

    /// List and revoke users' sessions
    #[command(after_long_help = help::SESSIONS)]
    Sessions {
        #[command(subcommand)]
        command: SessionsCommand,
    },

    /// Verify the audit log
    #[command(after_long_help = help::AUDIT)]
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },

    /// Run another command as the systemd unit runs the daemon: same user, root key, environment and sandbox
    ///
    /// Needs root on a host with infrad.service. Applies the settings of the unit and its drop-ins, and passes on input, output
    /// and exit code of COMMAND. A command with a file (`backup`, `restore`, `audit verify --file`) sees the host's files as that
    /// user does.
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
    /// Show which root key wraps the data key, and if there is a recovery key
    #[command(after_long_help = help::KEY_STATUS)]
    Status {
        /// Print the status as JSON
        #[arg(long)]
        json: bool,
    },

    /// Wrap the data key with the first root key in `keys`; the running daemon rereads `keys`
    ///
    /// The root key has to exist: only the first start of a new store creates one.
    #[command(after_long_help = help::KEY_REWRAP)]
    Rewrap {
        /// Open the store with the recovery key; stop the daemon first. Prompts for the key, or reads it from standard input
        #[arg(long)]
        recovery: bool,
    },

    /// Encrypt the store with a new data key, with the daemon running or stopped
    #[command(after_long_help = help::KEY_ROTATE)]
    Rotate,

    /// Create or test the recovery key: it opens the store and its backups if the root key is lost
    #[command(after_long_help = help::RECOVERY)]
    Recovery {
        #[command(subcommand)]
        command: RecoveryCommand,
    },

    /// Rotate the signing keys of audience tokens (JWT); the daemon does so every 30 days
    #[command(after_long_help = help::TOKEN_KEYS)]
    Tokens {
        #[command(subcommand)]
        command: TokenKeysCommand,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum CaCommand {
    /// Print the CA's certificate as PEM, for `infra login --ca-file` and other clients
    #[command(after_long_help = help::CA_PRINT)]
    Print {
        /// Print the next CA's certificate, after `infrad ca rotate`
        #[arg(long)]
        next: bool,
    },

    /// Create a new CA that takes over after an announced time
    ///
    /// Until then, the current CA stays in use and announces the next one to every user who connects: their clients
    /// switch automatically. Users who do not connect in that time must accept the new fingerprint with `infra trust`.
    #[command(after_long_help = help::CA_ROTATE)]
    Rotate {
        /// How long the current CA stays in use, such as `30d` or `12h`; `0s` replaces it immediately, for a leaked key
        #[arg(long, value_name = "TIME", default_value = "30d", value_parser = values::overlap)]
        overlap: u32,
        /// Replace a CA that is already announced; users who learned of that one and do not connect again must accept the
        /// new fingerprint
        #[arg(long)]
        replace: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AuditCommand {
    /// Check that the log is an unbroken hash chain, and print its head
    ///
    /// The chain reveals lines that were changed, removed, inserted or moved. A changed last line, lines removed at the end,
    /// and a rewritten log show only against a head that you stored elsewhere: pass it with `--head`.
    #[command(after_long_help = help::AUDIT)]
    Verify {
        /// Verify this file instead of the configured log, together with its rotated files (FILE.1 and so on)
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
        /// Accept a copy of the journal, in which each start of the daemon starts another chain
        #[arg(long, requires = "file")]
        journal: bool,
        /// Check that the chain is unchanged up to the line with this head, which an earlier run printed
        #[arg(long, value_name = "HEX", value_parser = values::audit_head)]
        head: Option<String>,
        /// Print the result as JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum CertificateCommand {
    /// Get a new certificate now, even if none is due; with ACME, this counts against the server's rate limits
    #[command(after_long_help = help::CERTIFICATE)]
    Renew,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum RecoveryCommand {
    /// Create a recovery key and print it once; it replaces the previous key for the store and for new backups
    #[command(after_long_help = help::RECOVERY_CREATE)]
    Create,

    /// Test if a recovery key opens the store; prompts for the key, or reads it from standard input
    #[command(after_long_help = help::RECOVERY_TEST)]
    Test,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum BackupCommand {
    /// Read a whole backup and check that it can be restored
    #[command(after_long_help = help::BACKUP_VERIFY)]
    Verify {
        /// The backup file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Open it with the recovery key; prompts for the key, or reads it from standard input
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
            "infrad audit verify --head=",
            "infrad audit verify --head abcd",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }
}
