//! Runs every vector of `tests/vectors/id_token`: a good token, changed as the file says, signed with a key of the test.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;

use super::*;
use crate::identity::signing_keys;

const ACCESS_TOKEN: &str = "access token";
const ALLOWED: &[SigningAlgorithm] = &[SigningAlgorithm::ES256, SigningAlgorithm::RS256];

#[test]
fn every_vector_is_judged_as_it_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/id_token");
    let (ours, other) = (key_pair(), key_pair());
    let keys = signing_keys::read(key_set(&ours).as_object().expect("an object")).expect("a key set");
    let (nonce, access_token) = (SecretString::from("nonce"), SecretString::from(ACCESS_TOKEN));
    let mut judged = 0;
    for entry in std::fs::read_dir(folder).expect("the folder of vectors") {
        let path = entry.expect("an entry").path();
        let vector: Value = serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("a vector");
        let key_pair_used = if vector["key"] == "other" { &other } else { &ours };
        let expected = Expected {
            issuer: "https://issuer.test",
            client_id: "client",
            nonce: &nonce,
            algorithms: ALLOWED,
            now: Timestamp::from_second(1_000_000).expect("a time"),
            access_token: &access_token,
        };
        let code = match verify(&token(&vector, key_pair_used).into(), &expected, &keys) {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(vector["expect"], code, "{}", path.display());
        judged += 1;
    }
    assert!(judged >= 40, "only {judged} vectors were found");
}

fn token(vector: &Value, key_pair_used: &EcdsaKeyPair) -> String {
    let header = changed(json!({"alg": "ES256", "kid": "ours"}), &vector["header"]);
    let claims = changed(
        json!({
            "iss": "https://issuer.test", "aud": "client", "sub": "alice", "nonce": "nonce",
            "exp": 1_000_300, "iat": 1_000_000,
            "at_hash": at_hash(),
        }),
        &vector["claims"],
    );
    let mut claims = claims.to_string();
    if vector["duplicate"] == true {
        claims = claims.replacen('{', r#"{"sub":"bob","#, 1);
    }
    let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", encode(&header.to_string()), encode(&claims));
    let signature = key_pair_used.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
    let mut signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
    match vector["signature"].as_str() {
        Some("truncated") => signature.truncate(40),
        Some(text) => signature = text.to_owned(),
        None => {}
    }
    format!("{signed}.{signature}{}", vector["suffix"].as_str().unwrap_or_default())
}

/// The left half of the SHA-256 of [`ACCESS_TOKEN`].
fn at_hash() -> String {
    let hash = digest::digest(&SHA256, ACCESS_TOKEN.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16])
}

/// `good` with the members of `changes`; null takes one away.
fn changed(mut good: Value, changes: &Value) -> Value {
    let members = good.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    good
}

fn key_pair() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key pair")
}

fn key_set(ours: &EcdsaKeyPair) -> Value {
    let point = ours.public_key().as_ref();
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    json!({"keys": [
        {"kty": "EC", "crv": "P-256", "kid": "ours", "x": encode(&point[1..33]), "y": encode(&point[33..])},
        {"kty": "RSA", "kid": "weak", "n": encode(&[0xc1; 128]), "e": "AQAB"},
    ]})
}
