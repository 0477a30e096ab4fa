//! `infrad key tokens`: the keys that sign audience tokens.

use clap::Subcommand;

use super::help;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum TokenKeysCommand {
    /// Publish another key, which signs after a day
    ///
    /// Services that validate tokens themselves read the new key in that time. The previous key stays published for an hour after
    /// its last token.
    #[command(after_long_help = help::TOKEN_KEYS_ROTATE)]
    Rotate {
        /// Replace all keys now, because one of them leaked
        ///
        /// The daemon rejects all earlier tokens at once. A service that validates tokens itself accepts them until it reads the
        /// keys again, and may reject new tokens until then.
        #[arg(long)]
        now: bool,
    },
}
