//! A report as text.

use infra_shared::api::{Delegation, User};
use infra_shared::printable::printable;
use jiff::Timestamp;

use super::super::{ClientError, times};
use super::{CheckMode, Report, State};
use crate::home::Storage;

/// Maximum length of a displayed name.
const MAX_CHARACTERS: usize = 256;

pub(super) fn render(report: &Report, now: Timestamp) -> String {
    let Some(server) = &report.server else {
        return format!("not signed in: no server is known here\n  try       {}\n", report.login);
    };
    let mut lines = vec![match report.state {
        State::Active => format!("signed in to {server}"),
        State::LoggedOut if report.cause.is_some() => {
            format!("not signed in to {server}: the token of INFRA_TOKEN is not valid there")
        }
        State::LoggedOut => format!("not signed in to {server}"),
        State::Expired => format!("signed out of {server}: {} has expired", report.session_by_name()),
        State::Revoked => format!("signed out of {server}: {} was revoked", report.session_by_name()),
        State::Unreachable if report.checked == CheckMode::Offline => {
            format!("cannot check the session at {server} without contacting it")
        }
        State::Unreachable => format!("cannot check the session at {server}: it cannot be reached"),
        State::Untrusted if matches!(report.cause, Some(ClientError::InvalidTrustOptions(_))) => {
            format!("cannot check the session at {server}: it was not contacted")
        }
        State::Untrusted => {
            format!(
                "cannot check the session at {server}: it did not prove its identity; nothing was sent to it"
            )
        }
    }];
    if let Some(why) = why_not_known(report, now) {
        lines.push(format!("  because   {why}"));
    }
    if let Some(user) = &report.user {
        lines.push(format!("  as        {}", account(user)));
        if !user.groups.is_empty() {
            lines.push(format!("  groups    {}", printable(&user.groups.join(", "), MAX_CHARACTERS)));
        }
        lines.push(format!("  provider  {}", printable(&user.provider, MAX_CHARACTERS)));
    }
    if let Some(Delegation { audiences, label, .. }) =
        report.session.as_ref().and_then(|session| session.delegation.as_ref())
    {
        let (label, audiences) = (printable(label, MAX_CHARACTERS), audiences.join(", "));
        lines.push(format!("  delegated to {label}, only for {}", printable(&audiences, MAX_CHARACTERS)));
    }
    if let Some(session) = report.session.as_ref().filter(|_| report.state == State::Active) {
        let left = report.left(session);
        // By the local clock, which the reader uses.
        let ends = now.checked_add(left).unwrap_or(now);
        let idle = session.idle_expires_at < session.expires_at;
        let condition = if idle { ", longer if it is used" } else { "" };
        lines.push(format!(
            "  until     {} ({} left){condition}",
            times::local(ends, now),
            times::left(left)
        ));
        if idle {
            let rest = session.expires_at.duration_since(session.idle_expires_at) + left;
            let latest = now.checked_add(rest).unwrap_or(now);
            lines.push(format!(
                "  at most   until {} ({} left)",
                times::local(latest, now),
                times::left(rest)
            ));
        }
    }
    // The file is the default and is not mentioned.
    if report.storage == Some(Storage::FileAndKeyring) {
        lines.push("  stored    in the file, with a copy in the keyring".to_owned());
    }
    if let Some(over) = report.expired_for() {
        let end = now.checked_sub(over).unwrap_or(now);
        lines.push(format!("  expired   {} ({} ago)", times::local(end, now), times::left(over)));
    }
    if let Some(until) = report.undelivered {
        lines.push(format!(
            "  pending   an earlier sign-out: its session may be valid until {}; `infra logout` delivers it",
            times::local(until, now)
        ));
    }
    match report.state {
        State::LoggedOut | State::Expired | State::Revoked => {
            lines.push(format!("  try       {}", report.login));
        }
        State::Unreachable if report.checked == CheckMode::Offline => {
            lines.push("  try       `infra status`".to_owned());
        }
        State::Unreachable => {
            if let Some(ClientError::Daemon(cause)) = &report.cause {
                lines.push(format!("  try       {}", cause.unreachable_hint(server)));
            }
        }
        State::Active | State::Untrusted => {}
    }
    lines.push(String::new());
    lines.join("\n")
}

/// Why the session's state is unknown. Untrusted servers have a longer message elsewhere.
fn why_not_known(report: &Report, now: Timestamp) -> Option<String> {
    if report.state != State::Unreachable {
        return None;
    }
    match (&report.cause, &report.session) {
        (Some(ClientError::Daemon(cause)), _) => Some(cause.to_string()),
        (_, Some(session)) => {
            let idle = now.checked_sub(report.unused_for(session)).unwrap_or(now);
            Some(format!("if no service has used the session since, it expired {}", times::at(idle, now)))
        }
        (_, None) => Some("the session of INFRA_TOKEN is not stored here".to_owned()),
    }
}

/// A user's name and e-mail address, or the subject if the provider supplies neither.
pub(in crate::commands) fn account(user: &User) -> String {
    let text = match (&user.name, &user.email) {
        (Some(name), Some(email)) => format!("{name} ({email})"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => user.subject.clone(),
    };
    printable(&text, MAX_CHARACTERS)
}

#[cfg(all(test, unix))]
mod tests {
    use infra_harness::hostile_text::{all, assert_inert};

    use super::*;

    #[test]
    fn account_is_one_printable_line_everywhere() {
        let origin = "gate.test".parse().expect("an origin");
        let mut report = Report::without_server();
        report.server = Some(origin);
        for text in all() {
            let user = User {
                name: Some(text.clone()),
                email: Some(text.clone()),
                groups: vec![text.clone(), text.clone()],
                provider: text.clone(),
                issuer: text.clone(),
                subject: text.clone(),
            };
            for user in [
                user.clone(),
                User { name: None, ..user.clone() },
                User { email: None, ..user.clone() },
                User { name: None, email: None, ..user },
            ] {
                report.user = Some(user);
                let shown = render(&report, Timestamp::UNIX_EPOCH);
                assert_inert(&shown);
                assert_eq!(shown.lines().count(), 5, "{shown:?}");
                assert!(shown.chars().count() < 4 * MAX_CHARACTERS, "{} characters", shown.chars().count());
            }
        }
    }
}
