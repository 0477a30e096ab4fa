//! `workloads`: valid and invalid.

use super::*;

const GITHUB: &str = "https://token.actions.githubusercontent.com";

/// A configuration with one rule, and a service `wiki`.
fn with_rule(rest: &str) -> String {
    with_section(&format!("services: [{{name: wiki, allow: everyone}}]\nworkloads: [{{name: ci, {rest}}}]"))
}

fn rule(issuer: &str, claims: &str) -> String {
    with_rule(&format!("issuer: {issuer}, audiences: [infra], claims: {claims}, services: [wiki]"))
}

#[test]
fn workload_is_read_and_listed_at_its_services() {
    let text = rule(GITHUB, "{repository_id: \"123456\", ref: [refs/heads/main, refs/heads/next]}");
    let config = parse(&text).expect("a good configuration");
    let [workload] = config.workloads.as_slice() else { panic!("one rule") };
    assert_eq!((workload.name.as_str(), workload.issuer.as_str()), ("ci", GITHUB));
    assert_eq!((workload.audiences.len(), workload.lifetime), (1, SignedDuration::from_mins(15)));
    let claims: Vec<(&str, usize)> =
        workload.claims.iter().map(|claim| (claim.name.as_str(), claim.values.len())).collect();
    assert_eq!(claims, [("repository_id", 1), ("ref", 2)]);
    assert_eq!(config.services.first().expect("a service").workloads, ["ci"]);
    assert!(parse(&with_section("workloads: null")).expect("a good configuration").workloads.is_empty());
    // Valid, and accepts nothing: `infrad check` says so.
    let empty =
        with_rule("issuer: https://ci.test, audiences: [], claims: {sub: a}, services: [wiki], lifetime: 1m");
    let empty = parse(&empty).expect("a good configuration");
    let [empty] = empty.workloads.as_slice() else { panic!("one rule") };
    assert!(empty.audiences.is_empty() && empty.contradiction().is_some());
    assert_eq!(empty.lifetime, SignedDuration::from_mins(1));
}

#[test]
fn cluster_issuer_needs_no_address_and_no_ca_file() {
    let claims = "{sub: 'system:serviceaccount:a:b'}";
    let config = parse(&rule("kubernetes:///", claims)).expect("a good configuration");
    assert!(config.workloads.first().expect("a rule").is_of_cluster());
    for other in ["kubernetes://", "kubernetes:///x", "kubernetes://cluster", "Kubernetes:///"] {
        assert_says(&rule(other, claims), &["`workloads[0].issuer` must be"]);
    }
    let with_file = rule("kubernetes:///", claims).replace("name: ci,", "name: ci, caFile: /etc/ca.pem,");
    assert_says(&with_file, &["`workloads[0].caFile` must be absent"]);
}

