//! Leases and providers of two members on one server. The tests move times in the database, as waiting would.

use std::time::Duration;

use infra_harness::wait;
use infra_peers::postgresql::PostgreSQL;

use super::{connect, over_socket};
use crate::keys::{RowKeys, Sealed};
use crate::store::contract::at;
use crate::store::{
    BegunOrder, Job, Lease, MemberID, PostgresDatabase, ProviderChange, ProviderRow, Store, StoreError,
};

struct Members {
    server: PostgreSQL,
    one: Store,
    other: Store,
    ids: [MemberID; 2],
}

impl Members {
    /// `None` if there is no PostgreSQL, which is reported.
    async fn start() -> Option<Self> {
        let server = PostgreSQL::start()?;
        server.create_database("infra");
        let database = || PostgresDatabase::new(&over_socket(&server, "infra")).expect("a pool");
        database().create_schema().await.expect("the schema");
        server.allow_slow_statements("infra");
        let ids = [MemberID::random(), MemberID::random()];
        let open = async |id: &MemberID| {
            Store::connect(database(), RowKeys::fixed().into(), id.clone()).await.expect("a store")
        };
        let (one, other) = (open(&ids[0]).await, open(&ids[1]).await);
        Some(Self { server, one, other, ids })
    }

    /// Lets 15 seconds pass for all leases.
    fn pass_time(&self) {
        self.server.sql("infra", "UPDATE leases SET until = until - interval '15 s'");
    }

    /// The heartbeats of both members, the last of them this long ago.
    fn beat(&self, ages: [&str; 2]) {
        for (id, age) in self.ids.iter().zip(ages) {
            self.server.sql(
                "infra",
                &format!(
                    "INSERT INTO members (id, key_version, sealed, schema, newest_key, known) \
                     VALUES ('{id}', 1, '', 1, 1, 0) ON CONFLICT DO NOTHING; \
                     UPDATE members SET seen_at = now() - interval '{age}' WHERE id = '{id}'"
                ),
            );
        }
    }

    #[track_caller]
    fn wait_until(&self, condition: &str) {
        let is_met = || (self.server.sql_as("postgres", "infra", condition) == "t").then_some(());
        assert!(wait::until(Duration::from_mins(1), is_met).is_some(), "never true: {condition}");
    }
}

async fn begin(store: &Store, lease: &Lease) -> Result<BegunOrder, StoreError> {
    store.begin_order(at(0), 3, jiff::SignedDuration::from_hours(1), lease).await
}

fn is_leased<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::Leased("acme")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_that_lost_its_lease_writes_nothing() {
    let Some(members) = Members::start().await else { return };
    let (one, other) = (&members.one, &members.other);
    let lost = one.expect_lease(Job::Acme).await.expect("a lease");
    begin(one, &lost).await.expect("an order");
    assert!(is_leased(&other.expect_lease(Job::Acme).await));

    // The first member is paused for longer than its lease, and the other takes over.
    members.pass_time();
    assert!(is_leased(&begin(one, &lost).await), "the lease is over");
    let held = other.expect_lease(Job::Acme).await.expect("the lease is free");
    assert!(is_leased(&begin(one, &lost).await));
    assert!(is_leased(&one.settle_orders("https://a.test/".to_owned(), at(1), &lost).await));
    assert!(is_leased(&one.forget_acme_account("https://a.test/".to_owned(), &lost).await));
    assert!(is_leased(&one.while_held(&lost, std::future::pending::<Result<(), StoreError>>()).await));
    assert_eq!(one.find_obtained_at("https://a.test/").await.expect("an answer"), None);
    assert_eq!(members.server.sql("infra", "SELECT count(*) FROM acme_orders"), "1");

    begin(other, &held).await.expect("an order");
    // Nor does it get the lease back for its earlier work, once the other is done.
    other.end_lease(held).await;
    let again = one.expect_lease(Job::Acme).await.expect("the lease is free");
    assert!(is_leased(&begin(one, &lost).await));
    begin(one, &again).await.expect("an order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_is_renewed_late_unless_another_member_took_it() {
    let Some(members) = Members::start().await else { return };
    let lease = members.one.expect_lease(Job::Acme).await.expect("a lease");
    members.pass_time();
    assert!(is_leased(&begin(&members.one, &lease).await));
    let renewed = members.one.expect_lease(Job::Acme).await.expect("no other member took it");
    assert_eq!(renewed.fence, lease.fence);
    begin(&members.one, &lease).await.expect("an order");
}

/// A takeover waits for the transactions of the holder, so none of them commits after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_is_taken_over_only_after_write_in_progress() {
    let Some(members) = Members::start().await else { return };
    let lease = members.one.expect_lease(Job::Acme).await.expect("a lease");
    // The write waits for this row while it holds the lease.
    let blocker = connect(&over_socket(&members.server, "infra")).await.expect("a connection");
    let blocker = blocker.client().await.expect("a connection");
    blocker.batch_execute("BEGIN; UPDATE acme_pause SET until = until").await.expect("a lock");
    members.server.sql("infra", "UPDATE leases SET until = now() + interval '10 s'");
    let (writer, taker) = (members.one.clone(), members.other.clone());
    let write = tokio::spawn(async move { begin(&writer, &lease).await });
    members.wait_until("SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
    members.wait_until("SELECT until < now() FROM leases");
    let take = tokio::spawn(async move { taker.take_lease(Job::Acme).await });
    members.wait_until("SELECT count(*) = 2 FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
    blocker.batch_execute("COMMIT").await.expect("unlocked");
    write.await.expect("a task").expect("it is written before the takeover");
    take.await.expect("a task").expect("an answer").expect("the lease");
}

fn listed(names: &[&str]) -> Vec<ProviderRow> {
    let row = |name: &&str| ProviderRow {
        name: (*name).to_owned(),
        issuer: format!("https://{name}.test"),
        allow_policy: "everyone".to_owned(),
        client_secret_reference: Sealed::from_store(Vec::new()),
    };
    names.iter().map(row).collect()
}

async fn replace(store: &Store, rows: &[ProviderRow]) -> (ProviderChange, bool) {
    let compared = store.compare_providers(rows).await.expect("an answer");
    store.replace_providers(rows.to_vec(), &compared).await.expect("stored");
    (compared.change, compared.settles_any())
}

/// A rolling update: the sessions of a provider that left end once the last member with the old configuration stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provider_leaves_with_last_member_that_lists_it() {
    let Some(members) = Members::start().await else { return };
    let (one, other) = (&members.one, &members.other);
    let (old, new) = (listed(&["okta", "old"]), listed(&["okta"]));
    members.beat(["0 s", "0 s"]);
    assert_eq!(replace(one, &old).await, (ProviderChange::None, false));
    assert_eq!(replace(other, &new).await, (ProviderChange::ListedByOther, false));
    assert_eq!(replace(one, &old).await, (ProviderChange::None, false), "a provider more ends no session");

    members.beat(["5 s", "0 s"]);
    assert_eq!(replace(other, &new).await, (ProviderChange::ListedByOther, false), "it may still run");
    members.beat(["16 s", "0 s"]);
    assert_eq!(replace(other, &new).await, (ProviderChange::Left, true));
    assert_eq!(replace(other, &new).await, (ProviderChange::None, false), "its rows are gone");
}
