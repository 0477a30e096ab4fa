//! Signed tokens and their keys, with real stores and a manual clock.

mod members;

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use infra_harness::clock::ManualClock;
use infra_shared::clock::Clock;
use infra_shared::digest::sha256;
use infra_shared::token_text::{SessionID, SessionToken, SignedToken};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::claims::{sign, verify};
use super::key_set::KeySet;
use super::signing_key::SigningKey;
use super::*;
use crate::audit::Audit;
use crate::keys::{Keys, RootKeySettings};
use crate::store::{Job, Store};

const ISSUER: &str = "https://infra.test";
const BOTH: [Algorithm; 2] = [Algorithm::ES256, Algorithm::EdDSA];
const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

fn start() -> Timestamp {
    "2026-11-23T08:00:00Z".parse().expect("a time")
}

/// A token for `wiki`, valid for ten minutes from the start.
fn new_token(session: &SessionID) -> NewToken<'_> {
    NewToken {
        audience: "wiki",
        subject: "00u1",
        session,
        client: "infra",
        delegated_to: None,
        issued_at: start(),
        expires_at: start() + MINUTE * 10,
        verified_email: None,
        groups: None,
    }
}

fn signed(key: &SigningKey) -> SignedToken {
    sign(key, ISSUER, &new_token(SessionToken::mint().id()))
}

fn is_accepted(text: &str, key: &SigningKey) -> bool {
    verify(text, ISSUER, std::iter::once(key)).is_some()
}

fn encoded(part: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part.to_string())
}

fn decoded(part: &str) -> Value {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).expect("an encoded part");
    serde_json::from_slice(&bytes).expect("JSON")
}

fn parts(token: &SignedToken) -> [String; 3] {
    let parts: Vec<String> = token.expose().split('.').map(ToOwned::to_owned).collect();
    parts.try_into().expect("three parts")
}

/// Signs any header and claims with the key.
fn forged(key: &SigningKey, header: &str, claims: &str) -> String {
    let message = format!("{header}.{claims}");
    format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes())))
}

#[test]
fn token_has_the_claims_of_its_profile() {
    for algorithm in BOTH {
        let key = SigningKey::generate(algorithm);
        let session = SessionToken::mint();
        let groups = ["engineering", "on call"];
        let new = NewToken {
            verified_email: Some("alice@example.com"),
            groups: Some(&groups),
            delegated_to: Some("agent"),
            ..new_token(session.id())
        };
        let [header, claims, _] = parts(&sign(&key, ISSUER, &new));
        let header = decoded(&header);
        assert_eq!(header, json!({"typ": "at+jwt", "alg": algorithm.name(), "kid": key.id()}));
        let mut claims = decoded(&claims);
        let id = claims["jti"].take();
        assert_eq!(id.as_str().map(str::len), Some(22));
        let issued_at = start().as_second();
        assert_eq!(
            claims,
            json!({
                "iss": ISSUER, "aud": "wiki", "sub": "00u1", "client_id": "infra", "sid": session.id(), "jti": null,
                "iat": issued_at, "exp": issued_at + 600, "email": "alice@example.com", "email_verified": true,
                "groups": groups, "act": {"sub": "delegate:agent", "sid": session.id()},
            })
        );
        let [_, claims, _] = parts(&sign(&key, ISSUER, &new_token(session.id())));
        let claims = decoded(&claims);
        assert!(["act", "email", "email_verified", "groups"].iter().all(|name| claims.get(name).is_none()));
        assert_ne!(claims["jti"], id, "each token has its own");
    }
}

#[test]
fn token_is_verified_with_its_own_key() {
    for algorithm in BOTH {
        let (key, other) = (SigningKey::generate(algorithm), SigningKey::generate(algorithm));
        let session = SessionToken::mint();
        let token = sign(&key, ISSUER, &new_token(session.id()));
        let verified = verify(token.expose(), ISSUER, [&other, &key].into_iter()).expect("our token");
        let (audience, subject) = ("wiki".to_owned(), "00u1".to_owned());
        let (issued_at, expires_at) = (start(), start() + MINUTE * 10);
        let session = session.id().clone();
        assert_eq!(verified, VerifiedToken { audience, subject, session, issued_at, expires_at });
        assert!(!is_accepted(token.expose(), &other), "its key is not published");
        assert!(verify(token.expose(), "https://infra.test/", std::iter::once(&key)).is_none());
    }
}

