//! `infra helper`: credential helpers, which give other tools an audience token by their own protocols.
//!
//! A helper's arguments bind the token of one service to hosts. The tool asks for the host of a URL, which anyone may have
//! written: no other host gets the token, and none gets it without TLS. A helper never prompts, and standard output has
//! only what the protocol allows.

mod bazel;
mod docker;
mod git;
mod request;

use super::Context;
use super::audience::{self, TokenRequest, ValidToken};
use crate::arguments::{Binding, HelperCommand};
use crate::failure::{Exit, Failure};

use jiff::SignedDuration;

pub(super) fn run(context: &Context, command: &HelperCommand) -> Result<Exit, Failure> {
    let done = match command {
        HelperCommand::Git(arguments) => git::run(context, arguments),
        HelperCommand::Docker(arguments) => docker::run(context, arguments),
        HelperCommand::Bazel(arguments) => bazel::run(context, arguments),
    };
    match done {
        // One line, because the tool prints its own lines before and after.
        Err(failure) if failure.exit() != Exit::PipeClosed => {
            context.terminal.error(&failure.line());
            Ok(failure.exit())
        }
        done => done,
    }
}

/// The audience token that the arguments bind to a host.
fn token(context: &Context, binding: &Binding) -> Result<ValidToken, Failure> {
    // The current server changes with each sign-in, and its service of the same name may be another one.
    let Some(server) = &context.server_option else {
        return Err(Failure::new(Exit::Usage, "a helper needs --server, the server that issues the token")
            .hint(
                "`infra status` prints the server; add `--server` to the command in the tool's configuration",
            ));
    };
    let request =
        TokenRequest { server: Some(server), audience: &binding.audience, min_left: SignedDuration::ZERO };
    audience::obtain(context, &request)
}
