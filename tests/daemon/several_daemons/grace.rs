//! Validations from memory while the database is away.

use infra_harness::api::Answered;
use infra_harness::daemon::Daemon;
use infra_harness::ports::Ports;
use infra_harness::{login, wait};
use infra_peers::postgresql::PostgreSQL;
use infra_shared::token_text::SessionToken;
use serde_json::{Value, json};

use super::{LIMIT, Members, session};
use crate::monitoring::metric;

const IN_GRACE: &str = "infrad_validations_in_grace_total";
const FROM_MEMORY: &str = "infrad_token_cache_hits_total";

/// Restarts a daemon with this grace, metrics and an audit log. Returns the address of its metrics.
fn allow_grace(daemon: &mut Daemon, grace: &str, ports: &Ports) -> String {
    let address = format!("127.0.0.1:{}", ports.all().first().expect("a port was reserved"));
    let log = daemon.directory().join("audit.jsonl");
    daemon.change(|configuration| {
        configuration.more = configuration.more.replace("caFile: ", &format!("grace: {grace}, caFile: "));
        let more = format!("metrics: {{listen: \"{address}\"}}\naudit: {{file: {}}}\n", log.display());
        configuration.more.push_str(&more);
    });
    daemon.restart();
    address
}

/// Validates a session token until memory knows it. The first poll after a start empties the memory.
fn expect_in_memory(daemon: &Daemon, metrics: &str, token: &str) {
    let is_known = || {
        let before = metric(metrics, FROM_MEMORY);
        assert_eq!(session(daemon, token).status, 200, "{}", daemon.log());
        (metric(metrics, FROM_MEMORY) > before).then_some(())
    };
    assert!(wait::until(LIMIT, is_known).is_some(), "memory never knows the token\n{}", daemon.log());
}

fn events(daemon: &Daemon, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(daemon.directory().join("audit.jsonl")).expect("a log");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line["event"] == name).collect()
}

#[test]
fn known_token_is_valid_in_grace_and_nothing_else() {
    let Some(server) = PostgreSQL::start() else { return };
    let mut members = Members::start(server);
    let ports = Ports::reserve(1);
    let metrics = allow_grace(&mut members.one, "20s", &ports);
    let [token, signed_out] = [(); 2].map(|()| login::over_http(&members.one, &members.provider));
    for daemon in [&members.one, &members.other] {
        for token in [&token, &signed_out] {
            assert_eq!(session(daemon, token).status, 200, "{}", daemon.log());
        }
    }
    for token in [&token, &signed_out] {
        expect_in_memory(&members.one, &metrics, token);
    }
    assert_eq!(metric(&metrics, IN_GRACE), Some(0.0));
    members.server.stop();

    let (one, other) = (&members.one, &members.other);
    let counted = || metric(&metrics, IN_GRACE).expect("it is there from the start");
    let answered = wait::until(LIMIT, || {
        let is_valid = session(one, &token).status == 200;
        (is_valid && counted() > 0.0).then_some(())
    });
    assert!(answered.is_some(), "memory answers nothing\n{}", one.log());
    let before = counted();
    let answered = session(one, &token);
    assert_eq!(answered.status, 200, "{answered:?}");
    assert!(counted() > before);

    // The holder of the other token tries to sign out.
    assert_eq!(one.api().delete_as("/v1/session", &signed_out).status, 503);
    assert_eq!(session(one, &signed_out).status, 503, "it is valid after its sign-out");
    let unknown = SessionToken::mint();
    assert_eq!(session(one, unknown.expose()).status, 503);
    for path in ["/v1/sessions", "/v1/sessions?user=alice%40example.test", "/v1/session?use=false"] {
        assert_eq!(one.api().get_as(path, &token).status, 503, "{path}");
    }
    let request = one.api().request("POST", "/v1/tokens").bearer_auth(&token);
    assert_eq!(Answered::of(request.json(&json!({"audience": "wiki"}))).status, 503);
    assert_eq!(one.api().get("/readyz").status, 503);
    let listed = one.infrad(["sessions", "list"]).wait();
    assert!(listed.code != Some(0) && listed.stderr.contains("the database is not available"), "{listed}");
    // The configuration of the other daemon has the default.
    assert_eq!(session(other, &token).status, 503);

    let is_over = || (session(one, &token).status == 503).then_some(());
    assert!(wait::until(2 * LIMIT, is_over).is_some(), "the grace does not end");
    let counted = counted();
    members.server.start_again();
    for daemon in [one, other] {
        let is_valid = || (session(daemon, &token).status == 200).then_some(());
        assert!(wait::until(LIMIT, is_valid).is_some(), "{}", daemon.log());
    }
    let lines = one.log().to_string().matches("validating known session tokens from memory").count();
    assert_eq!(lines, 1, "once for each outage");
    assert_eq!(members.one.stop(), Some(0));
    let started = events(&members.one, "grace_started");
    assert_eq!(started.iter().map(|event| event["graceSeconds"].as_u64()).collect::<Vec<_>>(), [Some(20)]);
    let summed: f64 =
        events(&members.one, "validations_in_grace").iter().filter_map(|event| event["count"].as_f64()).sum();
    assert!(summed >= counted && counted > 1.0, "{summed} {counted}");
}
