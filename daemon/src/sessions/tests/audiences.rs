//! Audience tokens, and answers from the cache, which must match those from the store.

use super::*;

const GIT: AcceptedTokens<'static> =
    AcceptedTokens { audience: Some("git"), session_token: false, signed: false };
const GIT_OR_SESSION: AcceptedTokens<'static> =
    AcceptedTokens { audience: Some("git"), session_token: true, signed: false };
const WIKI: AcceptedTokens<'static> =
    AcceptedTokens { audience: Some("wiki"), session_token: true, signed: false };
const SESSION: AcceptedTokens<'static> = AcceptedTokens::SESSION_TOKEN;

/// A fixture with one open session and its token.
struct Signed {
    setup: Fixture,
    token: SessionToken,
}

impl Signed {
    async fn in_with(setup: Fixture) -> Self {
        let token = setup.open_session().await;
        Self { setup, token }
    }

    fn sessions(&self) -> &Sessions {
        &self.setup.sessions
    }

    fn later(&self, seconds: i64) {
        self.setup.clock.advance(SignedDuration::from_secs(seconds));
    }

    /// Validates `token`, and again from the cache.
    async fn cached_caller(
        &self,
        token: &str,
        accepted: AcceptedTokens<'_>,
        session_use: SessionUse,
    ) -> AuthorizedCaller {
        self.sessions().authenticate_for(token, accepted, session_use).await.expect("an authorized caller");
        self.sessions().authenticate_cached(token, accepted).expect("a cached caller")
    }

    /// Issues a token for the service `git`.
    async fn token_for_git(&self) -> MintedAudienceToken {
        let caller =
            self.sessions().authenticate(self.token.expose(), SessionUse::Recorded).await.expect("a caller");
        self.sessions().issue_audience_token(&caller, "git").await.expect("a token")
    }
}

#[tokio::test]
async fn cached_answer_matches_store() {
    let signed = Signed::in_with(Fixture::new().await).await;
    let (sessions, token) = (signed.sessions(), signed.token.expose());
    assert!(sessions.authenticate_cached(token, SESSION).is_none(), "nothing was validated before");
    let cached = signed.cached_caller(token, SESSION, SessionUse::NotRecorded).await;
    let caller = sessions.authenticate(token, SessionUse::NotRecorded).await.expect("a caller");
    for caller in [cached.caller(), &caller] {
        let session = serde_json::to_string(caller.session()).expect("JSON");
        assert_eq!(caller.json().session.get(), session);
        let user: User = serde_json::from_str(caller.json().user.get()).expect("a user");
        assert_eq!(&user, caller.user());
    }
    assert_eq!(cached.caller().session(), caller.session());
    assert!(sessions.authenticate_cached(SessionToken::mint().expose(), SESSION).is_none());

    sessions.log_out(&caller).await.expect("ended");
    assert!(sessions.authenticate_cached(token, SESSION).is_none());
}

#[tokio::test]
async fn use_that_must_be_stored_bypasses_cache() {
    let signed = Signed::in_with(Fixture::new().await).await;
    let (sessions, token) = (signed.sessions(), signed.token.expose());
    signed.later(59);
    let before = signed.cached_caller(token, SESSION, SessionUse::NotRecorded).await;
    let rendered = before.caller().json().session.get().to_owned();
    signed.later(1);
    assert!(sessions.authenticate_cached(token, SESSION).is_none());
    let caller = sessions.authenticate(token, SessionUse::Recorded).await.expect("a caller");
    let cached = signed.cached_caller(token, SESSION, SessionUse::NotRecorded).await;
    for caller in [&caller, cached.caller()] {
        assert_ne!(caller.json().session.get(), rendered, "the session idles longer now");
        assert_eq!(caller.json().session.get(), serde_json::to_string(caller.session()).expect("JSON"));
    }
}

#[tokio::test]
async fn cached_answer_ends_with_session_lifetime() {
    let mut setup = Fixture::new().await;
    setup.sessions.limits.lifetime = SignedDuration::from_secs(30);
    let signed = Signed::in_with(setup).await;
    let token = signed.token.expose();
    signed.later(29);
    for accepted in [SESSION, GIT_OR_SESSION] {
        signed.cached_caller(token, accepted, SessionUse::NotRecorded).await;
    }
    for _ in 0..2 {
        signed.later(1);
        for accepted in [SESSION, GIT_OR_SESSION] {
            assert!(signed.sessions().authenticate_cached(token, accepted).is_none());
        }
    }
}

