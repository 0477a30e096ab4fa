//! The schema has exactly the keys that the code reads.

use super::*;
use crate::config::schema::known_and_read;

/// Contains every section and kind.
const SECTIONS: &str = r#"
tls: {acme: {domains: [infra.test], externalAccountBinding: {keyID: a, hmacKey: "env:A"}}}
secrets:
  - {name: a, kind: env, config: {}}
  - {name: b, kind: file, config: {}}
  - {name: c, kind: kubernetes, config: {}}
  - {name: d, kind: vault, config: {address: "https://v.test", appRole: {roleID: "env:A", secretID: "env:A"}}}
  - {name: e, kind: vault, config: {address: "https://v.test", kubernetes: {role: a}}}
  - {name: f, kind: awssecretsmanager, config: {}}
  - {name: g, kind: awsssm, config: {}}
keys:
  - {kind: native, config: {}}
  - {kind: vault, config: {address: "https://v.test", token: "env:A", key: a}}
  - {kind: awskms, config: {keyID: a}}
sessions: {}
limits: {}
admins: [{provider: okta, groups: [a]}]
services:
  - {name: a, kind: kubernetes, credentials: ["env:A"], allow: [{provider: okta}]}
workloads: [{name: ci, issuer: "https://ci.test", audiences: [infra], claims: {sub: job}, services: [a]}]
database: {kind: postgresql, hosts: [a], name: b, user: c, password: "env:A", clientCertificate: /a, clientKey: /b, grace: 1s}
jwt: {}
metrics: {}
audit: {}
log: {}
"#;

#[test]
fn code_reads_exactly_the_keys_of_the_schema() {
    let provider = with_provider_line("allow: {groups: [a]}");
    for text in [
        format!("{provider}{SECTIONS}"),
        format!("{provider}tls: {{files: {{certificate: /a, privateKey: /b}}}}\n"),
    ] {
        if let Err(fault) = parse(&text) {
            panic!("{}, line {}", fault.fault, fault.place.line);
        }
    }
    let [known, read] = known_and_read();
    assert_eq!(known.difference(&read).collect::<Vec<_>>(), Vec::<&String>::new(), "never read");
    assert_eq!(read.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the schema");
    assert!(known.len() > 140, "{}", known.len());
}

#[test]
fn list_length_is_limited_by_the_schema() {
    let repeated = |item: &str, count: usize| vec![item; count].join(", ");
    let credentials = repeated("env:A", 5);
    let service = format!("services: [{{name: a, allow: everyone, credentials: [{credentials}]}}]");
    assert_says(&with_section(&service), &["services[0].credentials", "up to four references"]);
    let audiences = format!("additionalAudiences: [{}]", repeated("a", 33));
    assert_says(&with_provider_line(&audiences), &["up to 32 audiences"]);
    let hosts = format!("endpointHosts: [{}]", repeated("a.test", 33));
    assert_says(&with_provider_line(&hosts), &["up to 32 hosts"]);
    let proxies = format!("trustedProxies: [{}]", repeated("192.0.2.1", 257));
    assert_says(&with_section(&proxies), &["up to 256 addresses"]);
    assert_says(&with_section("keys: []"), &["at least one key"]);
}
