//! Keys of members that share a store.

use std::time::Duration;

use infra_peers::postgresql::{PostgreSQL, USER};
use infra_shared::http::Trust;

use super::*;
use crate::keys::{RowKeys, StoredKeys};
use crate::store::{DatabaseHost, MemberID, PostgresDatabase, PostgresSettings};

/// A server, and the keys and the clock of its members.
struct Members {
    server: PostgreSQL,
    fixture: Fixture,
}

impl Members {
    /// `None` if there is no PostgreSQL, which is reported.
    async fn start() -> Option<Self> {
        let server = PostgreSQL::start()?;
        server.create_database("infra");
        let members = Self { server, fixture: Fixture::new().await };
        let database = members.database();
        database.create_schema().await.expect("the schema");
        database.add_first_keys(&StoredKeys::fixed(), &RowKeys::fixed(), start()).await.expect("stored");
        Some(members)
    }

    fn database(&self) -> PostgresDatabase {
        let (directory, port) = (self.server.socket().to_owned(), self.server.port());
        let settings = PostgresSettings {
            hosts: vec![DatabaseHost::Socket { directory, port }],
            name: "infra".to_owned(),
            user: USER.to_owned(),
            password: None,
            client_certificate: None,
            trust: Trust::System,
        };
        PostgresDatabase::new(&settings).expect("a pool")
    }

    /// The keys of another member.
    async fn join(&self) -> Arc<TokenKeys> {
        let keys = Arc::new(RowKeys::fixed());
        let store = Store::connect(self.database(), keys, MemberID::random()).await.expect("a store");
        self.fixture.token_keys_in(store).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_start_together_create_one_key() {
    let Some(members) = Members::start().await else { return };
    let (one, other) = tokio::join!(members.join(), members.join());
    assert_eq!(one.states(), other.states());
    assert!(other.verify(issue(&one).expose()).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_announces_key_and_others_follow() {
    let Some(members) = Members::start().await else { return };
    let all = [members.join().await, members.join().await, members.join().await];
    members.fixture.clock.advance(DAY * 29);
    for keys in &all {
        keys.maintain().await.expect("the store answers");
    }
    let expected = published(&all[0]);
    assert_eq!(expected.len(), 2);
    assert!(all.iter().all(|keys| published(keys) == expected));
    members.fixture.clock.advance(DAY);
    for keys in &all {
        let token = issue(keys);
        assert!(all.iter().all(|other| other.verify(token.expose()).is_some()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emergency_rotation_reaches_other_members() {
    let Some(members) = Members::start().await else { return };
    let (one, other) = (members.join().await, members.join().await);
    let token = issue(&one);
    one.replace().await.expect("stored");
    other.maintain().await.expect("the store answers");
    assert!(other.verify(token.expose()).is_none());
    assert!(other.verify(issue(&one).expose()).is_some());
}

/// Someone who can write to the tables copies the row, and puts it back after an emergency rotation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn earlier_row_is_replaced_by_members_that_saw_later_one() {
    let Some(members) = Members::start().await else { return };
    let (one, other) = (members.join().await, members.join().await);
    let token = issue(&one);
    members.server.sql("infra", "CREATE TABLE copied AS SELECT * FROM certificates");
    one.replace().await.expect("stored");
    let put_back = "DELETE FROM certificates; INSERT INTO certificates SELECT * FROM copied";
    for damage in [put_back, "DELETE FROM certificates", "UPDATE certificates SET sealed = '\\x00'"] {
        members.server.sql("infra", damage);
        one.maintain().await.expect("the store answers");
        let maintained = async {
            while published(&other) != published(&one) {
                other.maintain().await.expect("the store answers");
            }
        };
        tokio::time::timeout(Duration::from_mins(1), maintained).await.expect("the row is back");
        assert!(other.verify(token.expose()).is_none(), "{damage}");
    }
}
