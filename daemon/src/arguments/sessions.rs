//! What can be typed after `infrad sessions`.

use clap::Subcommand;
use infra_shared::token_text::SessionID;

use super::help;
use super::values::session_id;

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum SessionsCommand {
    /// List live sessions, newest first for each user
    #[command(after_long_help = help::SESSIONS_LIST)]
    List {
        /// Only sessions of the user with this e-mail or subject
        #[arg(long, value_name = "USER")]
        user: Option<String>,

        /// Print the sessions as JSON
        #[arg(long)]
        json: bool,
    },

    /// Revoke sessions; takes effect within a second, also on open connections
    #[command(after_long_help = help::SESSIONS_REVOKE)]
    #[command(group(clap::ArgGroup::new("which").required(true).args(["ids", "user", "all"])))]
    Revoke {
        /// IDs of sessions, as `list` prints them; a pasted session token counts as its ID
        #[arg(value_name = "ID", value_parser = session_id)]
        ids: Vec<SessionID>,

        /// All sessions of the user with this e-mail or subject
        #[arg(long, value_name = "USER")]
        user: Option<String>,

        /// All sessions of all users
        #[arg(long)]
        all: bool,
    },
}
