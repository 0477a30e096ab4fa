//! The latest time in the database, an hour in the future: its clock was wrong, or someone wrote to the table.

use infra_harness::{login, wait};
use infra_peers::postgresql::PostgreSQL;

use super::{LIMIT, Members, session};

#[test]
fn recorded_time_in_the_future_stops_nobody() {
    let Some(server) = PostgreSQL::start() else { return };
    let mut members = Members::start(server);
    let token = login::over_http(&members.one, &members.provider);
    let now = "(extract(epoch FROM now()) * 1000)::bigint";
    members.server.sql("infra", &format!("UPDATE counter SET latest_time = {now} + 3600000"));
    for daemon in [&members.one, &members.other] {
        daemon.wait_for_log("the latest time in the database is in the future");
        assert_eq!(session(daemon, &token).status, 200, "{}", daemon.log());
    }
    let second = login::over_http(&members.other, &members.provider);
    // A daemon records the time when it starts, and every minute.
    members.other.restart();
    let is_replaced = format!("SELECT latest_time <= {now} + 1000 FROM counter");
    let replaced = wait::until(LIMIT, || (members.server.sql("infra", &is_replaced) == "t").then_some(()));
    assert!(replaced.is_some(), "it stays in the database\n{}", members.other.log());
    for daemon in [&members.one, &members.other] {
        for token in [&token, &second] {
            assert_eq!(session(daemon, token).status, 200, "{}", daemon.log());
        }
    }
}
