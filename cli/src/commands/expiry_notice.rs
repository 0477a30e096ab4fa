//! Warns once on standard error when a session is about to expire, whichever command runs. The warning is shown only
//! on a terminal, so that it fills no logs or scripts, and never with `-q`.
//!
//! The check uses only the stored expiry time and clock offset, without a request. The inactivity timeout is ignored,
//! because services may use the token without this program's knowledge.

use infra_shared::origin::Origin;
use jiff::{SignedDuration, Timestamp};

use super::{Context, times};
use crate::failure::{Exit, Failure};
use crate::home::{Session, State};

/// How long before expiry the warning starts. For short sessions it starts in the last quarter.
const NOTICE: SignedDuration = SignedDuration::from_mins(15);

/// Runs a command, then warns about the session that expires first.
pub(super) fn with_notice(
    context: &Context,
    command: impl FnOnce(&Context) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let exit = command(context)?;
    if is_shown(context)
        && let Ok(state) = context.home.read()
    {
        let all = &state.sessions.sessions;
        let ending = all.iter().filter_map(|(origin, session)| Some((left(session, context.now())?, origin)));
        if let Some((left, origin)) = ending.min() {
            print_notice(context, &state, origin, left);
        }
    }
    Ok(exit)
}

/// Warns only about the session at `origin`.
pub(super) fn show(context: &Context, state: &State, origin: &Origin) {
    let session = state.sessions.sessions.get(origin).filter(|_| is_shown(context));
    if let Some(left) = session.and_then(|session| left(session, context.now())) {
        print_notice(context, state, origin, left);
    }
}

/// Whether a user reads the warning and the stored sessions are in use.
fn is_shown(context: &Context) -> bool {
    context.terminal.is_terminal_output && !context.terminal.quiet && context.settings.token.is_none()
}

/// Time left of a session that is about to expire.
fn left(stored: &Session, now: Timestamp) -> Option<SignedDuration> {
    let session = &stored.session;
    let left = session.expires_at.duration_since(stored.clock_offset.daemon_time(now));
    let lifetime = session.expires_at.duration_since(session.created_at);
    let is_about_to_end =
        stored.ended.is_none() && left > SignedDuration::ZERO && left < NOTICE.min(lifetime / 4);
    is_about_to_end.then_some(left)
}

fn print_notice(context: &Context, state: &State, origin: &Origin, left: SignedDuration) {
    let now = context.now();
    let end = times::at(now.checked_add(left).unwrap_or(now), now);
    let server =
        if state.config.current.as_ref() == Some(origin) { String::new() } else { format!(" {origin}") };
    context.terminal.warn(&format!(
        "your session at {origin} expires {end} ({} left); `infra login --force{server}` starts a new one",
        times::left(left)
    ));
}

#[cfg(test)]
mod tests {
    use infra_shared::pin::Pin;
    use infra_shared::token_text::SessionToken;

    use std::collections::BTreeMap;

    use super::*;
    use crate::home::{ClockOffset, Storage, TrustRecord};

    /// Time left of a session with this `lifetime` and `age`, if the daemon's clock is `offset` seconds ahead.
    fn left_of(lifetime: SignedDuration, age: SignedDuration, offset: i64) -> Option<SignedDuration> {
        let opened: Timestamp = "2026-11-23T08:00:00Z".parse().expect("a time");
        let times = serde_json::json!({
            "id": "3De8gPGcmq", "createdAt": opened, "expiresAt": opened + lifetime, "idleExpiresAt": opened,
        });
        let user = serde_json::json!({
            "name": null, "email": null, "groups": [], "provider": "okta", "issuer": "https://okta.test",
            "subject": "00u1",
        });
        let session = Session {
            token: SessionToken::mint(),
            session: serde_json::from_value(times).expect("a session"),
            user: serde_json::from_value(user).expect("a user"),
            trust: TrustRecord::Pinned { pin: Pin::of_public_key(b"a") },
            clock_offset: ClockOffset::fixed(offset),
            storage: Storage::File,
            ended: None,
            last_notified: None,
            audience_tokens: BTreeMap::new(),
        };
        left(&session, opened + age)
    }

    #[test]
    fn expiry_is_mentioned_in_last_15_minutes_or_quarter() {
        let minutes = SignedDuration::from_mins;
        for (lifetime, age, left) in [
            (720, 704, None),
            (720, 706, Some(14)),
            (720, 720, None),
            (720, 800, None),
            (10, 7, None),
            (10, 8, Some(2)),
        ] {
            assert_eq!(left_of(minutes(lifetime), minutes(age), 0), left.map(minutes), "{age} of {lifetime}");
        }
    }

    #[test]
    fn expiry_uses_the_daemon_clock() {
        let minutes = SignedDuration::from_mins;
        assert_eq!(left_of(minutes(720), minutes(600), 6600), Some(minutes(10)));
        assert_eq!(left_of(minutes(720), minutes(710), -3600), None);
    }
}
