//! Copies of a database whose tables someone else wrote to.

use super::transfer::{Both, Target, file, used};
use super::*;
use crate::keys::Keys;
use crate::store::{Copied, Job};

/// Tables with rows that are copied.
const COPIED: [&str; 11] = [
    "sessions",
    "audience_tokens",
    "consumed_tickets",
    "refresh_tokens",
    "providers",
    "provider_endpoints",
    "certificates",
    "acme_accounts",
    "acme_orders",
    "acme_successes",
    "acme_pause",
];
/// Tables with one row, which matter to every start.
const SINGLE: [&str; 2] = ["counter", "ca_rollover"];

/// Copies the database to a new file, and uses the store in it.
async fn copy_and_use(both: &Both, target: &Target, keys: &Keys, name: &str) -> Copied {
    let path = both.file.directory.path().join(name);
    let (to, sealer) = (file(path.clone(), keys), target.keys.field_sealer());
    let copied = target.store.copy_to(to, sealer, at(100)).await;
    let copied = copied.unwrap_or_else(|error| panic!("{name}: {error}")).expect("a comparison");
    let store = Store::open(path.clone(), keys.database_key()).await.expect("a store");
    let used = async {
        store.check().await?;
        store.verify_sessions().await?;
        store.check_clock(at(500))?;
        store.compare_providers(&[]).await?;
        store.live_sessions(at(100), None, 100).await?;
        let lease = store.expect_lease(Job::Acme).await?;
        store.begin_order(at(100), 9, SignedDuration::from_hours(1), &lease).await?;
        store.number_announcement("another".to_owned(), at(101)).await?;
        store.revoke(SessionSelector::ALL, at(102), EndReason::Restored).await
    };
    used.await.unwrap_or_else(|error| panic!("{name}: {error}"));
    drop(store);
    fs::remove_file(path).expect("the copy");
    copied
}

/// All integer columns of a table.
fn integers(both: &Both, table: &str) -> Vec<(String, String)> {
    let select = format!(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'public' \
         AND table_name = '{table}' AND data_type IN ('integer', 'bigint') ORDER BY 1"
    );
    let pair = |line: &str| line.split_once('|').map(|(name, kind)| (name.to_owned(), kind.to_owned()));
    both.server.sql("infra", &select).lines().filter_map(pair).collect()
}

/// Someone who can write to the tables ends no backup, and no store that is restored from one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extreme_value_in_any_column_stops_no_copy() {
    let Some(both) = Both::start().await else { return };
    used(&both).await;
    let (target, other) = (both.fill().await, Fixture::new().await);
    let mut count = 0;
    for table in COPIED.into_iter().chain(SINGLE) {
        both.server.sql("infra", &format!("CREATE TABLE saved AS SELECT * FROM {table}"));
        for (column, kind) in integers(&both, table) {
            let [least, most] = match kind.as_str() {
                "integer" => [i64::from(i32::MIN), i64::from(i32::MAX)],
                _ => [i64::MIN, i64::MAX],
            };
            // The dummy rows are of no copy.
            let rows = match table {
                "sessions" | "audience_tokens" => format!("{table} WHERE id <> '{}'", sessions::DUMMY_ID),
                _ => table.to_owned(),
            };
            // An update moves its row to the end.
            for (end, value) in [("max", most), ("min", least)] {
                // The literal of the least number is a negation.
                let update = format!(
                    "UPDATE {table} SET {column} = ('{value}')::{kind} WHERE ctid = (SELECT {end}(ctid) FROM {rows})"
                );
                let update = if column == "ended_at" {
                    update.replacen(" WHERE", ", end_reason = coalesce(end_reason, 'zzz') WHERE", 1)
                } else {
                    update
                };
                both.server.sql("infra", &update);
                if SINGLE.contains(&table) {
                    let name = format!("{table} {column} {value}");
                    let copied = copy_and_use(&both, &target, &other.keys, &name).await;
                    assert_eq!((copied.left_out, copied.corrected), (0, 1), "{name}");
                }
            }
            let name = format!("{table} {column}");
            let copied = copy_and_use(&both, &target, &other.keys, &name).await;
            // IDs of orders are random numbers.
            assert!(copied.left_out + copied.corrected > 0 || name == "acme_orders id", "{name}");
            both.server
                .sql("infra", &format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM saved"));
            count += 1;
        }
        both.server.sql("infra", "DROP TABLE saved");
    }
    assert!(count > 25, "{count} columns");
    let copied = copy_and_use(&both, &target, &other.keys, "as before").await;
    assert_eq!((copied.left_out, copied.corrected), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_infrad_did_not_write_are_left_out_and_counted() {
    let Some(both) = Both::start().await else { return };
    used(&both).await;
    let (target, other) = (both.fill().await, Fixture::new().await);
    let zeros = "decode(repeat('00', 32), 'hex')";
    for written in [
        format!("INSERT INTO providers VALUES ('zz', {zeros}, 1, 'x')"),
        format!("INSERT INTO certificates VALUES ({zeros}, 1, 'x')"),
        format!("INSERT INTO provider_endpoints VALUES ({zeros}, 1, 'x')"),
        format!("INSERT INTO acme_accounts VALUES ({zeros}, 99, 'x')"),
        format!("INSERT INTO acme_successes VALUES ({zeros}, -1, decode(repeat('00', 10000000), 'hex'))"),
        "INSERT INTO consumed_tickets VALUES (decode(repeat('ff', 16), 'hex'), -1)".to_owned(),
        format!(
            "INSERT INTO sessions (id, token_mac, user_key, subject_key, key_version, sealed, has_address, created_at, \
             expires_at, last_used_at) VALUES ('!', {zeros}, {zeros}, {zeros}, 1, 'x', false, 1, 2, 3), \
             ('zzzzzzzzzz', {zeros}, {zeros}, {zeros}, 1, 'x', false, 1, 2, 3)"
        ),
        format!(
            "INSERT INTO audience_tokens SELECT repeat('a', 100000), {zeros}, 'x', 1, 'x', 1, 2; \
             INSERT INTO audience_tokens VALUES ('zzzzzzzzzz', {zeros}, repeat('a', 100000), 1, 'x', 1, 2)"
        ),
    ] {
        both.server.sql("infra", &written);
    }
    let copied = copy_and_use(&both, &target, &other.keys, "copy").await;
    let Copied { sessions, left_out, corrected, .. } = copied;
    assert_eq!((sessions, left_out, corrected), (7, 9, 1));
    // More large rows than fit in one answer of the database.
    let many = format!(
        "INSERT INTO sessions (id, token_mac, user_key, subject_key, key_version, sealed, has_address, created_at, expires_at, \
         last_used_at) SELECT lpad(n::text, 10, 'a'), {zeros}, {zeros}, {zeros}, 1, decode(repeat('00', 262144), 'hex'), \
         true, 1, 9007199254740992, 3 FROM generate_series(1, 200) AS n"
    );
    both.server.sql("infra", &many);
    let revoked = target.store.revoke(SessionSelector::ALL, at(100), EndReason::Operator).await;
    assert!(revoked.expect("ended").len() >= 200);
}
