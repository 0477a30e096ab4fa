//! Tokens of workloads (RFC 8693) that prove nothing, rules that must not match, and replays.

use std::fmt::Write;

use infra_harness::api::Api;
use infra_harness::canaries::Canaries;
use infra_harness::daemon::{Daemon, MANY_LOGINS, ProviderEntry};
use infra_harness::login;
use infra_harness::provider::{Algorithm, CLIENT_SECRET, IDTokenDraft, Key, Provider, Settings, Signed};
use infra_harness::services;
use infra_harness::workloads::{AUDIENCE, assert_issued, assert_refused, exchange, github, rule, token};
use infra_shared::clock::{Clock, SystemClock};
use serde_json::{Value, json};

/// The claims of the rule `ci`, which jobs of [`github`] match.
pub(crate) const CLAIMS: &str = "{repository_id: '74', ref: refs/heads/main}";
const EXCHANGES: &str = "workload_token_";

/// A daemon with services, a provider of people and an issuer of workload tokens.
pub(crate) struct Setup {
    pub(crate) people: Provider,
    pub(crate) issuer: Provider,
    pub(crate) daemon: Daemon,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self::with_issuer(Settings::default())
    }

    fn with_issuer(settings: Settings) -> Self {
        let issuer = Provider::start_with(settings);
        let rules = rule("ci", &issuer, CLAIMS, "[wiki, old, prod]");
        Self::with_rules(issuer, &rules)
    }

    pub(crate) fn with_rules(issuer: Provider, rules: &str) -> Self {
        let people = Provider::start();
        let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&people)], |_| {});
        let credential = format!("'{}'", services::credential_in(daemon.directory()));
        let audit = daemon.directory().join("audit.jsonl");
        let mut more = format!("{MANY_LOGINS}audit: {{file: {}}}\nservices:\n", audit.display());
        for service in [
            "{name: wiki, audience: https://wiki.example.test, allow: everyone",
            "{name: payroll, allow: everyone",
            "{name: old, allow: everyone, acceptSessionToken: true",
            "{name: prod, kind: kubernetes, allow: everyone",
            "{name: stage, kind: kubernetes, allow: everyone, username: subject, prefix: 'infra:{provider}:'",
        ] {
            let _ = writeln!(more, "- {service}, credentials: [{credential}]}}");
        }
        let _ = write!(more, "workloads:\n{rules}");
        daemon.change(|configuration| configuration.more = more);
        daemon.start_again();
        Self { people, issuer, daemon }
    }

    pub(crate) fn api(&self) -> Api {
        self.daemon.api()
    }

    pub(crate) fn audit(&self) -> String {
        std::fs::read_to_string(self.daemon.directory().join("audit.jsonl")).expect("an audit log")
    }

    pub(crate) fn live_sessions(&self) -> Value {
        self.daemon.infrad(["sessions", "list", "--json"]).wait().expect(0).json()["sessions"].clone()
    }

    /// Presents a token that must be refused, and checks that nothing was stored or leaked.
    pub(crate) fn refuse(&self, id: &str, token: &str, (code, reason, detail): (&str, &str, &str)) {
        let (sessions, audited) = (self.live_sessions(), self.audit().len());
        let logged = self.daemon.complete_log().len();
        let answered = exchange(&self.api(), token, "wiki");
        assert_eq!(answered.json()["error"], code, "{id}: {answered:?}");
        assert_refused(&answered, 400, code);
        assert_eq!(self.live_sessions(), sessions, "{id}: something was stored");

        let audit = self.audit().split_off(audited);
        let lines: Vec<Value> = audit
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .filter(|line| line["event"].as_str().is_some_and(|event| event.starts_with(EXCHANGES)))
            .collect();
        assert_eq!(lines.len(), 1, "{id}: one line of audit\n{audit}");
        let line = &lines[0];
        assert_eq!(
            (&line["event"], &line["reason"]),
            (&json!("workload_token_rejected"), &json!(reason)),
            "{id}"
        );
        assert!(line["detail"].as_str().is_some_and(|text| text.contains(detail)), "{id}: {line}");
        assert_eq!(line["requestID"], answered.json()["requestID"], "{id}");
        let log = self.daemon.complete_log().split_off(logged);
        for (what, text) in [("the answer", &answered.body), ("the log", &log), ("the audit log", &audit)] {
            assert_no_token(id, what, text, token);
        }
    }

    /// Exchanges an honest token.
    #[track_caller]
    pub(crate) fn accept(&self) -> String {
        assert_issued(&exchange(&self.api(), &token(&self.issuer, &github(&self.issuer)), "wiki"))
    }
}

fn assert_no_token(id: &str, what: &str, text: &str, token: &str) {
    let mut canaries = Canaries::default();
    for part in token.split('.').filter(|part| part.len() >= 12) {
        canaries.add("a part of the token", part);
    }
    assert_eq!(canaries.find(text.as_bytes()), Vec::<String>::new(), "{id}: {what}: {text}");
    let is_control = |character: char| character.is_control() && character != '\n';
    assert!(!text.contains(is_control), "{id}: a control character in {what}: {text:?}");
}

