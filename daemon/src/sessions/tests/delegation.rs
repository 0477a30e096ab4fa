//! Delegated sessions: what they may do, how long they last, and that they end with their parents.

use super::*;

const GIT: AcceptedTokens<'static> =
    AcceptedTokens { audience: Some("git"), session_token: false, signed: false };
const GIT_OR_SESSION: AcceptedTokens<'static> =
    AcceptedTokens { audience: Some("git"), session_token: true, signed: false };
const WIKI_OR_SESSION: AcceptedTokens<'static> =
    AcceptedTokens { audience: Some("wiki"), session_token: true, signed: false };
const DAEMON: AcceptedTokens<'static> = AcceptedTokens::SESSION_TOKEN;

fn delegation(lifetime: SignedDuration) -> NewDelegation {
    NewDelegation {
        audiences: vec!["git".to_owned(), "ci".to_owned()],
        label: Label::parse("agent").expect("a label"),
        lifetime,
        from: std::net::Ipv4Addr::LOCALHOST.into(),
    }
}

impl Fixture {
    /// A session that the caller delegates for an hour.
    async fn delegate(&self, caller: &UndelegatedCaller) -> MintedSession {
        let new = delegation(SignedDuration::from_hours(1));
        self.sessions.delegate(caller, new).await.expect("a delegated session")
    }

    async fn validate(&self, token: &str) -> Result<Caller, NotAuthenticated> {
        self.sessions.authenticate(token, SessionUse::Recorded).await
    }

    /// Whether a token is accepted, from the store and from the cache alike.
    async fn is_accepted(&self, token: &str, accepted: AcceptedTokens<'_>) -> bool {
        let validated = self.sessions.authenticate_for(token, accepted, SessionUse::Recorded).await;
        let cached = self.sessions.authenticate_cached(token, accepted);
        assert_eq!(validated.is_ok(), cached.is_some(), "{accepted:?}");
        if let Err(error) = &validated {
            assert!(matches!(error, NotAuthenticated::AudienceMismatch), "{error}");
        }
        validated.is_ok()
    }
}

#[tokio::test]
async fn delegated_session_is_accepted_for_its_audiences_only() {
    let setup = Fixture::new().await;
    let parent = setup.open_session().await;
    let caller = setup.validate(parent.expose()).await.expect("a caller");
    let owner = caller.require_undelegated().expect("a session of a login");
    let MintedSession { token, session } = setup.delegate(&owner).await;
    let delegation = session.delegation.clone().expect("a delegation");
    assert_eq!((&delegation.parent, delegation.label.as_str()), (parent.id(), "agent"));
    for (accepted, is_accepted) in
        [(DAEMON, true), (GIT_OR_SESSION, true), (WIKI_OR_SESSION, false), (GIT, false)]
    {
        assert_eq!(setup.is_accepted(token.expose(), accepted).await, is_accepted, "{accepted:?}");
    }
    assert!(setup.is_accepted(parent.expose(), WIKI_OR_SESSION).await, "the parent has no limit");
    let shown = setup.validate(token.expose()).await.expect("a caller");
    assert_eq!((shown.session(), shown.user()), (&session, owner.user()));
}

#[tokio::test]
async fn delegated_session_may_get_tokens_for_its_audiences_only() {
    let setup = Fixture::new().await;
    let owner = setup.caller(alice(), true).await;
    let MintedSession { token, session } = setup.delegate(&owner).await;
    let caller = setup.validate(token.expose()).await.expect("a caller");
    for (audience, is_allowed) in
        [("git", true), ("ci", true), ("wiki", false), ("gi", false), ("git2", false), ("", false)]
    {
        let expected = if is_allowed { Ok(()) } else { Err(NotDelegated::Audience) };
        assert_eq!(caller.require_audience(audience), expected, "{audience}");
        assert_eq!(owner.require_audience(audience), Ok(()), "the parent has no limit");
    }
    assert_eq!(caller.clone().require_undelegated().map(|_| ()), Err(NotDelegated::Route));
    let issued = setup.sessions.issue_audience_token(&caller, "git").await.expect("a token");
    assert!(issued.expires_at <= session.expires_at);
    assert!(setup.is_accepted(issued.token.expose(), GIT).await);
    assert!(!setup.is_accepted(issued.token.expose(), WIKI_OR_SESSION).await);
    // Even if one was issued for another audience.
    let issued = setup.sessions.issue_audience_token(&caller, "wiki").await.expect("a token");
    assert!(!setup.is_accepted(issued.token.expose(), WIKI_OR_SESSION).await);
}

#[tokio::test]
async fn delegated_session_ends_with_parent_in_cache_too() {
    let setup = Fixture::new().await;
    let owner = setup.caller(alice(), true).await;
    let MintedSession { token, .. } = setup.delegate(&owner).await;
    let caller = setup.validate(token.expose()).await.expect("a caller");
    let issued = setup.sessions.issue_audience_token(&caller, "git").await.expect("a token");
    assert!(setup.is_accepted(issued.token.expose(), GIT).await);
    assert!(setup.is_accepted(token.expose(), DAEMON).await);
    setup.sessions.log_out(&owner).await.expect("ended");
    for (token, accepted) in [(token.expose(), DAEMON), (issued.token.expose(), GIT)] {
        assert!(setup.sessions.authenticate_cached(token, accepted).is_none());
        let refused = setup.sessions.authenticate_for(token, accepted, SessionUse::Recorded).await;
        assert!(matches!(refused, Err(NotAuthenticated::Revoked)), "{refused:?}");
    }
    assert_eq!(setup.sessions.counts().ended.get("logout"), Some(&2));
    let refused = setup.sessions.delegate(&owner, delegation(SignedDuration::from_hours(1))).await;
    assert!(matches!(refused, Err(DelegationError::SessionEnded)), "{refused:?}");
}

