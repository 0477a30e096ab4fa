//! ACME accounts, and order limits, which hold across restarts.

use super::*;

on_each_engine! {
    order_limit_survives_restarts,
    successful_order_clears_earlier_failures,
    released_order_does_not_count,
    order_pause_is_capped_at_one_day,
    clock_set_back_blocks_orders_for_at_most_one_hour,
    acme_account_is_stored_by_directory,
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);

async fn begin(store: &Store, second: i64) -> BegunOrder {
    let lease = store.expect_lease(Job::Acme).await.expect("a lease");
    let begun = store.begin_order(at(second), 3, HOUR, &lease).await.expect("an answer");
    store.end_lease(lease).await;
    begun
}

fn id(begun: BegunOrder) -> OrderID {
    match begun {
        BegunOrder::Begun(id) => id,
        hindered => panic!("{hindered:?}"),
    }
}

async fn order_limit_survives_restarts(fixture: Fixture) {
    for second in [0, 60, 120] {
        id(begin(&fixture.open().await, second).await);
    }
    for second in [121, 3_599] {
        let store = fixture.open().await;
        assert_eq!(begin(&store, second).await, BegunOrder::Spent { until: at(3_600) }, "{second}");
    }
    let store = fixture.open().await;
    id(begin(&store, 3_600).await);
    assert_eq!(begin(&store, 3_601).await, BegunOrder::Spent { until: at(3_660) }, "the window moves on");
}

async fn successful_order_clears_earlier_failures(fixture: Fixture) {
    let store = fixture.open().await;
    for second in [0, 1, 2] {
        id(begin(&store, second).await);
    }
    let directory = "https://a.test/directory";
    let lease = store.expect_lease(Job::Acme).await.expect("a lease");
    store.settle_orders(directory.to_owned(), at(3), &lease).await.expect("settled");
    assert_eq!(store.find_obtained_at(directory).await.expect("an answer"), Some(at(3)));
    id(begin(&store, 3).await);
}

async fn released_order_does_not_count(fixture: Fixture) {
    let store = fixture.open().await;
    for second in 0..10 {
        let order = id(begin(&store, second).await);
        store.release_order(order).await.expect("released");
    }
    id(begin(&store, 10).await);
}

async fn order_pause_is_capped_at_one_day(fixture: Fixture) {
    let store = fixture.open().await;
    store.pause_orders(at(7_200)).await.expect("stored");
    assert_eq!(begin(&store, 0).await, BegunOrder::Paused { until: at(7_200) });
    store.pause_orders(at(60)).await.expect("stored");
    assert_eq!(
        begin(&store, 0).await,
        BegunOrder::Paused { until: at(7_200) },
        "a shorter one does not shorten it"
    );
    id(begin(&store, 7_200).await);
    store.pause_orders(at(1_000_000)).await.expect("stored");
    assert_eq!(begin(&store, 7_201).await, BegunOrder::Paused { until: at(7_201 + 86_400) });
}

async fn clock_set_back_blocks_orders_for_at_most_one_hour(fixture: Fixture) {
    let store = fixture.open().await;
    for _ in 0..3 {
        id(begin(&store, 100_000_000).await);
    }
    assert_eq!(begin(&store, 0).await, BegunOrder::Spent { until: at(3_600) });
    id(begin(&store, 3_600).await);
}

async fn acme_account_is_stored_by_directory(fixture: Fixture) {
    let store = fixture.open().await;
    let (sealer, lease) =
        (fixture.keys.field_sealer(), store.expect_lease(Job::Acme).await.expect("a lease"));
    let place = |row| crate::keys::Place { table: "acme_accounts", row, column: "credentials", version: 1 };
    for directory in ["https://a.test/directory", "https://b.test/directory"] {
        let credentials = sealer.seal(place(directory), directory.as_bytes());
        store.save_acme_account(directory.to_owned(), credentials, &lease).await.expect("stored");
    }
    let find = async |directory| store.find_acme_account(directory).await.expect("an answer");
    let credentials = find("https://a.test/directory").await.expect("an account");
    let opened = sealer.open(place("https://a.test/directory"), &credentials).expect("ours");
    assert_eq!(opened.as_slice(), b"https://a.test/directory");
    store.forget_acme_account("https://a.test/directory".to_owned(), &lease).await.expect("forgotten");
    assert!(find("https://a.test/directory").await.is_none());
    assert!(find("https://b.test/directory").await.is_some());
}
