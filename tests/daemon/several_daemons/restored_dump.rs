//! A dump restored while no daemon runs.

use infra_harness::login;
use infra_peers::postgresql::PostgreSQL;

use super::{Members, session};

#[test]
fn restored_dump_signs_all_users_out() {
    let Some(server) = PostgreSQL::start() else { return };
    let mut members = Members::start(server);
    let log = members.one.directory().join("audit.jsonl");
    let audit = format!("audit: {{file: {}}}\n", log.display());
    members.one.change(|configuration| configuration.more.push_str(&audit));
    let [token, signed_out] = [(); 2].map(|()| login::over_http(&members.one, &members.provider));
    let dump = members.server.dump("infra");
    assert_eq!(members.one.api().delete_as("/v1/session", &signed_out).status, 204);
    for daemon in [&mut members.one, &mut members.other] {
        assert_eq!(daemon.stop(), Some(0));
    }
    members.server.restore("infra", &dump);
    members.one.start_again();
    members.other.start_again();
    for daemon in [&members.one, &members.other] {
        for token in [&token, &signed_out] {
            assert_eq!(session(daemon, token).status, 401, "{}", daemon.log());
        }
    }
    let audited = std::fs::read_to_string(&log).expect("a log");
    let lost = r#""event":"commits_lost","cause":"restore","sessionsEnded":2"#;
    assert_eq!(audited.matches(lost).count(), 1, "{audited}");
    let token = login::over_http(&members.other, &members.provider);
    members.one.restart();
    assert_eq!(session(&members.one, &token).status, 200, "it is settled");
}
