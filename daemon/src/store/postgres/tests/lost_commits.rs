//! Failovers that lost commits, and restored dumps. A failover is imitated by setting rows back, all in one transaction.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use infra_peers::postgresql::PostgreSQL;
use infra_shared::clock::SystemClock;
use infra_shared::token_text::SessionToken;
use tokio::task::JoinHandle;

use super::{open_member, store_on};
use crate::store::contract::{at, revoke, session_with_token};
use crate::store::postgres::session_rows::DUMMY_ID;
use crate::store::{EndReason, LossCause, NewSession, RevokedAgain, SessionSelector, Store};

/// A member that follows changes, and what it reported.
struct Member {
    store: Store,
    reports: Arc<Mutex<Vec<RevokedAgain>>>,
    following: JoinHandle<()>,
}

impl Member {
    fn follow(store: Store) -> Self {
        let reports: Arc<Mutex<Vec<RevokedAgain>>> = Arc::default();
        let (followed, reported) = (store.clone(), reports.clone());
        let following = tokio::spawn(async move {
            let report = |again| reported.lock().expect("no test panics in it").push(again);
            followed.follow_changes(&SystemClock, report).await;
        });
        Self { store, reports, following }
    }

    /// Waits until a poll has found the change with this number.
    async fn wait_for(&self, number: u64) {
        eventually("the change is known", async || self.store.guard_counter() == number).await;
    }

    fn reports(&self) -> Vec<RevokedAgain> {
        self.reports.lock().expect("no test panics in it").clone()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.following.abort();
    }
}