#[tokio::test]
async fn session_token_is_accepted_for_service_only_if_allowed() {
    let signed = Signed::in_with(Fixture::new().await).await;
    let (sessions, token) = (signed.sessions(), signed.token.expose());
    let authorized = signed.cached_caller(token, GIT_OR_SESSION, SessionUse::Recorded).await;
    assert_eq!(authorized.caller().session().id, *signed.token.id());
    assert_eq!(authorized.issued_at(), authorized.caller().session().created_at);
    assert_eq!(authorized.expires_at(), authorized.caller().session().expires_at);
    assert!(sessions.authenticate_cached(token, GIT).is_none());
    let refused = sessions.authenticate_for(token, GIT, SessionUse::Recorded).await;
    assert!(matches!(refused, Err(NotAuthenticated::AudienceMismatch)), "{refused:?}");
}

#[tokio::test]
async fn audience_token_is_valid_for_one_audience_and_ten_minutes() {
    let signed = Signed::in_with(Fixture::new().await).await;
    let sessions = signed.sessions();
    signed.later(7);
    let MintedAudienceToken { token, expires_at } = signed.token_for_git().await;
    let opened_at = truncate_to_second(signed.setup.clock.now());
    assert_eq!(expires_at, opened_at + SignedDuration::from_mins(10));
    let authorized = signed.cached_caller(token.expose(), GIT, SessionUse::Recorded).await;
    assert_eq!((authorized.issued_at(), authorized.expires_at()), (opened_at, expires_at));
    assert_eq!(authorized.caller().session().id, *signed.token.id());

    assert!(sessions.authenticate_cached(token.expose(), WIKI).is_none());
    let refused = sessions.authenticate_for(token.expose(), WIKI, SessionUse::Recorded).await;
    assert!(matches!(refused, Err(NotAuthenticated::AudienceMismatch)), "{refused:?}");
    let refused = sessions.authenticate(token.expose(), SessionUse::Recorded).await;
    assert!(matches!(refused, Err(NotAuthenticated::AudienceMismatch)), "{refused:?}");
    assert!(sessions.authenticate_cached(token.expose(), SESSION).is_none(), "it is not the session's own");

    signed.later(599);
    signed.cached_caller(token.expose(), GIT, SessionUse::Recorded).await;
    signed.later(1);
    assert!(sessions.authenticate_cached(token.expose(), GIT).is_none());
    for _ in 0..2 {
        let refused = sessions.authenticate_for(token.expose(), GIT, SessionUse::Recorded).await;
        assert!(matches!(refused, Err(NotAuthenticated::Expired)), "{refused:?}");
        signed.later(1);
        assert!(sessions.authenticate_cached(token.expose(), GIT).is_none());
    }
}

#[tokio::test]
async fn audience_token_ends_with_its_session() {
    let mut setup = Fixture::new().await;
    setup.sessions.limits.lifetime = SignedDuration::from_secs(30);
    let signed = Signed::in_with(setup).await;
    let MintedAudienceToken { token, expires_at } = signed.token_for_git().await;
    let authorized = signed.cached_caller(token.expose(), GIT, SessionUse::Recorded).await;
    assert_eq!(authorized.expires_at(), authorized.caller().session().expires_at);
    assert_eq!(expires_at, authorized.expires_at());
    signed.sessions().log_out(authorized.caller()).await.expect("ended");
    assert!(signed.sessions().authenticate_cached(token.expose(), GIT).is_none());
    let refused = signed.sessions().authenticate_for(token.expose(), GIT, SessionUse::Recorded).await;
    assert!(matches!(refused, Err(NotAuthenticated::Revoked)), "{refused:?}");
}

#[tokio::test]
async fn rejected_tokens_are_counted_by_reason() {
    let mut setup = Fixture::new().await;
    let path = setup.directory.path().join("audit.jsonl");
    let settings = crate::audit::AuditSettings::File { path: path.clone(), max_bytes: 1 << 20, keep: 1 };
    setup.sessions.audit = Audit::open(&settings, Arc::new(setup.clock.clone())).expect("a log");
    let signed = Signed::in_with(setup).await;
    let sessions = signed.sessions();
    let unknown = SessionToken::mint();
    for accepted in [GIT, WIKI] {
        sessions
            .authenticate_for(unknown.expose(), accepted, SessionUse::Recorded)
            .await
            .expect_err("not known");
    }
    sessions
        .authenticate_for(signed.token.expose(), GIT, SessionUse::Recorded)
        .await
        .expect_err("another audience");
    let caller = sessions.authenticate(signed.token.expose(), SessionUse::Recorded).await.expect("a caller");
    sessions.log_out(&caller).await.expect("ended");
    sessions.authenticate(signed.token.expose(), SessionUse::Recorded).await.expect_err("ended");
    sessions.audit.record_counts();
    let told = std::fs::read_to_string(path).expect("a log");
    assert!(
        told.contains(
            r#""event":"tokens_rejected","unknown":2,"expired":0,"revoked":1,"audienceMismatch":1"#
        ),
        "{told}"
    );
}
