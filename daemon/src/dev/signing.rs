//! The development provider's signing key, created at each start.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use infra_shared::random;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};

pub(super) struct Signing {
    key_id: String,
    key: EncodingKey,
    public: Value,
}

impl Signing {
    pub(super) fn new() -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .expect("the operating system has random numbers");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref())
            .expect("the key that was just made");
        let key_id = random::alphanumeric(10);
        // SEC 1 §2.3.3: 04, x, y.
        let point = pair.public_key().as_ref();
        let coordinate =
            |range| BASE64_URL_SAFE_NO_PAD.encode(point.get(range).expect("an uncompressed point"));
        let public = json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": key_id,
            "x": coordinate(1..33), "y": coordinate(33..65),
        });
        Self { key_id, key: EncodingKey::from_ec_der(pkcs8.as_ref()), public }
    }

    /// Returns the JSON Web Key Set (RFC 7517 §5).
    pub(super) fn public_keys(&self) -> Value {
        json!({ "keys": [self.public] })
    }

    pub(super) fn sign(&self, claims: &Map<String, Value>) -> String {
        let header = Header { kid: Some(self.key_id.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.key).expect("a sound key and plain JSON")
    }
}