async fn eventually(what: &str, mut is_met: impl AsyncFnMut() -> bool) {
    for _ in 0..1200 {
        if is_met().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

async fn open(store: &Store, subject: &str) -> (SessionToken, NewSession) {
    let (token, new) = session_with_token(subject, 0);
    store.open_session(new.clone(), 1).await.expect("stored");
    (token, new)
}

async fn is_live(store: &Store, token: &SessionToken) -> bool {
    let found = store.find_token(token.expose()).await.expect("an answer").expect("a row");
    found.session.ended.is_none()
}

/// What a failover does that loses all changes after `number`: the sessions of these are valid again.
fn lose_changes_after(server: &PostgreSQL, number: u64) {
    server.sql("infra", &lost_after(number));
}

fn lost_after(number: u64) -> String {
    format!(
        "UPDATE sessions SET ended_at = NULL, end_reason = NULL, revision = revision - 1 WHERE ended_at IS NOT NULL AND \
         id <> '{DUMMY_ID}' AND (EXISTS (SELECT FROM changes WHERE number > {number} AND (is_all OR sessions.id = ANY (session_ids)))); \
         DELETE FROM changes WHERE number > {number}; UPDATE counter SET value = {number}"
    )
}

fn reasons(server: &PostgreSQL) -> Vec<String> {
    let select =
        format!("SELECT coalesce(end_reason, 'live') FROM sessions WHERE id <> '{DUMMY_ID}' ORDER BY 1");
    server.sql("infra", &select).lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_sign_out_is_revoked_again_by_its_member() {
    let Some(server) = PostgreSQL::start() else { return };
    let one = Member::follow(store_on(&server).await);
    let other = Member::follow(open_member(&server).await);
    let (token, new) = open(&one.store, "00u1").await;
    let (kept, _) = open(&one.store, "00u2").await;
    assert!(revoke(&one.store, &new.id, 1, EndReason::Logout).await);
    one.wait_for(1).await;
    other.wait_for(1).await;
    lose_changes_after(&server, 0);
    eventually("it is revoked again", async || server.sql("infra", "SELECT value FROM counter") == "1").await;
    assert_eq!(reasons(&server), ["live", "logout"]);
    for member in [&one, &other] {
        eventually("the member rejects it", async || !is_live(&member.store, &token).await).await;
        eventually("the member reports it", async || !member.reports().is_empty()).await;
        assert!(is_live(&member.store, &kept).await);
    }
    assert_eq!(one.reports(), [RevokedAgain { cause: LossCause::Failover, sessions: 1 }]);
    // It lost nothing of its own.
    assert_eq!(other.reports(), [RevokedAgain { cause: LossCause::Failover, sessions: 0 }]);
}

/// The failover comes before the next poll, so the polls find the same change as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_out_lost_before_next_poll_is_revoked_again() {
    let Some(server) = PostgreSQL::start() else { return };
    let store = store_on(&server).await;
    let (token, new) = open(&store, "00u1").await;
    let (_, earlier) = open(&store, "00u2").await;
    assert!(revoke(&store, &earlier.id, 1, EndReason::Logout).await);
    let polling = Member::follow(store.clone());
    polling.wait_for(1).await;
    drop(polling);
    assert!(revoke(&store, &new.id, 1, EndReason::Logout).await);
    lose_changes_after(&server, 1);
    assert!(is_live(&store, &token).await, "the failover brought it back");
    let member = Member::follow(store.clone());
    eventually("it is revoked again", async || !is_live(&member.store, &token).await).await;
    eventually("it is reported", async || !member.reports().is_empty()).await;
    assert_eq!(member.reports(), [RevokedAgain { cause: LossCause::Failover, sessions: 1 }]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_sign_out_is_found_when_numbers_are_used_again() {
    let Some(server) = PostgreSQL::start() else { return };
    let member = Member::follow(store_on(&server).await);
    let (token, new) = open(&member.store, "00u1").await;
    assert!(revoke(&member.store, &new.id, 1, EndReason::Administrator).await);
    member.wait_for(1).await;
    // Other members were faster than the next poll of this one.
    let other_changes =
        "INSERT INTO changes (number, session_ids) VALUES (1, '{}'), (2, '{}'); UPDATE counter SET value = 2";
    server.sql("infra", &format!("{}; {other_changes}", lost_after(0)));
    eventually("it is revoked again", async || !is_live(&member.store, &token).await).await;
    eventually("it is reported", async || !member.reports().is_empty()).await;
    assert_eq!(reasons(&server), ["administrator"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_mass_revocation_is_repeated_with_reasons() {
    let Some(server) = PostgreSQL::start() else { return };
    let member = Member::follow(store_on(&server).await);
    open(&member.store, "00u1").await;
    // The second session of this user revokes the first.
    open(&member.store, "00u1").await;
    open(&member.store, "00u2").await;
    member.store.revoke(SessionSelector::ALL, at(1), EndReason::Operator).await.expect("stored");
    member.wait_for(2).await;
    lose_changes_after(&server, 0);
    eventually("all are revoked again", async || !reasons(&server).contains(&"live".to_owned())).await;
    assert_eq!(reasons(&server), ["operator", "operator", "session_limit"]);
    eventually("it is reported", async || !member.reports().is_empty()).await;
    assert_eq!(member.reports(), [RevokedAgain { cause: LossCause::Failover, sessions: 3 }]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_is_repeated_once_database_accepts_it() {
    let Some(server) = PostgreSQL::start() else { return };
    let member = Member::follow(store_on(&server).await);
    let (token, new) = open(&member.store, "00u1").await;
    assert!(revoke(&member.store, &new.id, 1, EndReason::Logout).await);
    member.wait_for(1).await;
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$; \
                  CREATE TRIGGER refuse BEFORE UPDATE OF ended_at ON sessions FOR EACH ROW WHEN (NEW.ended_at IS NOT NULL) \
                  EXECUTE FUNCTION refuse()";
    server.sql("infra", &format!("{}; {refuse}", lost_after(0)));
    eventually("the loss is known", async || member.store.guard_counter() == 0).await;
    assert!(is_live(&member.store, &token).await && member.reports().is_empty());
    server.sql("infra", "DROP TRIGGER refuse ON sessions");
    eventually("it is revoked again", async || !is_live(&member.store, &token).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_dump_revokes_all_sessions() {
    let Some(server) = PostgreSQL::start() else { return };
    let store = store_on(&server).await;
    let (signed_out, new) = open(&store, "00u1").await;
    let (other, _) = open(&store, "00u2").await;
    assert_eq!(store.revoke_if_restored(at(1)).await.expect("an answer"), None);
    let dump = server.dump("infra");
    // A member that runs through the restore.
    let member = Member::follow(store.clone());
    assert!(revoke(&store, &new.id, 1, EndReason::Logout).await);
    member.wait_for(1).await;
    server.restore("infra", &dump);
    eventually("all are revoked", async || reasons(&server) == ["restored", "restored"]).await;
    eventually("it is reported", async || !member.reports().is_empty()).await;
    assert_eq!(member.reports(), [RevokedAgain { cause: LossCause::Restore, sessions: 2 }]);
    for token in [&signed_out, &other] {
        assert!(!is_live(&store, token).await);
    }
    assert_eq!(store.revoke_if_restored(at(1)).await.expect("an answer"), None, "it is settled");
    // Another member that knew higher numbers finds no older copy later.
    assert!(store.guard_counter() > 1);
    drop(member);

    // Members that start after the restore.
    server.restore("infra", &dump);
    let store = open_member(&server).await;
    assert!(is_live(&store, &signed_out).await, "the dump brought it back");
    let revoked = store.revoke_if_restored(at(2)).await.expect("stored");
    assert_eq!(revoked, Some(RevokedAgain { cause: LossCause::Restore, sessions: 2 }));
    assert!(!is_live(&store, &signed_out).await && !is_live(&store, &other).await);
    assert_eq!(store.revoke_if_restored(at(3)).await.expect("an answer"), None);
}
