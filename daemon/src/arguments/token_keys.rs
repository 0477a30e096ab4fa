//! `infrad key tokens`: the keys that sign audience tokens.

use clap::Subcommand;

use super::help;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum TokenKeysCommand {
    /// Publish the next key; it signs after a day
    ///
    /// Services with a validation of their own read the new key in that time. The previous key stays published for an hour after
    /// its last token.
    #[command(after_long_help = help::TOKEN_KEYS_ROTATE)]
    Rotate {
        /// Replace all keys now, because one of them leaked
        ///
        /// The daemon rejects all earlier tokens at once. A service with a validation of its own accepts them until it reads
        /// the keys again, and may reject new tokens until then.
        #[arg(long)]
        now: bool,
    },
}
