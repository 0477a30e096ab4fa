//! `services`: valid and invalid.

use super::*;
use crate::jwt::{Algorithm, JwtSettings};
use crate::services::ServiceKind;
use crate::sessions::TokenFormat;

#[test]
fn services_are_read_with_their_defaults() {
    let text = "services: [{name: wiki, allow: everyone}, {name: prod, kind: kubernetes, allow: [{provider: okta}], \
                credentials: [env:A]}]";
    let config = parse(&with_section(text)).expect("a good configuration");
    let [wiki, prod] = config.services.as_slice() else { panic!("two services") };
    assert_eq!((wiki.audience.as_str(), wiki.accept_session_token), ("wiki", false));
    assert!(wiki.credentials.is_empty() && wiki.addresses.is_empty());
    let ServiceKind::Kubernetes(cluster) = &prod.kind else { panic!("a cluster") };
    assert_eq!((cluster.prefix.as_str(), cluster.username_is_email), ("infra:", true));
    assert!(parse(&with_section("services: null")).expect("a good configuration").services.is_empty());
}

#[test]
fn ambiguous_or_invalid_service_is_rejected() {
    let service = |rest: &str| with_section(&format!("services: [{{name: wiki, {rest}}}]"));
    assert_says(&service(""), &["`allow` is missing in `services[0]`", "{provider: okta"]);
    assert_says(&service("allow: []"), &["`services[0].allow` must be"]);
    assert_says(&service("allow: anyone"), &["`everyone`, or a list"]);
    assert_says(&service("allow: [{groups: [a]}]"), &["`provider` is missing"]);
    assert_says(&service("allow: [{provider: okto}]"), &["the name of a provider: `okta`"]);
    assert_says(&service("allow: everyone, audience: 'a b'"), &["text without spaces"]);
    assert_says(&service("allow: everyone, credentials: [secret]"), &["`BACKEND:NAME`"]);
    assert_says(&service("allow: everyone, prefix: 'a:'"), &["must be absent", "`kind: kubernetes`"]);
    let taken = "services: [{name: wiki, audience: other, allow: everyone}, {name: other, allow: everyone}]";
    assert_says(&with_section(taken), &["a name that no other service has"]);
    let taken =
        "services: [{name: a, audience: x, allow: everyone}, {name: b, audience: x, allow: everyone}]";
    assert_says(&with_section(taken), &["an audience that no other service has"]);

    let cluster =
        |rest: &str| service(&format!("kind: kubernetes, allow: everyone, credentials: [env:A], {rest}"));
    parse(&cluster("prefix: 'company:'")).expect("a good configuration");
    for prefix in ["system:", "System:x:", "systems:", "nocolon", ":", "", "a b:", "{other}:", "{provider}:"]
    {
        assert_says(&cluster(&format!("prefix: '{prefix}'")), &["services[0].prefix"]);
    }
    assert_says(&service("kind: kubernetes, allow: everyone"), &["`credentials` is missing"]);
    // The same name at two providers means two users.
    let second = "  - {name: other, kind: oidc, issuer: https://other.test, clientID: a, clientSecret: env:B, allow: everyone}";
    let of_two = |text: &str| text.replacen("services:", &format!("{second}\nservices:"), 1);
    assert_says(&of_two(&moved_last(&cluster(""))), &["`prefix` is missing"]);
    assert_says(&of_two(&moved_last(&cluster("prefix: 'infra:'"))), &["a prefix that contains `{provider}`"]);
    parse(&of_two(&moved_last(&cluster("prefix: 'infra:{provider}:'")))).expect("a good configuration");
}

#[test]
fn signed_tokens_are_read_with_their_issuer() {
    let text = "publicURLs: [https://infra.test, https://other.test]\n\
                services: [{name: wiki, allow: everyone, tokens: jwt, tokenGroups: [a, b c]}, {name: git, allow: everyone}]";
    let config = parse(&with_section(text)).expect("a good configuration");
    let [wiki, git] = config.services.as_slice() else { panic!("two services") };
    let groups = vec!["a".to_owned(), "b c".to_owned()];
    assert_eq!((&wiki.tokens, &git.tokens), (&TokenFormat::Jwt { groups }, &TokenFormat::Opaque));
    let issuer = "https://infra.test".to_owned();
    assert_eq!(config.jwt, Some(JwtSettings { issuer: issuer.clone(), algorithm: Algorithm::ES256 }));
    let config = parse(&with_section(&format!("{text}\njwt: {{algorithm: EdDSA}}"))).expect("good");
    assert_eq!(config.jwt, Some(JwtSettings { issuer, algorithm: Algorithm::EdDSA }));
    let unused = "publicURLs: [https://infra.test]\njwt: {algorithm: EdDSA}";
    assert_eq!(parse(&with_section(unused)).expect("a good configuration").jwt, None);
}

#[test]
fn signed_tokens_that_are_ambiguous_are_rejected() {
    let with = |rest: &str| {
        let services = format!("services: [{{name: wiki, allow: everyone, {rest}}}]");
        with_section(&format!("publicURLs: [https://infra.test]\n{services}"))
    };
    parse(&with("tokens: jwt")).expect("a good configuration");
    let bare = with_section("services: [{name: wiki, allow: everyone, tokens: jwt}]");
    assert_says(&bare, &["`services[0].tokens: jwt` needs `publicURLs`"]);
    assert_says(&with("tokens: JWT"), &["one of `opaque` or `jwt`"]);
    assert_says(&with("tokenGroups: [a]"), &["must be absent", "`tokens: jwt`"]);
    assert_says(&with("tokens: opaque, tokenGroups: []"), &["must be absent"]);
    for groups in ["a", "[a, a]", "['']", "[\"a\\nb\"]", &format!("[{}]", "a".repeat(1025))] {
        assert_says(&with(&format!("tokens: jwt, tokenGroups: {groups}")), &["services[0].tokenGroups"]);
    }
    let many: Vec<String> = (0..33).map(|number| format!("g{number}")).collect();
    assert_says(&with(&format!("tokens: jwt, tokenGroups: [{}]", many.join(", "))), &["up to 32"]);
    assert_says(&with("tokens: jwt, tokenGroups: [System:masters]"), &["without `System:masters`"]);
    assert_says(
        &format!("{}\njwt: {{algorithm: HS256}}", with("tokens: jwt")),
        &["one of `ES256` or `EdDSA`"],
    );
    // The same subject at two providers means two users.
    let second = "  - {name: other, kind: oidc, issuer: https://other.test, clientID: a, clientSecret: env:B, allow: everyone}";
    let of_two = |text: &str| format!("{}\n{second}", text.trim_end());
    assert_says(&of_two(&with("tokens: jwt")), &["needs one provider in `allow`, `okta` or `other`"]);
    let one = with("tokens: jwt").replace("allow: everyone", "allow: [{provider: okta}]");
    parse(&of_two(&one)).expect("a good configuration");
}

/// Moves the second line to the end.
fn moved_last(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let moved = lines.remove(1);
    lines.push(moved);
    lines.join("\n")
}
