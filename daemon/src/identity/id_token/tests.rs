//! Runs every vector of `tests/vectors/id_token`: a valid token, changed as the file says, signed with a key of the
//! test.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::prelude::BASE64_URL_SAFE;
use serde_json::json;

use aws_lc_rs::digest::SHA256;

use super::*;
use crate::identity::signing_keys;

const ACCESS_TOKEN: &str = "access token";
const REFRESH: Flow<'_> = Flow::Refresh { subject: "alice", auth_time: Some(999_000) };
const ALLOWED: &[SigningAlgorithm] = &[SigningAlgorithm::ES256, SigningAlgorithm::RS256];

#[test]
fn id_token_vectors_give_expected_results() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/id_token");
    let (ours, other) = (key_pair(), key_pair());
    let (nonce, access_token) = (SecretString::from("nonce"), SecretString::from(ACCESS_TOKEN));
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).expect("the folder of vectors") {
        let path = entry.expect("an entry").path();
        let vector: Value = serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("a vector");
        let key_pair_used = if vector["key"] == "other" { &other } else { &ours };
        let additional: Vec<String> =
            serde_json::from_value(vector["additionalAudiences"].clone()).unwrap_or_default();
        let set = key_set(vector["keySet"].as_str(), &ours, &other);
        let keys = signing_keys::read(set.as_object().expect("an object")).expect("a key set");
        let audiences: Vec<String> =
            serde_json::from_value(vector["audiences"].clone()).unwrap_or_else(|_| vec!["client".to_owned()]);
        let client = Client {
            id: "client",
            additional_audiences: &additional,
            nonce: &nonce,
            flow: if vector["occasion"] == "refresh" { REFRESH } else { Flow::Login },
            access_token: &access_token,
        };
        let expected = Expectations {
            issuer: "https://issuer.test",
            recipient: match vector["occasion"].as_str() {
                Some("workload") => Recipient::Workload { audiences: &audiences },
                _ => Recipient::Client(client),
            },
            algorithms: ALLOWED,
            now: Timestamp::from_second(1_000_000).expect("a time"),
        };
        let code = match verify(&token(&vector, key_pair_used, &other).into(), &expected, &keys) {
            Ok(_) => "accepted".to_owned(),
            Err(IDTokenError::TooLarge { .. }) => "too_large".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(vector["expect"], code, "{}", path.display());
        checked += 1;
    }
    assert!(checked >= 150, "only {checked} vectors were found");
}

fn token(vector: &Value, key_pair_used: &EcdsaKeyPair, other: &EcdsaKeyPair) -> String {
    let mut header = changed(json!({"alg": "ES256", "kid": "ours"}), &vector["header"]);
    if header["jwk"] == "other" {
        header["jwk"] = jwk(other, "ours");
    }
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
    if let [Some(from), Some(to)] = [0, 1].map(|at| vector["replaceInClaims"][at].as_str()) {
        assert!(claims.contains(from), "nothing to replace in {claims}");
        claims = claims.replacen(from, to, 1);
    }
    if let Some(raw) = vector["rawClaims"].as_str() {
        raw.clone_into(&mut claims);
    }
    let encode = |text: &str| {
        if vector["padded"] == true {
            BASE64_URL_SAFE.encode(text)
        } else {
            BASE64_URL_SAFE_NO_PAD.encode(text)
        }
    };
    let signed = format!("{}.{}", encode(&header.to_string()), encode(&claims));
    if vector["parts"] == 2 {
        return signed;
    }
    let sign = |text: &str| key_pair_used.sign(&SystemRandom::new(), text.as_bytes()).expect("a signature");
    let mut signature = sign(&signed).as_ref().to_vec();
    match vector["signature"].as_str() {
        None => {}
        Some("truncated") => signature.truncate(30),
        Some("flipped") => signature[40] ^= 1,
        Some("of_other_claims") => signature = sign("other").as_ref().to_vec(),
        // r and s must be below the group order (SEC 1 §4.1.4). This signature is the order itself, twice.
        Some("order") => signature = [P256_ORDER, P256_ORDER].concat(),
        // RFC 7518 §3.4: the two numbers concatenated, never ASN.1.
        Some("der") => signature = der(&signature),
        Some(text) => return format!("{signed}.{text}{}", vector["suffix"].as_str().unwrap_or_default()),
    }
    let signature = BASE64_URL_SAFE_NO_PAD.encode(signature);
    format!("{signed}.{signature}{}", vector["suffix"].as_str().unwrap_or_default())
}

/// n of P-256 (SEC 2 §2.4.2).
const P256_ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
    0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// The ASN.1 form of a P-256 signature.
