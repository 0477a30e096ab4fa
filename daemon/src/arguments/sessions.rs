//! What can be typed after `infrad sessions`.

use clap::Subcommand;
use infra_shared::token_text::SessionID;

use super::help;

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
        /// IDs of sessions, as `list` prints them
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

/// An id has a form, so that a typing error is not reported as an ended session.
fn session_id(text: &str) -> Result<SessionID, String> {
    SessionID::parse(text).ok_or_else(|| "an ID has 10 letters and digits, such as `f3Kd9sQ1Zx`".to_owned())
}