#[test]
fn incomplete_or_ambiguous_workload_is_rejected() {
    let complete = "issuer: https://ci.test, audiences: [infra], claims: {sub: a}, services: [wiki]";
    parse(&with_rule(complete)).expect("a good configuration");
    for key in ["issuer", "audiences", "claims", "services"] {
        let parts: Vec<&str> = complete.split(", ").filter(|part| !part.starts_with(key)).collect();
        assert_says(&with_rule(&parts.join(", ")), &[&format!("`{key}` is missing in `workloads[0]`")]);
    }
    for (changed, expected) in [
        (complete.replace("https://ci", "http://ci"), "`workloads[0].issuer` must be"),
        (complete.replace("https://ci.test", "https://ci.test?a=b"), "`workloads[0].issuer` must be"),
        (complete.replace("[infra]", "infra"), "`workloads[0].audiences` must be"),
        (complete.replace("[infra]", "[a, a, a, a, a, a, a, a, a]"), "up to 8 audiences"),
        (complete.replace("{sub: a}", "{}"), "1 to 32 claims"),
        (complete.replace("{sub: a}", "[sub]"), "`workloads[0].claims` must be"),
        (complete.replace("{sub: a}", "{sub: 7}"), "put it in quotes"),
        (complete.replace("{sub: a}", "{sub: true}"), "put it in quotes"),
        (complete.replace("{sub: a}", "{sub: []}"), "`workloads[0].claims.sub` must be"),
        (complete.replace("{sub: a}", "{sub: [a, 7]}"), "put it in quotes"),
        (complete.replace("{sub: a}", "{sub: {a: b}}"), "`workloads[0].claims.sub` must be"),
        (complete.replace("{sub: a}", "{sub: 'repo:*'}"), "there are no patterns"),
        (complete.replace("{sub: a}", "{sub: a, aud: infra}"), "infrad checks this claim itself"),
        (complete.replace("{sub: a}", "{sub: a, exp: '1'}"), "infrad checks this claim itself"),
        (complete.replace("[wiki]", "[]"), "`workloads[0].services` must be"),
        (complete.replace("[wiki]", "[wikki]"), "each one of `wiki`"),
        (format!("{complete}, lifetime: 16m"), "from 1m to 15m"),
        (format!("{complete}, lifetime: 59s"), "from 1m to 15m"),
        (format!("{complete}, prefix: a"), "unknown key `prefix`"),
    ] {
        assert_says(&with_rule(&changed), &[expected]);
    }
    let twice = with_section(&format!(
        "services: [{{name: wiki, allow: everyone}}]\nworkloads: [{{name: ci, {complete}}}, {{name: ci, {complete}}}]"
    ));
    assert_says(&twice, &["a name that no other workload has"]);
    // A value in the wrong place is not repeated.
    assert_says(&with_rule(&complete.replace("{sub: a}", "{canary-5b1d0c: []}")), &["(not a word)"]);
}

#[test]
fn rule_by_reusable_name_alone_is_rejected() {
    let server = "https://github.example.com/_services/token";
    for issuer in [GITHUB, &format!("{GITHUB}/octo-enterprise"), "https://token.actions.octo.ghe.com", server]
    {
        for claims in [
            "{repository: octo/app}",
            "{repository_owner: octo, ref: refs/heads/main}",
            "{sub: 'repo:octo/app:ref:refs/heads/main'}",
            "{actor_id: '1'}",
        ] {
            assert_says(
                &rule(issuer, claims),
                &["`repository_id` or `repository_owner_id`", "register the same names"],
            );
        }
        for claims in ["{repository_owner_id: '65'}", "{repository_id: '74', repository: octo/app}"] {
            parse(&rule(issuer, claims)).unwrap_or_else(|_| panic!("{issuer} {claims}"));
        }
        assert_says(&rule(issuer, "{repository_id: octo/app}"), &["digits only", "never matches"]);
        assert_says(
            &rule(issuer, "{repository_id: '74', ref: main}"),
            &["`ref` begins with `refs/`", "never matches"],
        );
    }
    for (issuer, claims) in [
        ("https://gitlab.com", "{user_id: '1'}"),
        ("https://gitlab.com", "{sub: 'project_path:a/b:ref_type:branch:ref:main'}"),
        ("https://git.example.com", "{project_path: a/b}"),
        ("https://git.example.com", "{namespace_path: a}"),
        ("https://git.example.com", "{sub: ['other', 'project_path:a/b:ref_type:branch:ref:main']}"),
    ] {
        assert_says(&rule(issuer, claims), &["`project_id` or `namespace_id`", "register the same names"]);
    }
    parse(&rule("https://gitlab.com", "{project_id: '20', ref: main}")).expect("a good configuration");
    parse(&rule("https://cluster.test", "{sub: 'system:serviceaccount:a:b'}")).expect("a good configuration");
}

#[test]
fn workload_cannot_be_mistaken_for_person() {
    // The ID token of a person's sign-in would be accepted.
    let of_provider =
        "issuer: https://example.okta.com, audiences: [0oa1b2c3], claims: {sub: a}, services: [wiki]";
    assert_says(&with_rule(of_provider), &["audiences other than those of a provider"]);
    parse(&with_rule(&of_provider.replace("0oa1b2c3", "infra"))).expect("a good configuration");
    let text = with_section("").replace("name: okta", "name: workload");
    assert_says(&text, &["reserved for workloads"]);
}