pub(crate) const fn rejected(detail: &'static str) -> (&'static str, &'static str, &'static str) {
    ("invalid_request", "token_rejected", detail)
}

fn in_seconds(seconds: i64) -> Value {
    json!(SystemClock.now().as_second() + seconds)
}

#[test]
fn forged_workload_tokens_are_refused() {
    type Before = Box<dyn FnOnce(&mut IDTokenDraft)>;
    type After = Box<dyn FnOnce(&mut Signed)>;
    let setup = Setup::new();
    let none = |name: &'static str| -> After {
        Box::new(move |signed| {
            signed.header = json!({"alg": name}).to_string().into_bytes();
            signed.signature.clear();
        })
    };
    let keyed = |name: &'static str, key: Key| -> Before {
        Box::new(move |draft| {
            draft.header["alg"] = json!(name);
            draft.key = key;
        })
    };
    let header =
        |name: &'static str, value: Value| -> Before { Box::new(move |draft| draft.header[name] = value) };
    let same = || -> Before { Box::new(|_| {}) };
    let cases: Vec<(&str, &'static str, Before, After)> = vec![
        ("WL-01 none", "algorithm_not_allowed", same(), none("none")),
        ("WL-01 nOnE", "algorithm_not_allowed", same(), none("nOnE")),
        (
            "WL-02 HS256 under nothing",
            "algorithm_not_allowed",
            keyed("HS256", Key::Secret(vec![0; 32])),
            keep(),
        ),
        (
            "WL-02 HS256 under the client secret",
            "algorithm_not_allowed",
            keyed("HS256", Key::Secret(CLIENT_SECRET.as_bytes().to_vec())),
            keep(),
        ),
        ("WL-03 no signature", "invalid_signature", keyed("RS256", Key::Nothing), keep()),
        (
            "WL-03 another key of that name",
            "invalid_signature",
            keyed("RS256", Key::Foreign(Algorithm::RS256)),
            keep(),
        ),
        ("WL-03 one bit", "invalid_signature", same(), Box::new(|signed| signed.signature[7] ^= 1)),
        (
            "WL-03 other claims",
            "invalid_signature",
            same(),
            Box::new(|signed| {
                let claims = String::from_utf8(signed.claims.clone()).expect("JSON");
                signed.claims = claims.replace("\"74\"", "\"75\"").into_bytes();
            }),
        ),
        ("WL-04 unknown key", "unknown_key", header("kid", json!("elsewhere")), keep()),
        (
            "WL-04 key of another kind",
            "key_type_mismatch",
            keyed("ES256", Key::Published(Algorithm::RS256)),
            keep(),
        ),
        (
            "WL-05 key in the header",
            "unknown_key",
            Box::new(|draft| {
                draft.header["kid"] = json!("mine");
                draft.header["jwk"] = json!({"kty": "RSA", "kid": "mine", "n": "AQAB", "e": "AQAB"});
                draft.key = Key::Foreign(Algorithm::RS256);
            }),
            keep(),
        ),
        ("WL-06 access token", "wrong_type", header("typ", json!("at+jwt")), keep()),
        ("WL-06 critical extension", "critical_extension", header("crit", json!(["exp"])), keep()),
    ];
    for (id, detail, before, after) in cases {
        let forged = setup.issuer.sign(&github(&setup.issuer), before, after);
        setup.refuse(id, &forged, rejected(detail));
    }
    setup.accept();
}

fn keep() -> Box<dyn FnOnce(&mut Signed)> {
    Box::new(|_| {})
}

#[test]
fn workload_tokens_with_wrong_claims_are_refused() {
    let setup = Setup::new();
    let audience = ("invalid_request", "wrong_audience", "audience");
    let other = setup.people.issuer().to_owned();
    for (id, name, value, expected) in [
        ("WL-10 issuer without a rule", "iss", json!(other), ("invalid_request", "unknown_issuer", "issuer")),
        (
            "WL-10 issuer with a slash",
            "iss",
            json!(format!("{}/", setup.issuer.issuer())),
            ("invalid_request", "unknown_issuer", "issuer"),
        ),
        (
            "WL-10 issuer list",
            "iss",
            json!([setup.issuer.issuer()]),
            ("invalid_request", "unknown_issuer", "issuer"),
        ),
        ("WL-10 no issuer", "iss", Value::Null, ("invalid_request", "unknown_issuer", "issuer")),
        ("WL-11 another audience", "aud", json!("https://github.com/octo-org"), audience),
        ("WL-11 audience longer", "aud", json!(format!("{AUDIENCE}/")), audience),
        ("WL-11 audience of others too", "aud", json!([AUDIENCE, "https://other.test"]), audience),
        ("WL-11 no audience", "aud", json!([]), audience),
        ("WL-11 audience nested", "aud", json!([[AUDIENCE]]), audience),
        ("WL-12 expired", "exp", in_seconds(-1), rejected("expired")),
        ("WL-12 no expiry", "exp", Value::Null, rejected("expired")),
        ("WL-12 expiry as text", "exp", json!("9999999999"), rejected("expired")),
        ("WL-12 valid for two days", "exp", in_seconds(172_800), rejected("expires_too_late")),
        ("WL-12 valid for ever", "exp", json!(u64::MAX), rejected("expire")),
        ("WL-13 issued tomorrow", "iat", in_seconds(86_400), rejected("issued_in_the_future")),
        ("WL-13 no time of issue", "iat", Value::Null, rejected("issued_too_long_ago")),
        ("WL-13 not valid yet", "nbf", in_seconds(600), rejected("not_yet_valid")),
        ("WL-14 no subject", "sub", Value::Null, rejected("malformed_subject")),
        ("WL-14 subject list", "sub", json!(["repo:octo-org/octo-repo"]), rejected("malformed_subject")),
        ("WL-14 subject with a line feed", "sub", json!("a\nworkload:ci/b"), rejected("malformed_subject")),
    ] {
        let mut claims = github(&setup.issuer);
        if value.is_null() {
            claims.as_object_mut().expect("an object").remove(name);
        } else {
            claims[name] = value;
        }
        setup.refuse(id, &token(&setup.issuer, &claims), expected);
    }
    // No token of the platform at all.
    let session = login::over_http(&setup.daemon, &setup.people);
    for (id, text) in [
        ("WL-15 a session token", session.as_str()),
        ("WL-15 text", "not-a-token-at-all"),
        ("WL-15 dots", "..aaaaaaaaaaaaaaaa"),
    ] {
        setup.refuse(id, text, ("invalid_request", "unknown_issuer", "no ID token"));
    }
    setup.accept();
}

