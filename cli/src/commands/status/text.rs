//! A report as people read it.

use infra_shared::api::User;
use infra_shared::printable::printable;
use jiff::Timestamp;

use super::super::times;
use super::{Look, Report, State};
use crate::home::Storage;

/// More of a name than anybody reads.
const MAX_CHARACTERS: usize = 256;

pub(super) fn of(report: &Report, now: Timestamp) -> String {
    let Some(server) = &report.server else {
        return "not signed in: no server is known here\n".to_owned();
    };
    let mut lines = vec![match report.state {
        State::Active => format!("signed in to {server}"),
        State::LoggedOut => format!("not signed in to {server}"),
        State::Expired => format!("signed out of {server}: the session has expired"),
        State::Revoked => format!("signed out of {server}: the session was ended"),
        State::Unreachable if report.checked == Look::Offline => {
            format!("not known without asking {server}")
        }
        State::Unreachable => format!("not known: {server} cannot be asked"),
        State::Untrusted => format!("not known: {server} did not prove its identity, and was not asked"),
    }];
    // Of a server that is not trusted more is told, apart; and where the state is known, why nobody was asked is not.
    if let Some(cause) = report.cause.as_ref().filter(|_| report.state == State::Unreachable) {
        lines.push(format!("  because   {cause}"));
    }
    if let Some(user) = &report.user {
        lines.push(format!("  as        {}", account(user)));
        if !user.groups.is_empty() {
            lines.push(format!("  groups    {}", printable(&user.groups.join(", "), MAX_CHARACTERS)));
        }
        lines.push(format!("  provider  {}", printable(&user.provider, MAX_CHARACTERS)));
    }
    if let Some(session) = report.session.as_ref().filter(|_| report.state == State::Active) {
        let left = report.left(session);
        // By the local clock, which is the one that the reader looks at.
        let ends = now.checked_add(left).unwrap_or(now);
        let idle = session.idle_expires_at < session.expires_at;
        let condition = if idle { " unless it is used before" } else { "" };
        lines.push(format!(
            "  until     {} ({} left){condition}",
            times::local(ends, now),
            times::left(left)
        ));
        if idle {
            let rest = session.expires_at.duration_since(session.idle_expires_at) + left;
            let at_last = now.checked_add(rest).unwrap_or(now);
            lines.push(format!("  at last   {} ({} left)", times::local(at_last, now), times::left(rest)));
        }
    }
    // Where it is else is what everybody expects.
    if report.storage == Some(Storage::FileAndKeyring) {
        lines.push("  stored    in the file, with a copy in the keyring".to_owned());
    }
    if matches!(report.state, State::LoggedOut | State::Expired | State::Revoked) {
        lines.push("  try       `infra login`".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}

/// A user by name and e-mail, or by subject where the provider tells neither.
pub(in crate::commands) fn account(user: &User) -> String {
    let text = match (&user.name, &user.email) {
        (Some(name), Some(email)) => format!("{name} ({email})"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => user.subject.clone(),
    };
    printable(&text, MAX_CHARACTERS)
}
