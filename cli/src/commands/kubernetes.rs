//! `infra kubernetes`: clusters whose API server validates tokens at the daemon (webhook token authentication).

mod configure;
mod token;

use super::{Context, expiry_notice};
use crate::arguments::KubernetesCommand;
use crate::failure::{Exit, Failure};

pub(super) fn run(context: &Context, command: &KubernetesCommand) -> Result<Exit, Failure> {
    match command {
        KubernetesCommand::Token(arguments) => token::run(context, arguments),
        KubernetesCommand::Configure(arguments) => {
            expiry_notice::with_notice(context, |context| configure::run(context, arguments))
        }
    }
}
