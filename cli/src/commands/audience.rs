//! Audience tokens. They are cached with the session while the daemon confirms that it is live, and replaced before
//! they expire.

use std::collections::BTreeMap;

use infra_shared::api::ProblemCode;
use infra_shared::origin::Origin;
use infra_shared::printable::printable;
use infra_shared::token_text::{ServiceToken, SessionToken};
use jiff::{SignedDuration, Timestamp};

use super::status::{CheckMode, State as SessionState, check_session};
use super::{Context, session_token, workload};
use crate::daemon_client::DaemonError;
use crate::failure::{Exit, Failure};
use crate::home::{State, StoredAudienceToken};

/// A token with less time left is replaced.
const MIN_LEFT: SignedDuration = SignedDuration::from_mins(1);
/// Lifetime limit of audience tokens at the daemon.
const MAX_LIFETIME: SignedDuration = SignedDuration::from_mins(10);
/// Tools keep a token until its reported expiry. An earlier one leaves time for requests in progress.
const EARLIER: SignedDuration = SignedDuration::from_secs(30);
/// Maximum number of cached audience tokens: more services than a user needs within ten minutes.
const MAX_CACHED: usize = 64;
/// Maximum length of a displayed name.
const MAX_CHARACTERS: usize = 64;

/// Requirements for an audience token.
pub(super) struct TokenRequest<'a> {
    pub(super) server: Option<&'a Origin>,
    /// The audience or the name of a service.
    pub(super) audience: &'a str,
    pub(super) min_left: SignedDuration,
}

/// A valid audience token, its server and the stored state.
pub(super) struct ValidToken {
    pub(super) token: ServiceToken,
    /// By the local clock.
    pub(super) expires_at: Timestamp,
    pub(super) origin: Origin,
    pub(super) state: State,
}

impl ValidToken {
    /// The expiry for a tool that keeps the token, by the local clock.
    pub(super) fn reported_expiry(&self, now: Timestamp) -> Timestamp {
        reported_expiry(self.expires_at, now)
    }
}

fn reported_expiry(expires_at: Timestamp, now: Timestamp) -> Timestamp {
    let left = expires_at.duration_since(now);
    let earlier = EARLIER.min(left / 2).max(SignedDuration::ZERO);
    let lasts = SignedDuration::from_secs((left - earlier).as_secs());
    // Whole seconds, as in Kubernetes timestamps.
    now.round(jiff::Unit::Second).unwrap_or(now).checked_add(lasts).unwrap_or(now)
}

/// Returns an audience token that stays valid for at least one minute and for `min_left`.
pub(super) fn obtain(context: &Context, request: &TokenRequest<'_>) -> Result<ValidToken, Failure> {
    // From an unset variable of a script.
    if request.audience.is_empty() {
        return Err(Failure::new(Exit::Usage, "the name of the service is empty"));
    }
    // A token never has its full lifetime left, because the response takes time.
    if request.min_left >= MAX_LIFETIME {
        return Err(Failure::new(Exit::Usage, "--min-left is too long")
            .because_text("an audience token is valid for at most 10 minutes".to_owned())
            .hint("`--min-left 9m`"));
    }
    if let Some(token) = workload::obtain(context, request)? {
        return Ok(token);
    }
    let (origin, state, session_token) = session_token::obtain(context, request.server, SignedDuration::ZERO)
        .map_err(workload::explain_missing)?;
    // `INFRA_TOKEN` replaces the stored session, whose cached tokens belong to a different sign-in.
    let stored = state.sessions.sessions.get(&origin).filter(|_| context.settings.token.is_none());
    let needed = request.min_left.max(MIN_LEFT);
    // Read before the requests, so that a slow response never makes the expiry late.
    let before = context.now();
    let by_local_clock = |left: SignedDuration| before.checked_add(left).unwrap_or(before);
    if let Some(stored) = stored
        && let Some(cached) = stored.audience_tokens.get(request.audience)
        && cached.expires_at.duration_since(stored.clock_offset.daemon_time(before)) >= needed
    {
        // The daemon's clock is known better after the check.
        let left = cached.expires_at.duration_since(check_session_live(context, &origin, &state)?);
        if left >= needed {
            let (token, expires_at) = (cached.token.clone(), by_local_clock(left));
            return Ok(ValidToken { token, expires_at, origin, state });
        }
    }

    let connection =
        context.connect_and_deliver(&origin, &state).map_err(|error| error.to_failure(&origin))?;
    let issued = connection
        .client
        .issue_audience_token(&session_token, request.audience)
        .map_err(|error| request_failure(context, &state, (&origin, request.audience), &error))?;
    let left = issued.expires_at.duration_since(issued.now);
    if left < request.min_left {
        let session = stored.map(|stored| &stored.session);
        return Err(session_token::too_short(context, &state, &origin, session, (left, request.min_left)));
    }
    let issued = StoredAudienceToken { token: issued.token, expires_at: issued.expires_at };
    if stored.is_some() {
        cache(context, &origin, &session_token, request.audience, &issued);
    }
    context.store_ca_rollover(&origin, &connection);
    Ok(ValidToken { token: issued.token, expires_at: by_local_clock(left), origin, state })
}

