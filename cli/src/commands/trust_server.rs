//! `infra trust`: accepts a new identity of a known server.

use super::{Context, suggestions};
use crate::arguments::Trust;
use crate::failure::{Exit, Failure};
use crate::trust::{TrustOptions, establish_trust};

/// The server must prove the new identity now, so that a mistyped fingerprint is found before the old record is
/// replaced.
pub(super) fn run(context: &Context, arguments: &Trust) -> Result<Exit, Failure> {
    context.expect_undelegated("change what is trusted")?;
    let origin = &arguments.server;
    context.named_server(Some(origin))?;
    let state = context.home.read()?;
    if !state.config.servers.contains_key(origin) {
        return Err(Failure::new(Exit::Usage, format!("{origin} is not known here")).hint(
            match suggestions::similar_server(&state, origin) {
                Some(similar) => {
                    format!(
                        "`infra trust {similar}` if you mean that server, otherwise `infra login {origin}`"
                    )
                }
                None => format!("`infra login {origin}`: the first sign-in asks for its fingerprint"),
            },
        ));
    }
    let options = if arguments.system {
        TrustOptions::system()
    } else {
        TrustOptions::read(&arguments.trust, &context.settings)?
    };
    if options.is_empty() {
        return Err(Failure::new(Exit::Usage, "no new identity was given")
            .hint("`--fingerprint sha256:…` or `--ca-file FILE` from the server's operator, or `--system` if the server has a \
             public certificate now"));
    }
    // Earlier trust records are ignored.
    let verified = establish_trust(origin, Vec::new(), &[], options, context.terminal)?;
    context.home.update(|state| {
        if let Some(server) = state.config.servers.get_mut(origin) {
            server.trust = verified.connection.record().clone();
            server.ca_rollover = None;
            server.previous_trust.clear();
        }
    })?;
    context.terminal.info(&format!("{origin} has proved its new identity, which is trusted from now on"));
    Ok(Exit::Done)
}
