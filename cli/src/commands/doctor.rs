//! `infra doctor`: checks what a sign-in needs of this machine and the network. It changes nothing, sends no token and
//! shows no secret.

mod browser;
mod check;
mod files;
mod keyring;
mod network;
mod ports;
mod provider;
mod server;

use std::time::{Duration, Instant};

use infra_shared::origin::Origin;
use infra_shared::printable::counted;
use serde::Serialize;

use super::Context;
use crate::arguments::Doctor;
use crate::failure::{Exit, Failure};
use check::Check;

/// Time limit for all servers together, and again for all identity providers. A user is waiting.
const TIMEOUT: Duration = Duration::from_secs(12);

/// Output of `doctor --json`.
#[derive(Serialize)]
struct Json<'a> {
    schema: u32,
    ok: bool,
    checks: &'a [Check],
}

pub(super) fn run(context: &Context, arguments: &Doctor) -> Result<Exit, Failure> {
    let progress = context.terminal.progress(Instant::now() + 2 * TIMEOUT);
    progress.show("checking this machine");
    let inspection = context.home.inspect();
    let named = context.named_server(arguments.server.as_ref())?;
    let servers: Vec<Origin> = match named {
        Some(origin) => vec![origin],
        None => inspection.state.config.servers.keys().cloned().collect(),
    };
    // Start early, because the keyring may take seconds.
    let keyring = keyring::begin(&servers, &inspection.state);
    let mut checks = vec![files::check(&context.home, &inspection), browser::check(context)];

    progress.show("contacting the servers");
    let server_checks = server::contact_all(context, &servers, &inspection.state);
    progress.show("contacting the identity providers");
    let providers =
        server_checks.iter().flat_map(|server_checks| server_checks.providers.clone()).collect::<Vec<_>>();
    let is_clock_wrong = server_checks.iter().any(|server_checks| server_checks.is_clock_wrong);
    let reached = provider::fetch_all(&providers, is_clock_wrong);
    progress.show("waiting for the keyring");
    checks.extend(keyring.finish());
    if servers.is_empty() {
        checks.push(Check::skipped("server", None, "no server is known here yet: run `infra login SERVER`"));
    }
    checks.extend(server::exemptions());
    checks.extend(server_checks.into_iter().flat_map(|server_checks| server_checks.checks));
    checks.extend(reached);
    checks.extend(ports::check(&providers));
    progress.clear();

    print_report(context, arguments, &checks)
}

fn print_report(context: &Context, arguments: &Doctor, checks: &[Check]) -> Result<Exit, Failure> {
    let wrong = checks.iter().filter(|check| check.is_problem()).count();
    if arguments.json {
        let text = serde_json::to_string(&Json { schema: 1, ok: wrong == 0, checks }).expect("plain JSON");
        context.terminal.data(&format!("{text}\n"))?;
    } else if !context.terminal.quiet {
        context.terminal.data(&checks.iter().map(Check::text).collect::<String>())?;
        context.terminal.info(&match wrong {
            0 => "no problem found".to_owned(),
            wrong => format!("{wrong} of {} failed", counted(checks.len(), "check")),
        });
    }
    // One exit code for all problems: only the report can name several.
    Ok(if wrong == 0 { Exit::Done } else { Exit::Failed })
}