#[test]
fn changed_token_is_rejected() {
    for algorithm in BOTH {
        let key = SigningKey::generate(algorithm);
        let token = signed(&key);
        let text = token.expose();
        for position in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            assert!(!is_accepted(&changed, &key), "{position} of {}", text.len());
        }
        for changed in [
            format!("{text}="),
            format!("{text}."),
            format!("{text}.e30"),
            format!(" {text}"),
            text.replacen('.', "..", 1),
            text.rsplit_once('.').map(|(signed, _)| signed.to_owned()).expect("a signature"),
            format!("{}.", text.rsplit_once('.').expect("a signature").0),
            String::new(),
            "..".to_owned(),
        ] {
            assert!(!is_accepted(&changed, &key), "{changed}");
        }
    }
}

/// RFC 8725 §3.1, §3.11: the key decides the algorithm and the type, not the token.
#[test]
fn token_of_another_algorithm_or_type_is_rejected() {
    for algorithm in BOTH {
        let key = SigningKey::generate(algorithm);
        let [header, claims, signature] = parts(&signed(&key));
        assert!(is_accepted(&forged(&key, &header, &claims), &key));
        let valid = decoded(&header);
        for (member, value) in [
            ("alg", json!("none")),
            ("alg", json!("HS256")),
            ("alg", json!("RS256")),
            ("alg", json!(BOTH.iter().find(|it| **it != algorithm).map(|it| it.name()))),
            ("alg", json!(algorithm.name().to_lowercase())),
            ("typ", json!("JWT")),
            ("typ", json!("AT+JWT")),
            ("typ", json!("application/at+jwt")),
            ("typ", json!("logout+jwt")),
            ("kid", json!("")),
            ("kid", json!(SigningKey::generate(algorithm).id())),
            ("jwk", key.public().clone()),
            ("jku", json!("https://attacker.test/keys")),
            ("crit", json!(["b64"])),
        ] {
            let mut header = valid.clone();
            header[member] = value;
            let header_text = encoded(&header);
            assert!(!is_accepted(&forged(&key, &header_text, &claims), &key), "{header}");
            assert!(!is_accepted(&format!("{header_text}.{claims}.{signature}"), &key), "{header}");
            assert!(!is_accepted(&format!("{header_text}.{claims}."), &key), "{header}");
            // The public key is no secret for an HMAC.
            let hmac = BASE64_URL_SAFE_NO_PAD.encode(sha256(&[key.public().to_string().as_bytes()]));
            assert!(!is_accepted(&format!("{header_text}.{claims}.{hmac}"), &key), "{header}");
        }
    }
}

#[test]
fn signed_claims_must_have_their_form() {
    let key = SigningKey::generate(Algorithm::ES256);
    let [header, claims, _] = parts(&signed(&key));
    let valid = decoded(&claims);
    for (member, value) in [
        ("iss", json!("https://other.test")),
        ("iss", Value::Null),
        ("aud", json!(["wiki"])),
        ("aud", json!(["wiki", "git"])),
        ("sid", json!("$(id)")),
        ("sub", json!(7)),
        ("exp", json!("1")),
        ("exp", json!(i64::MAX)),
        ("iat", json!(1.5)),
    ] {
        let mut claims = valid.clone();
        claims[member] = value;
        assert!(!is_accepted(&forged(&key, &header, &encoded(&claims)), &key), "{claims}");
    }
    let mut newer = valid;
    newer["added"] = json!("by a newer infrad");
    assert!(is_accepted(&forged(&key, &header, &encoded(&newer)), &key));
}

#[test]
fn longest_token_is_within_its_limit() {
    let (subject, client) = (format!("workload:{}/{}", "w".repeat(32), "\"".repeat(255)), "w".repeat(41));
    let (audience, email) = ("\"".repeat(255), format!("{}@{}", "\u{e9}".repeat(32), "d".repeat(189)));
    let groups = vec!["\"".repeat(32); 32];
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let session = SessionToken::mint();
    let new = NewToken {
        audience: &audience,
        subject: &subject,
        client: &client,
        delegated_to: None,
        verified_email: Some(&email),
        groups: Some(&groups),
        ..new_token(session.id())
    };
    let issuer = format!("https://{}:65535", "h".repeat(253));
    let key = SigningKey::generate(Algorithm::ES256);
    let token = sign(&key, &issuer, &new);
    assert!(token.expose().len() > SignedToken::MAX_BYTES / 2);
    assert!(verify(token.expose(), &issuer, std::iter::once(&key)).is_some());
    let long = format!("{}{}", token.expose(), "A".repeat(SignedToken::MAX_BYTES));
    assert!(verify(&long, &issuer, std::iter::once(&key)).is_none());
}

