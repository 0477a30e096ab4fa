//! Key sets (RFC 7517, OpenID Connect Core §10.1): which keys verify nothing, and which entries are skipped.

use infra_harness::https::{Answer, Delivery};
use infra_harness::provider::{Algorithm, Endpoint, Misbehaviour, Settings};
use serde_json::{Value, json};

use crate::fixture::Expected::{Accepted, Refused, Unavailable};
use crate::fixture::{Case, Expected, Fixture, case};

fn set(id: &'static str, expected: Expected, edit: fn(&mut Value)) -> Case {
    case(id, expected, Misbehaviour::default().json(Endpoint::Keys, edit))
}

fn answer(id: &'static str, expected: Expected, edit: fn(&mut Answer)) -> Case {
    case(id, expected, Misbehaviour::default().answer(Endpoint::Keys, edit))
}

/// Changes the RSA key that the provider signs with.
fn rsa(id: &'static str, expected: Expected, name: &'static str, value: Value) -> Case {
    let misbehaviour = Misbehaviour::default().json(Endpoint::Keys, move |set| {
        set["keys"][0][name] = value.clone();
    });
    case(id, expected, misbehaviour)
}

/// Makes `key` the only key of the set.
fn alone(id: &'static str, expected: Expected, key: Value) -> Case {
    let misbehaviour =
        Misbehaviour::default().json(Endpoint::Keys, move |set| *set = json!({"keys": [key.clone()]}));
    case(id, expected, misbehaviour)
}

fn rsa_of(bytes: usize) -> Value {
    let modulus = format!("w{}", "A".repeat(bytes * 4 / 3 - 1));
    json!({"kty": "RSA", "n": modulus, "e": "AQAB"})
}

#[test]
fn unreadable_key_sets_verify_nothing() {
    let unusable = Unavailable("signing keys: no usable key");
    let no_list = Unavailable("signing keys: no list of keys");
    let malformed = Unavailable("signing keys: malformed");
    Fixture::new().run_with_restarts([
        set("JW-10 empty", unusable, |set| set["keys"] = json!([])),
        set("JW-10 no keys", no_list, |set| *set = json!({"a": 1})),
        set("JW-10 not a list", no_list, |set| set["keys"] = json!({"0": 1})),
        set("JW-11 33 keys", Unavailable("signing keys: too many keys"), |set| {
            let key = set["keys"][0].clone();
            set["keys"] = json!(vec![key; 33]);
        }),
        answer("JW-12 redirect", Unavailable("status 302"), |answer| {
            *answer = Answer::redirect("https://127.0.0.1:9/keys");
        }),
        answer("JW-13 404", Unavailable("status 404"), |answer| answer.status = 404),
        answer("JW-13 HTML", Unavailable("not JSON"), |answer| {
            answer.set_header("content-type", "text/html");
        }),
        answer("JW-14 10 MB", Unavailable("is larger than"), |answer| answer.body = vec![b' '; 10_000_000]),
        answer("JW-14 without end", Unavailable("is larger than"), |answer| {
            answer.delivery = Delivery::Endless;
        }),
        answer("JW-15 a member twice", malformed, |answer| {
            answer.body.splice(1..1, b"\"keys\":[],".iter().copied());
        }),
        answer("JW-15 not UTF-8", malformed, |answer| {
            answer.body = b"{\"keys\":[{\"kid\":\"\xff\"}]}".to_vec();
        }),
        answer("JW-15 deep", malformed, |answer| {
            answer.body = format!("{{\"keys\":{}{}}}", "[".repeat(5000), "]".repeat(5000)).into_bytes();
        }),
    ]);
}

