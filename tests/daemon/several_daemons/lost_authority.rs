//! A CA that someone deletes from the database.

use infra_peers::postgresql::PostgreSQL;

use super::Members;

#[test]
fn deleted_authority_is_not_replaced_silently() {
    let Some(server) = PostgreSQL::start() else { return };
    let Members { server, provider: _provider, mut one, mut other } = Members::start(server);
    let before = one.fingerprint();
    let delete = || server.sql("infra", "DELETE FROM certificates");
    assert_eq!(other.stop(), Some(0));
    delete();
    one.wait_for_log("keeping the CA of this daemon");
    other.start_again();
    assert_eq!(other.fingerprint(), before);
    let status = one.infrad(["status"]).wait().expect(0);
    assert!(status.stdout.contains("has lost the CA of its store"), "{status}");

    assert_eq!([one.stop(), other.stop()], [Some(0), Some(0)]);
    delete();
    let words = ["has lost the CA of its store", "restore a backup or a dump", "--new-store"];
    one.infrad(["serve"]).wait().expect(1).stderr_contains(&words);
    let prepared = one.infrad(["serve", "--new-store", "--prepare"]).wait().expect(0);
    assert!(prepared.stderr.contains("the next start creates another"), "{prepared}");
    one.start_again();
    other.start_again();
    assert_ne!(one.fingerprint(), before);
    assert_eq!(one.fingerprint(), other.fingerprint());
}