#[tokio::test]
async fn delegated_session_signs_itself_out_alone() {
    let setup = Fixture::new().await;
    let owner = setup.caller(alice(), true).await;
    let MintedSession { token, .. } = setup.delegate(&owner).await;
    let caller = setup.validate(token.expose()).await.expect("a caller");
    setup.sessions.log_out(&caller).await.expect("ended");
    assert!(matches!(setup.validate(token.expose()).await, Err(NotAuthenticated::Revoked)));
    assert_eq!(setup.sessions.list_own(&owner).await.expect("sessions").len(), 1);
}

#[tokio::test]
async fn delegated_session_lasts_no_longer_than_its_parent() {
    let mut setup = Fixture::new().await;
    let owner = setup.caller(alice(), true).await;
    let ends = owner.session().expires_at;
    let opened_at = setup.clock.now();
    for (hours, expected) in [(1, opened_at + SignedDuration::from_hours(1)), (12, ends), (10_000, ends)] {
        let new = delegation(SignedDuration::from_hours(hours));
        let session = setup.sessions.delegate(&owner, new).await.expect("a session").session;
        assert_eq!(session.expires_at, expected, "{hours} h");
    }
    // A configuration with shorter sessions than the parent has.
    setup.sessions.limits.lifetime = SignedDuration::from_mins(5);
    let session = setup.delegate(&owner).await.session;
    assert_eq!(session.expires_at, opened_at + SignedDuration::from_mins(5));
}

#[tokio::test]
async fn use_of_delegated_session_counts_for_its_parent() {
    let setup = Fixture::new().await;
    let parent = setup.open_session().await;
    let caller = setup.validate(parent.expose()).await.expect("a caller");
    let owner = caller.require_undelegated().expect("a session of a login");
    setup.clock.advance(SignedDuration::from_mins(230));
    let new = delegation(SignedDuration::from_hours(6));
    let token = setup.sessions.delegate(&owner, new).await.expect("a session").token;
    // Together longer than the inactivity timeout of four hours.
    for _ in 0..2 {
        setup.clock.advance(SignedDuration::from_mins(150));
        setup.validate(token.expose()).await.expect("in use");
    }
    setup.validate(parent.expose()).await.expect("its delegated session was in use");
    setup.clock.advance(SignedDuration::from_mins(241));
    for token in [&token, &parent] {
        let refused = setup.validate(token.expose()).await;
        assert!(matches!(refused, Err(NotAuthenticated::Expired)), "{refused:?}");
    }
}

#[tokio::test]
async fn idle_parent_ends_delegated_session_for_good() {
    let setup = Fixture::new().await;
    let parent = setup.open_session().await;
    let caller = setup.validate(parent.expose()).await.expect("a caller");
    let owner = caller.require_undelegated().expect("a session of a login");
    let new = delegation(SignedDuration::from_hours(10));
    let token = setup.sessions.delegate(&owner, new).await.expect("a session").token;
    setup.clock.advance(SignedDuration::from_mins(241));
    setup.validate(parent.expose()).await.expect_err("idle for too long");
    let stored = setup.sessions.store.find_session(token.id()).await.expect("an answer").expect("a row");
    assert_eq!(stored.ended.map(|ended| ended.reason), Some(EndReason::Expired));
}

#[tokio::test]
async fn delegated_sessions_are_limited_and_recorded() {
    let mut setup = Fixture::new().await;
    let path = setup.directory.path().join("audit.jsonl");
    let settings = crate::audit::AuditSettings::File { path: path.clone(), max_bytes: 1 << 20, keep: 1 };
    setup.sessions.audit = Audit::open(&settings, Arc::new(setup.clock.clone())).expect("a log");
    let owner = setup.caller(alice(), true).await;
    let first = setup.delegate(&owner).await;
    for _ in 1..32 {
        setup.delegate(&owner).await;
    }
    let refused = setup.sessions.delegate(&owner, delegation(SignedDuration::from_hours(1))).await;
    let hour = SignedDuration::from_hours(1);
    assert!(matches!(refused, Err(DelegationError::LimitReached(wait)) if wait == hour), "{refused:?}");
    let listed = setup.sessions.list_own(&owner).await.expect("sessions");
    assert_eq!(listed.len(), 33);
    assert!(setup.sessions.find_newer(&owner).await.expect("an answer").is_none(), "they are no sign-ins");
    setup.sessions.log_out(&owner).await.expect("ended");
    let told = std::fs::read_to_string(path).expect("a log");
    let (id, parent) = (first.token.id(), &owner.session().id);
    for line in [
        format!(
            r#""event":"session_delegated","session":"{id}","parent":"{parent}","issuer":"https://okta.test""#
        ),
        r#""audiences":["git","ci"],"label":"agent","address":null"#.to_owned(),
        format!(r#""event":"session_ended","session":"{id}""#),
        format!(r#""event":"session_ended","session":"{parent}""#),
    ] {
        assert!(told.contains(&line), "{line} is missing: {told}");
    }
    assert_eq!(told.matches(r#""event":"session_ended""#).count(), 33);
}
