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
    let (opened, from) = (times::at(newest.session.created_at, context.now()), from(newest));
    context.terminal.warn(&if *count > 1 {
        format!(
            "{count} other sessions of yours were opened at {origin} since you signed in, the newest one {opened}, {from}; \
             `infra sessions` lists them: if one is not yours, `infra sessions revoke ID`"
        )
    } else {
        format!(
            "another session of yours was opened at {origin}, {opened}, {from}; if that was not you: \
             `infra sessions revoke {id}`"
        )
    });
    let shown = store(context, origin, token, |stored| stored.last_notified = Some(id.clone()));
    warn_if_not_stored(context, shown);
}

/// Where a session was opened, as reported by its client.
pub(crate) fn from(listed: &ListedSession) -> String {
    let device = listed.device.as_deref().map(|device| printable(device, MAX_CHARACTERS));
    let address = listed.address.as_deref().map(|address| printable(address, MAX_CHARACTERS));
    let mut from = match (device, address) {
        (Some(device), Some(address)) => format!("from {device} ({address})"),
        (Some(from), None) | (None, Some(from)) => format!("from {from}"),
        (None, None) => "from a machine that did not say its name".to_owned(),
    };
    if listed.login_method == LoginMethod::Paste {
        from.push_str(", pasted");
    }
    from
}
