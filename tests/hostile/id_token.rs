//! ID tokens that fail validation (OpenID Connect Core §3.1.3.7), and unusual ones that pass.

use infra_harness::provider::{Algorithm, CLIENT_ID, CLIENT_SECRET, Endpoint, Key, Misbehaviour, Signed};
use infra_shared::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::fixture::Expected::{Accepted, Refused};
use crate::fixture::{Case, Fixture, case, claim};

fn signed(id: &'static str, reason: &'static str, edit: fn(&mut Signed)) -> Case {
    case(id, Refused(reason), Misbehaviour::default().signed(edit))
}

/// Changes a header parameter before signing.
fn header(id: &'static str, reason: &'static str, name: &'static str, value: Value) -> Case {
    let misbehaviour = Misbehaviour::default().id_token(move |draft| draft.header[name] = value.clone());
    case(id, Refused(reason), misbehaviour)
}

fn seconds_from_now(seconds: i64) -> Value {
    json!(SystemClock.now().as_second() + seconds)
}

/// Sets the header's algorithm to `name` and signs with `key`.
fn keyed(id: &'static str, reason: &'static str, name: &'static str, key: Key) -> Case {
    let misbehaviour = Misbehaviour::default().id_token(move |draft| {
        draft.header["alg"] = json!(name);
        draft.key = key.clone();
    });
    case(id, Refused(reason), misbehaviour)
}

#[test]
fn invalid_signatures_are_refused() {
    let none = |signed: &mut Signed, name: &str| {
        signed.header = json!({"alg": name}).to_string().into_bytes();
        signed.signature.clear();
    };
    let count = Fixture::new().run([
        case(
            "ID-01 none",
            Refused("algorithm_not_allowed"),
            Misbehaviour::default().signed(move |signed| none(signed, "none")),
        ),
        case(
            "ID-01 nOnE",
            Refused("algorithm_not_allowed"),
            Misbehaviour::default().signed(move |signed| none(signed, "nOnE")),
        ),
        keyed(
            "ID-02 none, and a signature",
            "algorithm_not_allowed",
            "none",
            Key::Published(Algorithm::RS256),
        ),
        keyed("ID-03 no signature for RS256", "invalid_signature", "RS256", Key::Nothing),
        keyed(
            "ID-04 HS256 under the client secret",
            "algorithm_not_allowed",
            "HS256",
            Key::Secret(CLIENT_SECRET.as_bytes().to_vec()),
        ),
        keyed("ID-04 HS256 under nothing", "algorithm_not_allowed", "HS256", Key::Secret(vec![0; 32])),
        signed("ID-05 one bit", "invalid_signature", |signed| signed.signature[7] ^= 1),
        signed("ID-05 cut off", "invalid_signature", |signed| signed.signature.truncate(255)),
        signed("ID-05 one byte", "invalid_signature", |signed| signed.signature.truncate(1)),
        signed("ID-05 one byte more", "invalid_signature", |signed| signed.signature.push(0)),
        signed("ID-05 zeros", "invalid_signature", |signed| signed.signature.fill(0)),
        signed("ID-05 ones", "invalid_signature", |signed| signed.signature.fill(0xff)),
        keyed("ID-06 another key of that name", "invalid_signature", "RS256", Key::Foreign(Algorithm::RS256)),
        keyed(
            "ID-08 PS256 with the RSA key",
            "algorithm_not_allowed",
            "PS256",
            Key::Published(Algorithm::RS256),
        ),
        keyed("ID-08 ES256 with the RSA key", "key_type_mismatch", "ES256", Key::Published(Algorithm::RS256)),
        keyed("ID-08 RS1", "algorithm_not_allowed", "RS1", Key::Published(Algorithm::RS256)),
        keyed("ID-08 ES256K", "algorithm_not_allowed", "ES256K", Key::Published(Algorithm::ES256)),
        signed("ID-09 other claims", "invalid_signature", |signed| {
            let claims = String::from_utf8(signed.claims.clone()).expect("JSON");
            signed.claims = claims.replace("alice", "mallory").into_bytes();
        }),
        signed("ID-09 another header", "invalid_signature", |signed| {
            signed.header.insert(1, b' ');
        }),
        header("ID-41 jku", "unknown_key", "kid", json!("elsewhere")),
        header("ID-42 crit", "critical_extension", "crit", json!(["exp"])),
        header("ID-43 b64", "critical_extension", "b64", json!(false)),
        header("ID-38 access token", "wrong_type", "typ", json!("at+jwt")),
        header("ID-39 logout token", "wrong_type", "typ", json!("logout+jwt")),
        header("ID-40 nested", "wrong_type", "cty", json!("JWT")),
    ]);
    assert_eq!(count, 25);
}