#[test]
fn rules_match_no_prefix_case_type_or_list() {
    let setup = Setup::new();
    for (id, name, value) in [
        ("WL-20 longer", "ref", json!("refs/heads/main2")),
        ("WL-20 shorter", "ref", json!("refs/heads/mai")),
        ("WL-20 below", "ref", json!("refs/heads/main/x")),
        ("WL-20 case", "ref", json!("refs/heads/Main")),
        ("WL-20 blank", "ref", json!("refs/heads/main ")),
        ("WL-20 line feed", "ref", json!("refs/heads/main\n")),
        ("WL-20 another script", "ref", json!("refs/heads/m\u{430}in")),
        ("WL-21 list", "ref", json!(["refs/heads/main"])),
        ("WL-21 list with others", "ref", json!(["refs/heads/main", "refs/heads/evil"])),
        ("WL-21 object", "ref", json!({"refs/heads/main": true})),
        ("WL-21 missing", "ref", Value::Null),
        ("WL-22 number", "repository_id", json!(74)),
        ("WL-22 fraction", "repository_id", json!(74.0)),
        ("WL-22 zeros", "repository_id", json!("074")),
        ("WL-22 list", "repository_id", json!(["74"])),
        ("WL-22 another repository of the same name", "repository_id", json!("75")),
    ] {
        let mut claims = github(&setup.issuer);
        claims[name] = value;
        setup.refuse(id, &token(&setup.issuer, &claims), ("invalid_request", "no_matching_rule", name));
    }
    setup.accept();
}

#[test]
fn workload_token_is_exchanged_once() {
    let mut setup = Setup::with_issuer(Settings { algorithm: Algorithm::ES256, ..Settings::default() });
    let used = ("invalid_request", "token_used", "already used");
    let claims = github(&setup.issuer);
    let first = token(&setup.issuer, &claims);
    assert_issued(&exchange(&setup.api(), &first, "wiki"));
    setup.refuse("WL-30 again", &first, used);
    // Another signature of the same token: its ID counts.
    setup.refuse("WL-30 signed again", &token(&setup.issuer, &claims), used);

    // Without an ID, what is signed counts, not the signature.
    let mut unnamed = github(&setup.issuer);
    unnamed.as_object_mut().expect("an object").remove("jti");
    let unnamed = token(&setup.issuer, &unnamed);
    assert_issued(&exchange(&setup.api(), &unnamed, "wiki"));
    setup.refuse("WL-31 without an ID", &unnamed, used);
    setup.refuse("WL-31 the other signature", &with_other_signature(&unnamed), used);

    // A refused target does not use the token up.
    let honest = token(&setup.issuer, &github(&setup.issuer));
    assert_refused(&exchange(&setup.api(), &honest, "payroll"), 400, "invalid_target");
    assert_issued(&exchange(&setup.api(), &honest, "wiki"));

    setup.daemon.kill();
    setup.daemon.start_again();
    for token in [first, unnamed, honest] {
        setup.refuse("WL-32 after a restart", &token, used);
    }
    setup.accept();
}

/// Replaces s of an ECDSA signature by n - s, which is valid as well (SEC 1 §4.1.4).
fn with_other_signature(token: &str) -> String {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
        0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let mut signature = BASE64_URL_SAFE_NO_PAD.decode(signature).expect("a signature");
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i32::from(ORDER[at]) - i32::from(signature[32 + at]) - borrow;
        borrow = i32::from(difference < 0);
        signature[32 + at] = u8::try_from(difference.rem_euclid(256)).expect("a byte");
    }
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}
