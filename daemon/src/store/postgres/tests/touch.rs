//! Last uses of sessions while the database is away.

use infra_peers::postgresql::PostgreSQL;

use super::store_on;
use crate::store::contract::{at, session};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uses_during_outage_are_written_after_it() {
    let Some(mut server) = PostgreSQL::start() else { return };
    let store = store_on(&server).await;
    let (first, second, third) = (session("00u1", 0), session("00u2", 0), session("00u3", 0));
    for new in [&first, &second, &third] {
        store.open_session(new.clone(), 48).await.expect("stored");
    }
    server.stop();
    let (writing, id) = (store.clone(), first.id.clone());
    let writing = tokio::spawn(async move { writing.touch_session(&id, at(50)).await });
    // The first caller tries to write: whichever it is.
    let outcomes = [store.touch_session(&second.id, at(60)).await, writing.await.expect("no panic")];
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_err()).count(), 1, "{outcomes:?}");
    server.start_again();
    store.touch_session(&third.id, at(70)).await.expect("stored");
    let select = "SELECT array_agg(last_used_at / 1000 - 1800000000 ORDER BY last_used_at) FROM sessions WHERE last_used_at > 0";
    assert_eq!(server.sql("infra", select), "{50,60,70}");
}
