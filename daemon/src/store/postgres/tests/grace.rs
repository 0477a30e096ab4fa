//! What memory answers while the database is away.

use std::time::Duration;

use infra_peers::postgresql::{PostgreSQL, USER};
use infra_shared::clock::SystemClock;
use infra_shared::token_text::{AudienceToken, SessionToken};
use tokio::task::JoinSet;

use super::{open_member, over_socket, store_on};
use crate::keys::RowKeys;
use crate::store::contract::{at, session_with_token};
use crate::store::{
    AudienceTokenRow, DatabaseHost, EndReason, IssueOutcome, MemberID, PostgresDatabase, SessionSelector,
    Store, TokenHash,
};

/// Longer than the tests take.
const LONG: Duration = Duration::from_hours(1);

/// A member that follows changes.
struct Member {
    server: PostgreSQL,
    store: Store,
    _following: JoinSet<()>,
}

impl Member {
    /// `None` if there is no PostgreSQL, which is reported.
    async fn start(grace: Duration) -> Option<Self> {
        let server = PostgreSQL::start()?;
        let store = store_on(&server).await.with_grace(grace);
        Some(Self::follow(server, store))
    }

    fn follow(server: PostgreSQL, store: Store) -> Self {
        let (followed, mut following) = (store.clone(), JoinSet::new());
        following.spawn(async move { followed.follow_changes(&SystemClock, |_| ()).await });
        Self { server, store, _following: following }
    }

    /// Opens a session, and waits until its token is answered from memory.
    async fn cached_session(&self, subject: &str) -> SessionToken {
        let (token, new) = session_with_token(subject, 0);
        self.store.open_session(new, 48).await.expect("stored");
        remember(&self.store, &token).await;
        token
    }

    fn answers_in_grace(&self, token: &str) -> bool {
        self.store.find_token_in_grace(token).is_some()
    }
}

/// Looks a token up until memory has it: the first poll clears the memory.
pub(super) async fn remember(store: &Store, token: &SessionToken) {
    for _ in 0..1200 {
        assert!(store.find_token(token.expose()).await.expect("an answer").is_some());
        if store.find_cached_token(token.expose()).is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: it is in memory");
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
async fn known_session_token_is_answered_while_database_is_away() {
    let Some(mut member) = Member::start(LONG).await else { return };
    let token = member.cached_session("00u1").await;
    let audience = AudienceToken::mint();
    let row = AudienceTokenRow {
        id: audience.id().clone(),
        token_hash: TokenHash::of_audience_token(&audience),
        session: token.id().clone(),
        audience: "wiki".to_owned(),
        created_at: at(0),
        expires_at: at(600),
    };
    assert_eq!(member.store.issue_audience_token(row, 5).await.expect("an answer"), IssueOutcome::Issued);
    assert!(member.store.find_token(audience.expose()).await.expect("an answer").is_some());
    assert!(!member.answers_in_grace(token.expose()), "the database is there");

    member.server.stop();
    eventually("memory answers", || member.answers_in_grace(token.expose())).await;
    assert!(member.store.find_cached_token(token.expose()).is_none(), "it is not current");
    assert!(!member.answers_in_grace(audience.expose()));
    let unknown = SessionToken::mint();
    assert!(!member.answers_in_grace(unknown.expose()));
    let refused = member.store.find_token(token.expose()).await.expect_err("no database");
    assert!(refused.is_transient(), "{refused}");
    assert_eq!(member.store.begin_grace(), Some(LONG));
    assert_eq!(member.store.begin_grace(), None);

    // Its holder tries to sign out.
    member.store.drop_token_from_cache(token.expose());
    assert!(!member.answers_in_grace(token.expose()));

    member.server.start_again();
    let store = &member.store;
    for _ in 0..1200 {
        if store.find_token(token.expose()).await.is_ok() && store.find_cached_token(token.expose()).is_some()
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(store.find_cached_token(token.expose()).is_some(), "it is current again");
    assert!(!member.answers_in_grace(token.expose()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_that_could_not_be_revoked_has_no_grace() {
    let Some(mut member) = Member::start(LONG).await else { return };
    let (token, other) = (member.cached_session("00u1").await, member.cached_session("00u2").await);
    member.server.stop();
    eventually("memory answers", || member.answers_in_grace(token.expose())).await;
    let one = SessionSelector::Ids(vec![token.id().clone()]);
    member.store.revoke(one, at(1), EndReason::Operator).await.expect_err("no database");
    assert!(!member.answers_in_grace(token.expose()) && member.answers_in_grace(other.expose()));
    member.store.revoke(SessionSelector::ALL, at(1), EndReason::Operator).await.expect_err("no database");
    assert!(!member.answers_in_grace(other.expose()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grace_ends_and_is_off_by_default() {
    let Some(mut member) = Member::start(Duration::from_secs(8)).await else { return };
    let token = member.cached_session("00u1").await;
    let without = open_member(&member.server).await;
    let followed = without.clone();
    let following = tokio::spawn(async move { followed.follow_changes(&SystemClock, |_| ()).await });
    remember(&without, &token).await;
    member.server.stop();
    let mut is_answered_without = false;
    let mut look = |member: &Member| {
        is_answered_without |= without.find_token_in_grace(token.expose()).is_some();
        member.answers_in_grace(token.expose())
    };
    eventually("memory answers", || look(&member)).await;
    eventually("it stops", || !look(&member)).await;
    assert!(!is_answered_without);
    following.abort();
}

/// It is wrong until its grace is over, as SECURITY.md says, and no longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_off_member_stops_answering_after_its_grace() {
    let Some(server) = PostgreSQL::start() else { return };
    let other = store_on(&server).await;
    // The way of the first member to the database.
    let way = tempfile::tempdir().expect("a directory");
    let name = format!(".s.PGSQL.{}", server.port());
    let (from, to) = (way.path().join(&name), server.socket().join(&name));
    std::os::unix::fs::symlink(&to, &from).expect("our own directory");
    let mut settings = over_socket(&server, "infra");
    settings.hosts = vec![DatabaseHost::Socket { directory: way.path().to_owned(), port: server.port() }];
    let database = PostgresDatabase::new(&settings).expect("a pool");
    let store = Store::connect(database, RowKeys::fixed().into(), MemberID::random()).await.expect("a store");
    let member = Member::follow(server, store.with_grace(Duration::from_secs(8)));
    let token = member.cached_session("00u1").await;

    std::fs::remove_file(&from).expect("our own directory");
    let cut =
        format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{USER}'");
    member.server.sql_as("postgres", "infra", &cut);
    eventually("memory answers", || member.answers_in_grace(token.expose())).await;
    // The connections of the other member are gone too, and it opens new ones.
    let one = SessionSelector::Ids(vec![token.id().clone()]);
    let mut is_revoked = false;
    for _ in 0..16 {
        is_revoked |= other.revoke(one.clone(), at(1), EndReason::Logout).await.is_ok();
    }
    assert!(is_revoked);
    eventually("it stops", || !member.answers_in_grace(token.expose())).await;
    member.store.find_token(token.expose()).await.expect_err("no database");

    std::os::unix::fs::symlink(&to, &from).expect("our own directory");
    for _ in 0..1200 {
        if let Ok(found) = member.store.find_token(token.expose()).await {
            assert!(found.expect("a row").session.ended.is_some());
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: the database is reached again");
}