#[test]
fn keys_in_token_header_are_never_used() {
    let with = |name: &'static str, value: Value| {
        Misbehaviour::default().id_token(move |draft| {
            draft.header[name] = value.clone();
            draft.key = Key::Foreign(Algorithm::RS256);
        })
    };
    let fixture = Fixture::new();
    fixture.run([
        case("ID-41 jku", Refused("invalid_signature"), with("jku", json!("https://127.0.0.1:9/keys"))),
        case("ID-41 x5u", Refused("invalid_signature"), with("x5u", json!("https://127.0.0.1:9/chain"))),
        case(
            "ID-41 jwk",
            Refused("invalid_signature"),
            with("jwk", json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"})),
        ),
        case("ID-41 x5c", Refused("invalid_signature"), with("x5c", json!(["MIIB"]))),
    ]);
}

#[test]
fn claims_with_wrong_identity_or_time_are_refused() {
    let count = Fixture::new().run([
        claim("ID-10 other issuer", Refused("issuer_mismatch"), "iss", json!("https://other.example")),
        claim("ID-12 issuer with a slash", Refused("issuer_mismatch"), "iss", json!("https://127.0.0.1/")),
        claim("ID-13 no issuer", Refused("issuer_mismatch"), "iss", json!(null)),
        claim("ID-13 issuers", Refused("issuer_mismatch"), "iss", json!(["https://other.example"])),
        claim("ID-14 other audience", Refused("audience_mismatch"), "aud", json!("another-client")),
        claim("ID-15 other audiences", Refused("audience_mismatch"), "aud", json!(["a", "b"])),
        claim("ID-16 no audience", Refused("audience_mismatch"), "aud", json!(null)),
        claim("ID-16 empty", Refused("audience_mismatch"), "aud", json!("")),
        claim("ID-16 empty list", Refused("audience_mismatch"), "aud", json!([])),
        claim("ID-17 us and a stranger", Refused("audience_mismatch"), "aud", json!([CLIENT_ID, "stranger"])),
        claim("ID-20 azp of another", Refused("authorized_party_mismatch"), "azp", json!("stranger")),
        claim("ID-21 azp a list", Refused("authorized_party_mismatch"), "azp", json!([CLIENT_ID])),
        claim("ID-22 expired", Refused("expired"), "exp", seconds_from_now(-120)),
        claim("ID-22 expired a year ago", Refused("expired"), "exp", seconds_from_now(-31_536_000)),
        claim("ID-23 no expiry", Refused("expired"), "exp", json!(null)),
        claim("ID-23 expiry in words", Refused("expired"), "exp", json!("never")),
        claim("ID-24 expiry negative", Refused("expired"), "exp", json!(-1)),
        claim("ID-25 not yet valid", Refused("not_yet_valid"), "nbf", seconds_from_now(3600)),
        claim("ID-26 no time of issue", Refused("issued_too_long_ago"), "iat", json!(null)),
        claim("ID-26 time of issue in words", Refused("issued_too_long_ago"), "iat", json!("now")),
        claim("ID-27 issued a week ago", Refused("issued_too_long_ago"), "iat", seconds_from_now(-604_800)),
        claim("ID-28 issued in an hour", Refused("issued_in_the_future"), "iat", seconds_from_now(3600)),
        claim("ID-29 other nonce", Refused("nonce_mismatch"), "nonce", json!("other")),
        claim("ID-30 no nonce", Refused("nonce_mismatch"), "nonce", json!(null)),
        claim("ID-30 nonces", Refused("nonce_mismatch"), "nonce", json!(["a"])),
        claim(
            "ID-32 other access token",
            Refused("access_token_hash_mismatch"),
            "at_hash",
            json!("AAAAAAAAAAAAAAAAAAAAAA"),
        ),
        claim("ID-33 hash a number", Refused("access_token_hash_mismatch"), "at_hash", json!(7)),
        claim("ID-35 no subject", Refused("malformed_subject"), "sub", json!(null)),
        claim("ID-35 empty", Refused("malformed_subject"), "sub", json!("")),
        claim("ID-35 256 characters", Refused("malformed_subject"), "sub", json!("a".repeat(256))),
        claim("ID-35 not ASCII", Refused("malformed_subject"), "sub", json!("alic\u{e9}")),
        claim("ID-35 a number", Refused("malformed_subject"), "sub", json!(7)),
        claim("ID-35 NUL inside", Refused("malformed_subject"), "sub", json!("ali\u{0}ce")),
        claim("CL-06 groups without end", Refused("groups: more than 256"), "groups", json!(vec!["g"; 300])),
    ]);
    assert_eq!(count, 34);
}