fn der(fixed: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let mut content = number.to_vec();
        content.insert(0, 0);
        [&[2, u8::try_from(content.len()).expect("short")][..], &content].concat()
    };
    let content = [integer(&fixed[..32]), integer(&fixed[32..])].concat();
    [&[0x30, u8::try_from(content.len()).expect("short")][..], &content].concat()
}

/// The left half of the SHA-256 of [`ACCESS_TOKEN`].
fn at_hash() -> String {
    let hash = digest::digest(&SHA256, ACCESS_TOKEN.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(&hash.as_ref()[..16])
}

/// Applies `changes` to `good`; null removes a member.
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

fn jwk(key_pair: &EcdsaKeyPair, id: &str) -> Value {
    let point = key_pair.public_key().as_ref();
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    json!({"kty": "EC", "crv": "P-256", "kid": id, "x": encode(&point[1..33]), "y": encode(&point[33..])})
}

/// The provider's keys: ours and an RSA key that is too short, unless the vector names another set.
fn key_set(name: Option<&str>, ours: &EcdsaKeyPair, other: &EcdsaKeyPair) -> Value {
    let weak =
        json!({"kty": "RSA", "kid": "weak", "n": BASE64_URL_SAFE_NO_PAD.encode([0xc1; 128]), "e": "AQAB"});
    let with = |name: &str, value: &str| {
        let mut key = jwk(ours, "ours");
        key[name] = value.into();
        key
    };
    let keys = match name {
        None => vec![jwk(ours, "ours"), weak],
        Some("two_that_fit") => vec![jwk(ours, "ours"), jwk(other, "other")],
        Some("the_same_name_twice") => vec![jwk(ours, "ours"), jwk(other, "ours")],
        Some("for_encryption") => vec![with("use", "enc"), weak],
        Some("for_another_algorithm") => vec![with("alg", "ES384")],
        Some(other) => panic!("no set of keys is named {other}"),
    };
    json!({ "keys": keys })
}

#[test]
fn id_token_above_384_kib_is_rejected() {
    let ours = key_pair();
    let set = key_set(None, &ours, &ours);
    let keys = signing_keys::read(set.as_object().expect("an object")).expect("a key set");
    let (nonce, access_token) = (SecretString::from("nonce"), SecretString::from(ACCESS_TOKEN));
    let client = Client {
        id: "client",
        additional_audiences: &[],
        nonce: &nonce,
        flow: Flow::Login,
        access_token: &access_token,
    };
    let expected = Expectations {
        issuer: "https://issuer.test",
        recipient: Recipient::Client(client),
        algorithms: ALLOWED,
        now: Timestamp::from_second(1_000_000).expect("a time"),
    };
    // Base64url skips some lengths, so the header makes up the difference.
    let sized = |size: usize| {
        (0..4).find_map(|unit| {
            let padded = |length: usize| {
                let padding = "x".repeat(length);
                let vector = json!({"header": {"x": "x".repeat(unit)}, "claims": {"padding": padding}});
                token(&vector, &ours, &ours)
            };
            let missing = size - padded(0).len();
            (missing * 3 / 4 - 2..missing).take(6).map(padded).find(|token| token.len() == size)
        })
    };
    let check = |token: String| verify(&token.into(), &expected, &keys).map(|verified| verified.subject);
    assert_eq!(check(sized(MAX_BYTES).expect("of that size")).as_deref(), Ok("alice"));
    let too_large = check(sized(MAX_BYTES + 1).expect("of that size")).expect_err("larger");
    assert_eq!(too_large.to_string(), "too_large: 393217 bytes, at most 393216");
}

#[test]
fn id_token_fits_256_longest_groups() {
    // 256 names of 256 bytes, in their longest JSON form.
    let name = format!("\"{}\",", "\\u00eb".repeat(128));
    let claims = format!("{{\"groups\":[{}\"\"]}}", name.repeat(256));
    let length = BASE64_URL_SAFE_NO_PAD.encode(claims).len();
    assert!(length + 64 * 1024 < MAX_BYTES, "{length}");
}

#[test]
fn numeric_date_outside_calendar_is_rejected() {
    let claims = json!({"whole": 1_000_000, "fraction": 1_000_000.9, "before_1970": -0.5, "last": 999_999_999_999_999.0,
        "beyond": 1e15, "far_before": -1e15, "text": "1000000", "null": null, "list": [1_000_000]});
    let read = |name: &str| seconds(claims.as_object().expect("an object"), name);
    assert_eq!(
        [read("whole"), read("fraction"), read("before_1970")],
        [Some(1_000_000), Some(1_000_000), Some(-1)]
    );
    assert_eq!(read("last"), Some(999_999_999_999_999));
    for name in ["beyond", "far_before", "text", "null", "list", "missing"] {
        assert_eq!(read(name), None, "{name}");
    }
}

#[test]
fn keys_are_refetched_only_if_they_could_help() {
    for helped in [
        IDTokenError::UnknownKey,
        IDTokenError::AmbiguousKey,
        IDTokenError::KeyDoesNotFit,
        IDTokenError::KeyTooShort,
        IDTokenError::SignatureInvalid,
    ] {
        assert!(helped.depends_on_keys(), "{helped}");
    }
    for not_helped in [IDTokenError::AlgorithmNotAllowed, IDTokenError::Expired, IDTokenError::NonceMismatch]
    {
        assert!(!not_helped.depends_on_keys(), "{not_helped}");
    }
}

mod wycheproof {
    //! Project Wycheproof's vectors: signatures and keys that broke libraries.

    use super::*;

    /// Every algorithm that a configuration may contain.
    const ALL: &[SigningAlgorithm] = &[
        SigningAlgorithm::RS256,
        SigningAlgorithm::RS384,
        SigningAlgorithm::RS512,
        SigningAlgorithm::PS256,
        SigningAlgorithm::PS384,
        SigningAlgorithm::PS512,
        SigningAlgorithm::ES256,
        SigningAlgorithm::ES384,
        SigningAlgorithm::EdDSA,
    ];

    /// An RSA key with weak primes, detectable from its public half only by statistics (CVE-2017-15361). The daemon
    /// does not detect such keys.
    const NOT_LOOKED_FOR: &str = "jws_rsa_roca_key";

    /// RFC 7520 §4.2 in the vectors: signed with PS384 by a key for PS256 only (RFC 7517 §4.4).
    const FOR_ANOTHER_ALGORITHM: &str = "Figure20";

    fn vectors(name: &str) -> Vec<Value> {
        let path = format!("{}/../tests/vectors/wycheproof/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let vectors: Value = serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON");
        vectors["groups"].as_array().expect("groups").clone()
    }

    fn keys(group: &Value) -> Vec<SigningKey> {
        let set = json!({ "keys": group["keys"] });
        // A set without a usable key is rejected as a whole.
        signing_keys::read(set.as_object().expect("an object")).unwrap_or_default()
    }

    /// Performs the steps of a login, without the claims: the vectors' payloads are not JSON.
    fn check(token: &str, keys: &[SigningKey]) -> Result<SigningAlgorithm, IDTokenError> {
        let parts = CompactJWS::split(token)?;
        let header = object(parts.header)?;
        check_type(&header)?;
        check_signature(&parts, &header, ALL, keys)
    }

    #[test]
    fn wycheproof_tokens_give_expected_results() {
        let (mut accepted, mut refused) = (0, 0);
        for group in vectors("web_signatures") {
            let name = group["comment"].as_str().expect("a name");
            let keys = keys(&group);
            for test in group["tests"].as_array().expect("tests") {
                let [id, comment, token, result] = &test.as_array().expect("a test")[..] else {
                    panic!("another form: {test}")
                };
                let checked = check(token.as_str().expect("a token"), &keys);
                // ID tokens signed with a shared secret are rejected, and P-521 is not supported.
                let is_offered = !keys.is_empty() && comment != FOR_ANOTHER_ALGORITHM;
                let expected = result == "valid" && is_offered || name == NOT_LOOKED_FOR;
                assert_eq!(checked.is_ok(), expected, "{name} {id} {comment}: {checked:?}");
                if checked.is_ok() { accepted += 1 } else { refused += 1 }
            }
        }
        assert!(accepted >= 20 && refused >= 150, "{accepted} accepted, {refused} refused");
    }

    #[test]
    fn wycheproof_signatures_give_expected_results() {
        let (mut accepted, mut refused) = (0, 0);
        for group in vectors("signatures") {
            let keys = keys(&group);
            let algorithm =
                ALL.iter().find(|algorithm| group["alg"] == algorithm.name()).expect("one of ours");
            for test in group["tests"].as_array().expect("tests") {
                let [id, message, signature, result] = &test.as_array().expect("a test")[..] else {
                    panic!("another form: {test}")
                };
                let decode = |text: &Value| {
                    data_encoding::HEXLOWER.decode(text.as_str().expect("a text").as_bytes()).expect("hex")
                };
                let signature = BASE64_URL_SAFE_NO_PAD.encode(decode(signature));
                let is_good = keys.first().is_some_and(|key| {
                    jsonwebtoken::crypto::verify(&signature, &decode(message), &key.key, (*algorithm).into())
                        .is_ok_and(|good| good)
                });
                assert_eq!(is_good, result == "valid", "{} {id}", group["alg"]);
                if is_good { accepted += 1 } else { refused += 1 }
            }
        }
        assert!(accepted >= 100 && refused >= 100, "{accepted} accepted, {refused} refused");
    }
}
