//! `infra use`: makes a known server the current one.

use infra_shared::origin::Origin;

use super::{Context, suggestions};
use crate::failure::{Exit, Failure};

pub(super) fn run(context: &Context, server: &Origin) -> Result<Exit, Failure> {
    context.expect_undelegated("change the current server")?;
    context.named_server(Some(server))?;
    let state = context.home.read()?;
    if state.config.servers.contains_key(server) {
        context.home.update(|state| {
            if state.config.servers.contains_key(server) {
                state.config.current = Some(server.clone());
            }
        })?;
        context.terminal.info(&format!("{server} is now the current server"));
        return Ok(Exit::Done);
    }
    let known: Vec<String> = state.config.servers.keys().map(ToString::to_string).collect();
    let failure = Failure::new(Exit::Usage, format!("{server} is not known here"));
    Err(if let Some(similar) = suggestions::similar_server(&state, server) {
        failure
            .hint(format!("`infra use {similar}` if you mean that server, otherwise `infra login {server}`"))
    } else if known.is_empty() {
        failure.hint(format!("`infra login {server}`"))
    } else {
        failure.hint(format!("`infra login {server}`, or use a known server: {}", known.join(", ")))
    })
}
