//! What is validated while the shared database is away and the grace lasts.

use std::time::Duration;

use infra_peers::postgresql::{PostgreSQL, USER};
use infra_shared::http::Trust;
use tokio::task::JoinSet;

use super::*;
use crate::keys::RowKeys;
use crate::store::{DatabaseHost, MemberID, PostgresDatabase, PostgresSettings};

const SESSION: AcceptedTokens<'static> = AcceptedTokens::SESSION_TOKEN;
const GIT_OR_SESSION: AcceptedTokens<'static> =
    AcceptedTokens { audience: Some("git"), session_token: true, signed: false };
const GIT: AcceptedTokens<'static> =
    AcceptedTokens { audience: Some("git"), session_token: false, signed: false };

/// A member that follows changes. Its grace is longer than the tests take.
struct Shared {
    server: PostgreSQL,
    setup: Fixture,
    _following: JoinSet<()>,
}

impl Shared {
    /// `None` if there is no PostgreSQL, which is reported.
    async fn start() -> Option<Self> {
        let server = PostgreSQL::start()?;
        server.create_database("infra");
        let settings = PostgresSettings {
            hosts: vec![DatabaseHost::Socket { directory: server.socket().to_owned(), port: server.port() }],
            name: "infra".to_owned(),
            user: USER.to_owned(),
            password: None,
            client_certificate: None,
            trust: Trust::System,
        };
        let database = || PostgresDatabase::new(&settings).expect("a pool");
        database().create_schema().await.expect("the schema");
        let store = Store::connect(database(), RowKeys::fixed().into(), MemberID::random()).await;
        let store = store.expect("a store").with_grace(Duration::from_hours(1));
        let mut setup = Fixture::new().await;
        setup.sessions.store = store.clone();
        let (clock, mut following) = (setup.clock.clone(), JoinSet::new());
        following.spawn(async move { store.follow_changes(&clock, |_| ()).await });
        Some(Self { server, setup, _following: following })
    }

    fn sessions(&self) -> &Sessions {
        &self.setup.sessions
    }

    /// Validates a token until memory answers: the first poll clears the memory.
    async fn remember(&self, token: &str, accepted: AcceptedTokens<'_>) {
        for _ in 0..1200 {
            self.sessions().authenticate_for(token, accepted, SessionUse::Recorded).await.expect("valid");
            if self.sessions().authenticate_cached(token, accepted).is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never: it is in memory");
    }

    /// Stops the database, and waits until `token` is answered in grace.
    async fn lose_database(&mut self, token: &SessionToken) {
        self.server.stop();
        let is_in_grace = || self.sessions().store.find_token_in_grace(token.expose()).is_some();
        eventually("memory answers", is_in_grace).await;
    }

    async fn is_unavailable(
        &self,
        token: &str,
        accepted: AcceptedTokens<'_>,
        session_use: SessionUse,
    ) -> bool {
        let outcome = self.sessions().authenticate_for(token, accepted, session_use).await;
        matches!(outcome, Err(NotAuthenticated::Store(_)))
    }

    fn validations(&self) -> u64 {
        self.sessions().counts().validations_in_grace
    }
}

async fn eventually(what: &str, mut is_met: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if is_met() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_validate_known_session_tokens_in_grace() {
    let Some(mut shared) = Shared::start().await else { return };
    let token = shared.setup.open_session().await;
    shared.remember(token.expose(), SESSION).await;
    let caller = shared.sessions().authenticate(token.expose(), SessionUse::Recorded).await.expect("valid");
    let audience = shared.sessions().issue_audience_token(&caller, "git").await.expect("a token").token;
    shared.remember(audience.expose(), GIT).await;
    assert_eq!(shared.validations(), 0);

    shared.lose_database(&token).await;
    for accepted in [SESSION, GIT_OR_SESSION] {
        let authorized = shared.sessions().authenticate_for(token.expose(), accepted, SessionUse::Recorded);
        assert_eq!(authorized.await.expect("valid in grace").caller().user().subject, "00u1");
    }
    assert_eq!(shared.validations(), 2);

    let (other, unknown) = (audience.expose(), SessionToken::mint());
    for (token, accepted) in
        [(unknown.expose(), SESSION), (other, GIT), (other, GIT_OR_SESSION), (token.expose(), GIT)]
    {
        assert!(shared.is_unavailable(token, accepted, SessionUse::Recorded).await, "{accepted:?}");
    }
    // Users look at their session, list or revoke sessions, and want audience tokens.
    assert!(shared.is_unavailable(token.expose(), SESSION, SessionUse::NotRecorded).await);
    let own = shared.sessions().authenticate(token.expose(), SessionUse::Recorded).await;
    assert!(matches!(own, Err(NotAuthenticated::Store(_))), "{own:?}");
    assert!(shared.sessions().check_store().await.is_err());
    assert_eq!(shared.validations(), 2);

    shared.sessions().forget_token(token.expose());
    assert!(shared.is_unavailable(token.expose(), SESSION, SessionUse::Recorded).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administrator_has_no_grace() {
    let Some(mut shared) = Shared::start().await else { return };
    let user = User { groups: vec!["infra-admins".to_owned()], ..alice() };
    let token = shared.setup.open_session_of(user).await;
    shared.remember(token.expose(), SESSION).await;
    shared.lose_database(&token).await;
    assert!(shared.is_unavailable(token.expose(), SESSION, SessionUse::Recorded).await);
    assert_eq!(shared.validations(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_expires_in_grace_and_use_extends_it() {
    let Some(mut shared) = Shared::start().await else { return };
    let (used, unused) = (shared.setup.open_session().await, shared.setup.open_session().await);
    for token in [&used, &unused] {
        shared.remember(token.expose(), SESSION).await;
    }
    shared.lose_database(&used).await;
    let timeout = shared.sessions().limits.inactivity_timeout;
    let half = SignedDuration::from_secs(timeout.as_secs() / 2);
    shared.setup.clock.advance(half);
    let authorized = shared.sessions().authenticate_for(used.expose(), SESSION, SessionUse::Recorded).await;
    let session = authorized.expect("valid in grace").caller().session().clone();
    assert_eq!(session.idle_expires_at, truncate_to_second(add(shared.setup.clock.now(), timeout)));
    shared.setup.clock.advance(half);
    assert!(shared.is_unavailable(unused.expose(), SESSION, SessionUse::Recorded).await, "it was idle");
    assert!(!shared.is_unavailable(used.expose(), SESSION, SessionUse::Recorded).await);
    shared.setup.clock.advance(shared.sessions().limits.lifetime);
    assert!(
        shared.is_unavailable(used.expose(), SESSION, SessionUse::Recorded).await,
        "its lifetime is over"
    );

    // The database decides, and the session stays expired.
    shared.server.start_again();
    let mut outcome = None;
    for _ in 0..1200 {
        let answered = shared.sessions().authenticate_for(used.expose(), SESSION, SessionUse::Recorded).await;
        if !matches!(answered, Err(NotAuthenticated::Store(_))) {
            outcome = Some(answered);
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(matches!(outcome, Some(Err(NotAuthenticated::Expired))), "{outcome:?}");
}
