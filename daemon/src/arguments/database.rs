//! What can be typed after `infrad database`.

use clap::Subcommand;

use super::help;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum DatabaseCommand {
    /// Create the schema and the keys in the database that `database` names; run it again after an upgrade
    ///
    /// Changes nothing that is there. Creates a native root key if its file is missing and the database has no keys yet: copy
    /// that file to each host before you start a daemon there.
    #[command(after_long_help = help::DATABASE)]
    Create,

    /// Move the store in `dataDir` to the database that `database` names, or back; stop all daemons first
    ///
    /// Copies everything, compares every row, and keeps the source. Sessions stay valid. Refuses a target with live sessions, and
    /// a database that a daemon uses. If it is interrupted, run it again. Afterwards, daemons refuse the source.
    #[command(after_long_help = help::DATABASE_MOVE)]
    Move {
        /// Move the store in the database to `dataDir`
        #[arg(long)]
        to_file: bool,
    },
}
