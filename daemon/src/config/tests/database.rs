//! `database`: valid and invalid.

use std::time::Duration;

use infra_shared::http::Trust;

use super::*;
use crate::store::DatabaseHost;

fn database(rest: &str) -> String {
    with_section(&format!("database: {{kind: postgresql, name: infra, user: infrad, {rest}}}"))
}

#[test]
fn database_is_read_with_its_hosts_in_order() {
    assert!(parse(&with_section("")).expect("a good configuration").database.is_none());
    let text = "hosts: [db1.internal, '10.0.0.1:5433', '[::1]', /run/postgresql, '/run/other:6432'], password: env:A, \
                clientCertificate: /a.pem, clientKey: /a.key";
    let config = parse(&database(text)).expect("a good configuration");
    let settings = config.database.expect("a database");
    let tcp = |name: &str, port| DatabaseHost::TCP { name: name.to_owned(), port };
    let socket = |directory: &str, port| DatabaseHost::Socket { directory: directory.into(), port };
    assert_eq!(
        settings.hosts,
        [
            tcp("db1.internal", 5432),
            tcp("10.0.0.1", 5433),
            tcp("::1", 5432),
            socket("/run/postgresql", 5432),
            socket("/run/other", 6432),
        ]
    );
    assert_eq!(
        settings.describe(),
        "database infra on db1.internal, 10.0.0.1:5433, [::1], /run/postgresql, /run/other:6432"
    );
    assert!(matches!(settings.trust, Trust::System) && settings.client_certificate.is_some());
    // The database itself detects older data.
    assert_eq!(config.rollback_guard_file, None);
    assert_eq!(config.grace, Duration::ZERO, "fails closed by default");
    for (text, seconds) in [("0s", 0), ("30s", 30), ("2m", 120)] {
        let config = parse(&database(&format!("hosts: [a], grace: {text}"))).expect("a good configuration");
        assert_eq!(config.grace, Duration::from_secs(seconds));
    }
}

#[test]
fn invalid_database_is_rejected() {
    assert_says(&with_section("database: {hosts: [a]}"), &["`kind` is missing in `database`"]);
    assert_says(&with_section("database: {kind: mysql}"), &["one of `postgresql`"]);
    assert_says(&with_section("database: {kind: postgresql, hosts: [a], user: b}"), &["`name` is missing"]);
    for hosts in ["[]", "db1", "[a, b, c, d, e, f, g, h, i]"] {
        assert_says(&database(&format!("hosts: {hosts}")), &["`database.hosts` must be"]);
    }
    for host in
        ["''", "'a b'", "'a:'", "'a:0'", "'a:65536'", "'::1'", "'[::1'", "'[a]'", "'postgres://a'", "/a/../b"]
    {
        assert_says(&database(&format!("hosts: [{host}]")), &["`database.hosts[0]` must be", "db1.internal"]);
    }
    assert_says(&database("hosts: [a, 'a:5432']"), &["does not contain yet"]);
    assert_says(&database("hosts: [a], clientKey: /a"), &["`clientCertificate` is missing"]);
    assert_says(&database("hosts: [a], clientCertificate: /a"), &["`clientKey` is missing"]);
    assert_says(&database("hosts: [a], password: canary-5b1d0c"), &["`BACKEND:NAME`"]);
    for grace in ["121s", "1h", "30", "-1s"] {
        let wrong = database(&format!("hosts: [a], grace: {grace}"));
        assert_says(&wrong, &["`database.grace` must be a duration from 0s to 120s"]);
    }
    assert_says(&database("hosts: [a], sslmode: disable"), &["`sslmode`"]);
    let guarded = database("hosts: [a]") + "rollbackGuardFile: /etc/infra/guard\n";
    assert_says(&guarded, &["rollbackGuardFile", "absent"]);
}
