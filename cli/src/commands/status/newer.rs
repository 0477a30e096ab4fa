//! A session that was opened elsewhere is told once, to whoever asks about the own one: it may be a thief's.

use infra_shared::api::{ListedSession, OpenedBy};
use infra_shared::printable::printable;

use super::super::{Context, times};
use super::Report;
use super::look::{remember, warn_if_not_stored};
use crate::home::Storage;

/// More of a host name than anybody reads.
const MAX_CHARACTERS: usize = 64;

/// Tells of it, unless it was told before or nobody wants to hear anything.
pub(crate) fn tell_of_newer(context: &Context, report: &Report) {
    let (Some(newer), Some(origin), Some(token)) = (&report.newer, &report.server, &report.token) else {
        return;
    };
    // The token of the environment has no place where it could be remembered that this was told.
    if context.terminal.quiet || report.storage == Some(Storage::Environment) {
        return;
    }
    let state = context.home.read();
    let told = state.ok().and_then(|state| state.sessions.sessions.get(origin)?.told_of.clone());
    if told.as_ref() == Some(&newer.session.id) {
        return;
    }
    let id = &newer.session.id;
    context.terminal.warn(&format!(
        "another session of yours was opened at {origin}, {}, {}; if that was not you: `infra sessions revoke {id}`",
        times::local(newer.session.created_at, context.now()),
        from(newer)
    ));
    let told = remember(context, origin, token, |stored| stored.told_of = Some(id.clone()));
    warn_if_not_stored(context, told);
}

/// Where a session was opened, as far as its client said so.
pub(crate) fn from(listed: &ListedSession) -> String {
    let device = listed.device.as_deref().map(|device| printable(device, MAX_CHARACTERS));
    let address = listed.address.as_deref().map(|address| printable(address, MAX_CHARACTERS));
    let mut from = match (device, address) {
        (Some(device), Some(address)) => format!("from {device} ({address})"),
        (Some(from), None) | (None, Some(from)) => format!("from {from}"),
        (None, None) => "from a machine that did not say its name".to_owned(),
    };
    if listed.opened_by == OpenedBy::Paste {
        from.push_str(", pasted");
    }
    from
}