#[test]
fn keys_for_other_uses_verify_nothing() {
    let missing = Refused("unknown_key");
    Fixture::new().run_with_restarts([
        rsa("JW-20 for encryption", missing, "use", json!("enc")),
        rsa("JW-20 use not a text", missing, "use", json!(["sig"])),
        rsa("JW-21 may only encrypt", missing, "key_ops", json!(["encrypt"])),
        rsa("JW-21 may do nothing", missing, "key_ops", json!([])),
        rsa("JW-22 for PS256", Refused("key_type_mismatch"), "alg", json!("PS256")),
        rsa("JW-22 for HS256", Refused("key_type_mismatch"), "alg", json!("HS256")),
        rsa("JW-22 for a number", missing, "alg", json!(256)),
        rsa("JW-23 private half published", missing, "d", json!("AQAB")),
        rsa("JW-24 kid not a text", missing, "kid", json!(7)),
        rsa("JW-25 another kind", missing, "kty", json!("oct")),
        rsa("JW-25 kind unknown", missing, "kty", json!("rsa")),
        rsa("JW-26 modulus not base64url", missing, "n", json!("===")),
        rsa("JW-27 exponent 1", Refused("invalid_signature"), "e", json!("AQ")),
        rsa("JW-27 exponent 2", Refused("invalid_signature"), "e", json!("Ag")),
        // RFC 7518 §2: a number has no leading zero octets.
        rsa("JW-27 exponent with a zero before it", Refused("invalid_signature"), "e", json!("AAEAAQ")),
        rsa("JW-27 exponent of 300 bytes", Refused("invalid_signature"), "e", json!("A".repeat(400))),
        set("JW-28 one name for two keys that fit", Refused("ambiguous_key"), |set| {
            let key = set["keys"][0].clone();
            set["keys"].as_array_mut().expect("a list").push(key);
        }),
    ]);
}

#[test]
fn weak_or_oversized_keys_verify_nothing() {
    // Without a `kid`, the daemon uses the only key of the set.
    let unnamed = |case: Case| Case {
        misbehaviour: case.misbehaviour.id_token(|draft| {
            draft.header.as_object_mut().expect("an object").remove("kid");
        }),
        ..case
    };
    Fixture::new().run_with_restarts([
        unnamed(alone("JW-29 RSA 1024", Refused("key_too_short"), rsa_of(126))),
        unnamed(alone("JW-29 RSA 512", Refused("key_too_short"), rsa_of(63))),
        unnamed(alone("JW-29 RSA 1024 with zeros before it", Refused("key_too_short"), {
            json!({"kty": "RSA", "n": format!("{}w{}", "A".repeat(200), "A".repeat(167)), "e": "AQAB"})
        })),
        unnamed(alone("JW-30 RSA 32768", Refused("invalid_signature"), rsa_of(4095))),
        unnamed(alone(
            "JW-31 a point that is on no curve",
            Unavailable("no usable key"),
            json!({
                "kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"
            }),
        )),
    ]);
}

#[test]
fn elliptic_key_off_the_curve_verifies_nothing() {
    let settings = Settings { algorithm: Algorithm::ES256, ..Settings::default() };
    Fixture::with_settings(settings).run_with_restarts([
        set("JW-31 a point off the curve", Refused("invalid_signature"), |set| {
            set["keys"][1]["y"] = set["keys"][1]["x"].clone();
        }),
        set("JW-32 P-256 said to be P-384", Refused("unknown_key"), |set| {
            set["keys"][1]["crv"] = json!("P-384");
        }),
        set("JW-33 secp256k1", Refused("unknown_key"), |set| set["keys"][1]["crv"] = json!("secp256k1")),
        set("honest: ES256", Accepted, |_| {}),
    ]);
}

#[test]
fn key_sets_with_unknown_entries_are_accepted() {
    Fixture::new().run_with_restarts([
        set("JW-10 one broken, one valid", Accepted, |set| {
            let keys = set["keys"].as_array_mut().expect("a list");
            keys.insert(0, json!({"kty": "RSA", "kid": "broken", "n": 7}));
            keys.insert(0, json!("broken"));
        }),
        set("JW-11 32 keys", Accepted, |set| {
            let keys = set["keys"].as_array_mut().expect("a list");
            keys.resize(32, json!({"kty": "oct", "kid": "shared"}));
        }),
        set("JW-28 one name for two kinds", Accepted, |set| {
            set["keys"][1]["kid"] = set["keys"][0]["kid"].clone();
        }),
        rsa("honest: allowed operations are listed", Accepted, "key_ops", json!(["verify"])),
        rsa("honest: unknown members", Accepted, "x5t#S256", json!("AAAA")),
        answer("honest: its own type", Accepted, |answer| {
            answer.set_header("content-type", "application/jwk-set+json");
        }),
    ]);
}