/// RFC 7638 §3.1 has an RSA key only; RFC 8037 Appendix A.3 has this one.
#[test]
fn key_is_named_by_its_thumbprint() {
    let seed = BASE64_URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").expect("a seed");
    let public = BASE64_URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").expect("a key");
    let pair =
        aws_lc_rs::signature::Ed25519KeyPair::from_seed_and_public_key(&seed, &public).expect("a pair");
    let document = pair.to_pkcs8().expect("PKCS #8");
    let key = SigningKey::from_pkcs8(Algorithm::EdDSA, document.as_ref()).expect("a key");
    assert_eq!(key.id(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    let published = json!({
        "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "use": "sig",
        "alg": "EdDSA", "kid": key.id(),
    });
    assert_eq!(key.public(), &published);
    let key = SigningKey::generate(Algorithm::ES256);
    let (x, y) = (key.public()["x"].as_str().expect("x"), key.public()["y"].as_str().expect("y"));
    assert_eq!((x.len(), y.len()), (43, 43));
    let required = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    assert_eq!(key.id(), BASE64_URL_SAFE_NO_PAD.encode(sha256(&[required.as_bytes()])));
    assert!(key.public().get("d").is_none());
}

#[test]
fn private_key_is_read_for_its_algorithm_only() {
    for (algorithm, other) in [(BOTH[0], BOTH[1]), (BOTH[1], BOTH[0])] {
        let key = SigningKey::generate(algorithm);
        let read = SigningKey::from_pkcs8(algorithm, &key.private_key()).expect("the same key");
        assert_eq!((read.id(), read.header()), (key.id(), key.header()));
        assert!(is_accepted(signed(&read).expose(), &key));
        assert!(SigningKey::from_pkcs8(other, &key.private_key()).is_none());
    }
}

/// The `kid`s of all published keys, and the position of the one that signs.
fn seen(keys: &KeySet, now: Timestamp) -> (Vec<String>, usize) {
    let ids: Vec<String> = keys.published(now).map(|scheduled| scheduled.key.id().to_owned()).collect();
    let signing = keys.signing(now).key.id();
    let position = ids.iter().position(|id| id == signing).expect("the signing key is published");
    (ids, position)
}

#[test]
fn next_key_is_published_a_day_before_it_signs() {
    let (mut keys, mut replaced_at) = (KeySet::first(Algorithm::ES256, start()), Vec::new());
    let (mut before, _) = seen(&keys, start());
    let mut published_at: std::collections::HashMap<String, Timestamp> =
        before.iter().cloned().map(|id| (id, start() - DAY)).collect();
    let mut signing = before[0].clone();
    // Upkeep looks every minute; every quarter of an hour shows the same.
    for step in 0..(100 * 96) {
        let now = start() + MINUTE * 15 * step;
        if let Some(maintained) = keys.maintained(Algorithm::ES256, now) {
            assert!(maintained.number() > keys.number());
            keys = KeySet::parse(&maintained.contents()).expect("what was written");
        }
        let (ids, position) = seen(&keys, now);
        for id in &ids {
            published_at.entry(id.clone()).or_insert(now);
        }
        if ids[position] != signing {
            assert!(published_at[&ids[position]] <= now - DAY, "{now}");
            assert!(ids.contains(&signing), "the replaced key is still published");
            replaced_at.push(now);
            signing.clone_from(&ids[position]);
        }
        assert!(ids.len() <= 2, "{ids:?}");
        before = ids;
    }
    let days: Vec<i64> = replaced_at.iter().map(|at| at.duration_since(start()).as_hours() / 24).collect();
    assert_eq!(days, [30, 60, 90]);
    assert_eq!(before.len(), 1, "replaced keys are dropped");
}

#[test]
fn replaced_key_is_published_until_its_last_token_expired() {
    let keys = KeySet::first(Algorithm::ES256, start());
    let keys = keys.announced(Algorithm::ES256, start()).expect("a next key");
    let takeover_at = start() + DAY;
    let old = keys.signing(start()).key.id().to_owned();
    assert_eq!(keys.signing(takeover_at - SignedDuration::from_secs(1)).key.id(), old);
    assert_ne!(keys.signing(takeover_at).key.id(), old);
    assert_eq!(seen(&keys, takeover_at + HOUR - SignedDuration::from_secs(1)).0.len(), 2);
    let after = takeover_at + HOUR;
    assert!(!seen(&keys, after).0.contains(&old));
    let dropped = keys.maintained(Algorithm::ES256, after).expect("it is over");
    assert_eq!(seen(&dropped, start()).0.len(), 1, "it is no longer stored");
    assert!(dropped.maintained(Algorithm::ES256, after).is_none(), "nothing more is due");
}

#[test]
fn announcement_keeps_the_next_key_that_is_there() {
    let keys = KeySet::first(Algorithm::ES256, start());
    let keys = keys.announced(Algorithm::ES256, start()).expect("a next key");
    for algorithm in BOTH {
        assert!(keys.announced(algorithm, start() + HOUR).is_none());
        assert!(keys.maintained(algorithm, start() + HOUR).is_none());
    }
    assert!(keys.announced(Algorithm::ES256, start() + DAY).is_some());
}

#[test]
fn changed_algorithm_takes_over_after_notice() {
    let keys = KeySet::first(Algorithm::ES256, start());
    let keys = keys.maintained(Algorithm::EdDSA, start() + MINUTE).expect("another algorithm is due");
    let algorithm = |now| keys.signing(now).key.algorithm();
    assert_eq!(algorithm(start() + DAY), Algorithm::ES256);
    assert_eq!(algorithm(start() + DAY + MINUTE), Algorithm::EdDSA);
}

#[test]
fn emergency_replacement_leaves_one_new_key() {
    let keys = KeySet::first(Algorithm::ES256, start());
    let keys = keys.announced(Algorithm::ES256, start()).expect("a next key");
    let (before, _) = seen(&keys, start());
    let replaced = keys.replaced(Algorithm::ES256, start());
    assert!(replaced.number() > keys.number());
    let (after, position) = seen(&replaced, start());
    assert_eq!((after.len(), position), (1, 0));
    assert!(!before.contains(&after[0]));
}

#[test]
fn clock_that_was_set_back_leaves_a_signing_key() {
    let keys = KeySet::first(Algorithm::ES256, start());
    let early = start() - DAY * 365;
    assert_eq!(seen(&keys, early), seen(&keys, start()));
    assert!(keys.maintained(Algorithm::ES256, early).is_none());
}

#[test]
fn contents_that_infrad_never_writes_are_rejected() {
    let keys = KeySet::first(Algorithm::ES256, start()).announced(Algorithm::EdDSA, start()).expect("keys");
    let written: Value = serde_json::from_slice(&keys.contents()).expect("JSON");
    let parse = |value: &Value| KeySet::parse(value.to_string().as_bytes());
    assert!(parse(&written).is_some());
    let mut swapped = written.clone();
    swapped["keys"].as_array_mut().expect("a list").reverse();
    let mut other = written.clone();
    other["keys"][0]["algorithm"] = json!("EdDSA");
    let mut none = written.clone();
    none["keys"] = json!([]);
    let mut damaged = written;
    damaged["keys"][0]["privateKey"] = json!("AAAA");
    for value in [swapped, other, none, damaged, json!({}), json!([])] {
        assert!(parse(&value).is_none(), "{}", value["keys"][0]["algorithm"]);
    }
}

/// A store in a file, and what opens its keys.
struct Fixture {
    _directory: TempDir,
    keys: Keys,
    store: Store,
    clock: ManualClock,
}

impl Fixture {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let data_dir = directory.path().join("data");
        std::fs::create_dir(&data_dir).expect("a directory");
        let root_key = RootKeySettings::Native { path: directory.path().join("root.key") };
        let keys = Keys::open_or_create(&data_dir, &[root_key]).await.expect("keys");
        let store =
            Store::open(data_dir.join(keys.database_file()), keys.database_key()).await.expect("a store");
        Self { _directory: directory, keys, store, clock: ManualClock::at(start()) }
    }

    async fn token_keys(&self) -> Arc<TokenKeys> {
        self.token_keys_in(self.store.clone()).await
    }

    async fn token_keys_in(&self, store: Store) -> Arc<TokenKeys> {
        let settings = JwtSettings { issuer: ISSUER.to_owned(), algorithm: Algorithm::ES256 };
        let clock = Arc::new(self.clock.clone());
        let opened = TokenKeys::open(settings, store, self.keys.field_sealer(), clock, Audit::none());
        opened.await.expect("keys")
    }
}

/// The `kid`s of the published keys, in order.
fn published(keys: &TokenKeys) -> Vec<String> {
    keys.states().into_iter().map(|state| state.id).collect()
}

fn issue(keys: &TokenKeys) -> SignedToken {
    keys.sign(&new_token(SessionToken::mint().id()))
}

#[tokio::test]
async fn keys_are_the_same_after_a_restart() {
    let fixture = Fixture::new().await;
    let keys = fixture.token_keys().await;
    let token = issue(&keys);
    keys.announce().await.expect("stored");
    let again = fixture.token_keys().await;
    assert_eq!(again.states(), keys.states());
    assert_eq!(again.public_keys(), keys.public_keys());
    assert!(again.verify(token.expose()).is_some());
    assert_eq!(again.algorithms(), [Algorithm::ES256]);
}

#[tokio::test]
async fn upkeep_rotates_keys_and_tokens_stay_valid() {
    let fixture = Fixture::new().await;
    let keys = fixture.token_keys().await;
    let mut last = issue(&keys);
    for _ in 0..(65 * 24) {
        fixture.clock.advance(HOUR);
        keys.maintain().await.expect("the store answers");
        assert!(keys.verify(last.expose()).is_some(), "a token of an hour ago");
        last = issue(&keys);
        let states = keys.states();
        assert_eq!(states.iter().filter(|state| state.is_signing).count(), 1, "{states:?}");
    }
    assert!(fixture.clock.now() > start() + DAY * 60);
    assert_eq!(published(&keys).len(), 1);
}

#[tokio::test]
async fn emergency_rotation_ends_earlier_tokens() {
    let fixture = Fixture::new().await;
    let keys = fixture.token_keys().await;
    let token = issue(&keys);
    keys.replace().await.expect("stored");
    assert!(keys.verify(token.expose()).is_none());
    assert!(keys.verify(issue(&keys).expose()).is_some());
    assert_eq!(fixture.token_keys().await.states(), keys.states());
}

#[tokio::test]
async fn changed_row_gets_another_key_at_start() {
    let fixture = Fixture::new().await;
    let before = fixture.token_keys().await;
    let lease = fixture.store.expect_lease(Job::TokenKeys).await.expect("a lease");
    fixture.store.save_token_keys(b"{}", &fixture.keys.field_sealer(), &lease).await.expect("stored");
    fixture.store.end_lease(lease).await;
    let after = fixture.token_keys().await;
    assert_ne!(published(&after), published(&before));
    assert_eq!(fixture.token_keys().await.states(), after.states(), "it is stored");
}

#[tokio::test]
async fn lost_row_is_stored_again() {
    let fixture = Fixture::new().await;
    let keys = fixture.token_keys().await;
    let lease = fixture.store.expect_lease(Job::TokenKeys).await.expect("a lease");
    let sealer = fixture.keys.field_sealer();
    let early = KeySet::first(Algorithm::ES256, start() - DAY).contents();
    for contents in [b"{}".to_vec(), early.to_vec()] {
        fixture.store.save_token_keys(&contents, &sealer, &lease).await.expect("stored");
        keys.maintain().await.expect("the store answers");
        assert_eq!(fixture.token_keys().await.states(), keys.states());
    }
    let late = KeySet::first(Algorithm::ES256, start() + DAY);
    fixture.store.save_token_keys(&late.contents(), &sealer, &lease).await.expect("stored");
    keys.maintain().await.expect("the store answers");
    assert_eq!(published(&keys), [late.signing(start()).key.id()], "a later one counts");
}