#[test]
fn malformed_or_replayed_tokens_are_refused() {
    let token = |id: &'static str, reason: &'static str, text: String| {
        let misbehaviour =
            Misbehaviour::default().json(Endpoint::Token, move |answer| answer["id_token"] = json!(text));
        case(id, Refused(reason), misbehaviour)
    };
    let fixture = Fixture::new();
    let old = fixture.provider.last_id_token().expect("a login");
    let parts: Vec<&str> = old.split('.').collect();
    fixture.run([
        token("TE-15 the token of an earlier login", "nonce_mismatch", old.clone()),
        token("ID-40 five parts", "encrypted", format!("{old}.a.b")),
        token("ID-44 two parts", "malformed", parts[..2].join(".")),
        token("ID-44 four parts", "malformed", format!("{old}.a")),
        token("ID-44 padded", "malformed", format!("{}=.{}.{}", parts[0], parts[1], parts[2])),
        token(
            "ID-44 JSON serialization",
            "malformed",
            json!({"payload": parts[1], "signatures": []}).to_string(),
        ),
        token("ID-45 400 kB", "too_large", format!("{old}{}", "A".repeat(400_000))),
        token("ID-46 not JSON", "malformed", "e30.bnVsbA.AA".to_owned()),
        case(
            "ID-47 a member twice",
            Refused("malformed"),
            Misbehaviour::default().signed(|signed| {
                signed.claims.splice(1..1, br#""sub":"sub-mallory","#.iter().copied());
            }),
        ),
        case(
            "ID-48 deep",
            Refused("malformed"),
            Misbehaviour::default().id_token(|draft| {
                let deep = (0..20).fold(json!(1), |inner, _| json!([inner]));
                draft.claims["deep"] = deep;
            }),
        ),
    ]);
}

#[test]
fn unusual_valid_tokens_are_accepted() {
    let draft = |edit: fn(&mut infra_harness::provider::IDTokenDraft)| Misbehaviour::default().id_token(edit);
    Fixture::new().run([
        claim("honest: audience as a list", Accepted, "aud", json!([CLIENT_ID])),
        claim("honest: azp", Accepted, "azp", json!(CLIENT_ID)),
        claim("honest: no at_hash", Accepted, "at_hash", json!(null)),
        claim("honest: expired within the leeway", Accepted, "exp", seconds_from_now(0)),
        claim("honest: unknown claims", Accepted, "https://example.test/x", json!({"a": [1, 2]})),
        claim(
            "CL-10 distributed claims are never fetched",
            Accepted,
            "_claim_sources",
            json!({"a": {"endpoint": "https://127.0.0.1:9/"}}),
        ),
        claim("CL-02 a name with escapes is ignored", Accepted, "name", json!("\u{1b}]52;c;aGk=\u{7}")),
        claim("CL-05 groups that are no texts are ignored", Accepted, "groups", json!([{"a": 1}, 7, null])),
        claim(
            "CL-07 groups with odd names are ignored",
            Accepted,
            "groups",
            json!(["a\u{1b}[31m", "", "a\tb", "a\u{200d}b", "g".repeat(300), "engineering"]),
        ),
        claim("CL-08 groups of the wrong type are ignored", Accepted, "groups", json!({"a": 1})),
        claim(
            "ID-45 256 groups of 256 bytes",
            Accepted,
            "groups",
            json!((0..256).map(|number| format!("{number:03}{}", "\u{eb}".repeat(126))).collect::<Vec<_>>()),
        ),
        claim("CL-03 a name that is not text is ignored", Accepted, "name", json!({"a": 1})),
        case(
            "honest: no typ",
            Accepted,
            draft(|draft| {
                draft.header.as_object_mut().expect("an object").remove("typ");
            }),
        ),
        case(
            "ID-50 no kid, one key that fits",
            Accepted,
            draft(|draft| {
                draft.header.as_object_mut().expect("an object").remove("kid");
            }),
        ),
    ]);
}
