//! Warns once about each session that was opened elsewhere, because an attacker may have opened it.

use infra_shared::api::{ListedSession, LoginMethod, NewerSessions};
use infra_shared::printable::printable;

use super::super::{Context, times};
use super::Report;
use super::report::{store, warn_if_not_stored};
use crate::home::Storage;

/// Maximum length of a displayed host name.
const MAX_CHARACTERS: usize = 64;

/// Shows the warning, unless it was shown before or `-q` is set.
pub(crate) fn warn_of_newer(context: &Context, report: &Report) {
    let (Some(newer), Some(origin), Some(token)) = (&report.newer, &report.server, &report.token) else {
        return;
    };
    // For `INFRA_TOKEN` there is no record of shown warnings.
    if context.terminal.quiet || report.storage == Some(Storage::Environment) {
        return;
    }
    let state = context.home.read();
    let shown = state.ok().and_then(|state| state.sessions.sessions.get(origin)?.last_notified.clone());
    let NewerSessions { count, newest } = newer;
    let id = &newest.session.id;
    if shown.as_ref() == Some(id) {
        return;
    }
    let (opened, machine) = (times::at(newest.session.created_at, context.now()), machine(newest));
    context.terminal.warn(&if *count > 1 {
        format!(
            "{count} other sessions of yours at {origin} were opened since you signed in, the latest {opened} from {machine}; \
             `infra sessions` lists them: if you do not recognise one, run `infra sessions revoke ID`"
        )
    } else {
        format!(
            "another session of yours at {origin} was opened {opened} from {machine}; if that was not you, run \
             `infra sessions revoke {id}`"
        )
    });
    let shown = store(context, origin, token, |stored| stored.last_notified = Some(id.clone()));
    warn_if_not_stored(context, shown);
}

/// The machine where a session was opened, as reported by its client.
pub(crate) fn machine(listed: &ListedSession) -> String {
    let device = listed.device.as_deref().map(|device| printable(device, MAX_CHARACTERS));
    let address = listed.address.as_deref().map(|address| printable(address, MAX_CHARACTERS));
    let mut machine = match (device, address) {
        (Some(device), Some(address)) => format!("{device} ({address})"),
        (Some(only), None) | (None, Some(only)) => only,
        (None, None) => "an unnamed machine".to_owned(),
    };
    if listed.login_method == Some(LoginMethod::Paste) {
        machine.push_str(", pasted");
    }
    machine
}
