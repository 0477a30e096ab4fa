//! The provider's keys: their JWKs (RFC 7517) and their signatures (RFC 7518, RFC 8037).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
};
use aws_lc_rs::{hmac, rsa};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The signature algorithm of an ID token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    RS256,
    ES256,
    EdDSA,
}

/// The signing key of an ID token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The published key.
    Published(Algorithm),
    /// An unknown key with the ID of the published one.
    Foreign(Algorithm),
    /// HMAC with SHA-256 under these bytes.
    Secret(Vec<u8>),
    /// No signature at all.
    Nothing,
}

/// One key of each kind, and the names under which they are published.
pub(super) struct Keys {
    name: String,
    rsa: rsa::KeyPair,
    ecdsa: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }
}

impl Keys {
    pub(super) fn generate() -> Self {
        Self {
            name: infra_shared::random::alphanumeric(8),
            rsa: rsa::KeyPair::generate(KeySize::Rsa2048).expect("an RSA key"),
            ecdsa: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a P-256 key"),
            ed25519: Ed25519KeyPair::generate().expect("an Ed25519 key"),
        }
    }

    /// The `kid` of the key for `algorithm`.
    pub(super) fn id(&self, algorithm: Algorithm) -> String {
        format!("{}-{}", algorithm.name(), self.name)
    }

    /// The JWK set (RFC 7517 §5).
    pub(super) fn published(&self) -> Value {
        let public = self.rsa.public_key();
        let point = self.ecdsa.public_key().as_ref();
        // SEC 1 §2.3.3: 0x04, then both coordinates.
        let (x, y) =
            point.get(1..).and_then(|point| point.split_at_checked(32)).expect("an uncompressed point");
        json!({"keys": [
            {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.id(Algorithm::RS256),
             "n": encode(public.modulus().big_endian_without_leading_zero()),
             "e": encode(public.exponent().big_endian_without_leading_zero())},
            {"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id(Algorithm::ES256),
             "x": encode(x), "y": encode(y)},
            {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": self.id(Algorithm::EdDSA),
             "x": encode(self.ed25519.public_key().as_ref())},
        ]})
    }

    /// The signature over `message`.
    pub(super) fn sign(&self, key: &Key, message: &[u8]) -> Vec<u8> {
        match key {
            Key::Published(algorithm) => self.sign_with(*algorithm, message),
            Key::Foreign(algorithm) => Self::generate().sign_with(*algorithm, message),
            Key::Secret(secret) => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message).as_ref().to_vec()
            }
            Key::Nothing => Vec::new(),
        }
    }

    fn sign_with(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match algorithm {
            Algorithm::RS256 => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("an RSA signature");
                signature
            }
            Algorithm::ES256 => {
                self.ecdsa.sign(&random, message).expect("an ECDSA signature").as_ref().to_vec()
            }
            Algorithm::EdDSA => self.ed25519.sign(message).as_ref().to_vec(),
        }
    }
}

pub(super) fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