/// Rejects a cached token if the daemon has ended its session, because services would reject it too. If the daemon
/// cannot be reached, the cached token is used. Returns the daemon's time.
fn check_session_live(context: &Context, origin: &Origin, state: &State) -> Result<Timestamp, Failure> {
    let report = check_session(context, origin, state, None, CheckMode::Online);
    match report.state {
        SessionState::Active => Ok(report.now),
        SessionState::Unreachable => {
            context.terminal.verbose(&format!("{origin} cannot be reached: using the cached token"));
            Ok(report.now)
        }
        _ => Err(report.failure()),
    }
}

/// The failure of a request for an audience token.
fn request_failure(
    context: &Context,
    state: &State,
    (origin, audience): (&Origin, &str),
    error: &DaemonError,
) -> Failure {
    let service = printable(audience, MAX_CHARACTERS);
    match error.problem() {
        Some(ProblemCode::NotFound) => Failure::new(
            error.exit(),
            format!("{origin} has no service `{service}`"),
        )
        .because(error)
        .hint("check the spelling: it must be the audience or the name that the service's operator gave you"),
        Some(ProblemCode::Forbidden) => {
            Failure::new(error.exit(), format!("{origin} does not issue you a token for `{service}`"))
                .because(error)
                .hint(format!("ask the operator of {origin} for access, and show this message"))
        }
        // A retry helps after the wait: with INFRA_TOKEN, each call gets a new token.
        Some(ProblemCode::TooManyRequests) => {
            let wait = error.retry_after().unwrap_or(MAX_LIFETIME.unsigned_abs()).as_secs();
            Failure::new(Exit::Unreachable, format!("{origin} issues no more tokens to this session for now"))
                .because(error)
                .hint(format!("again in {wait} s; use each token for its ten minutes, not for one call"))
        }
        _ => session_token::failed_call(context, state, origin, error),
    }
}

/// Caches the token with its session, if that session is still stored.
fn cache(
    context: &Context,
    origin: &Origin,
    session_token: &SessionToken,
    audience: &str,
    issued: &StoredAudienceToken,
) {
    let now = context.now();
    let cached = context.home.update(|state| {
        let session = state.sessions.sessions.get_mut(origin);
        let Some(session) = session.filter(|session| session.token.id() == session_token.id()) else {
            return;
        };
        insert(&mut session.audience_tokens, audience, issued, session.clock_offset.daemon_time(now));
    });
    if let Err(error) = cached {
        context.terminal.warn(&format!("cannot cache the token: {error}"));
    }
}

/// Adds `token`. Drops expired tokens, and the one that expires first if the cache is full.
fn insert(
    tokens: &mut BTreeMap<String, StoredAudienceToken>,
    audience: &str,
    token: &StoredAudienceToken,
    now: Timestamp,
) {
    tokens.retain(|name, cached| name != audience && cached.expires_at > now);
    while tokens.len() >= MAX_CACHED
        && let Some((first, _)) = tokens.iter().min_by_key(|(_, cached)| cached.expires_at)
    {
        let first = first.clone();
        tokens.remove(&first);
    }
    tokens.insert(audience.to_owned(), token.clone());
}

#[cfg(test)]
mod tests {
    use infra_shared::token_text::AudienceToken;

    use super::*;

    #[test]
    fn reported_expiry_is_early_but_not_past() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let now = at("2026-11-23T12:00:00Z");
        for (expires, reported) in [
            ("2026-11-23T12:10:00Z", "2026-11-23T12:09:30Z"),
            ("2026-11-23T12:00:20Z", "2026-11-23T12:00:10Z"),
            ("2026-11-23T11:00:00Z", "2026-11-23T11:00:00Z"),
        ] {
            assert_eq!(reported_expiry(at(expires), now), at(reported), "{expires}");
        }
    }

    #[test]
    fn full_cache_replaces_token_that_expires_first() {
        let now = Timestamp::UNIX_EPOCH;
        let token = |minutes: i64| StoredAudienceToken {
            token: ServiceToken::Opaque(AudienceToken::mint()),
            expires_at: now + SignedDuration::from_mins(minutes),
        };
        let mut tokens = BTreeMap::new();
        for number in 0..MAX_CACHED {
            insert(&mut tokens, &format!("service-{number}"), &token(5), now);
        }
        insert(&mut tokens, "service-7", &token(4), now);
        insert(&mut tokens, "new", &token(3), now);
        assert_eq!(tokens.len(), MAX_CACHED);
        assert!(tokens.contains_key("new") && !tokens.contains_key("service-7"));
        let replacement = token(6);
        insert(&mut tokens, "new", &replacement, now);
        assert_eq!(tokens["new"].expires_at, replacement.expires_at);
    }
}
