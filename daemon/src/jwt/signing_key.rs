//! A key pair that signs tokens, and its public part as a JSON Web Key (RFC 7517, RFC 8037).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    UnparsedPublicKey,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use infra_shared::digest::sha256;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// RFC 9068 §2.1: keeps an access token from being taken for a token of another kind.
const TYPE: &str = "at+jwt";

/// An algorithm for signatures, by its name in RFC 7518 §3.1 and RFC 8037 §3.1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    #[default]
    ES256,
    EdDSA,
}

/// A key for one algorithm. `Debug` is left out, because it has the private key.
pub(super) struct SigningKey {
    pair: Pair,
    id: String,
    /// The protected header of its tokens, encoded.
    header: String,
    public: Value,
    verifier: UnparsedPublicKey<Vec<u8>>,
}

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }
}

impl SigningKey {
    pub(super) fn generate(algorithm: Algorithm) -> Self {
        const WORKS: &str = "the operating system has random numbers";
        Self::new(match algorithm {
            Algorithm::ES256 => {
                Pair::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect(WORKS))
            }
            Algorithm::EdDSA => Pair::Ed25519(Ed25519KeyPair::generate().expect(WORKS)),
        })
    }

    /// Reads a private key in PKCS #8. `None` if it is another kind of key.
    pub(super) fn from_pkcs8(algorithm: Algorithm, private_key: &[u8]) -> Option<Self> {
        Some(Self::new(match algorithm {
            Algorithm::ES256 => {
                Pair::P256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private_key).ok()?)
            }
            Algorithm::EdDSA => Pair::Ed25519(Ed25519KeyPair::from_pkcs8(private_key).ok()?),
        }))
    }

    fn new(pair: Pair) -> Self {
        let (algorithm, point) = (pair.algorithm(), pair.public_key());
        let encoded = |part: Option<&[u8]>| {
            BASE64_URL_SAFE_NO_PAD.encode(part.expect("a public key has a fixed length"))
        };
        let name = algorithm.name();
        // RFC 7638 §3: the required members, in the order of their names.
        let (required, mut public, verifier) = match algorithm {
            Algorithm::ES256 => {
                // SEC 1 §2.3.3: 04, x, y.
                let (x, y) = (encoded(point.get(1..33)), encoded(point.get(33..65)));
                (
                    format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#),
                    json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "use": "sig", "alg": name}),
                    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point.clone()),
                )
            }
            Algorithm::EdDSA => {
                let x = encoded(Some(&point));
                (
                    format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#),
                    json!({"kty": "OKP", "crv": "Ed25519", "x": x, "use": "sig", "alg": name}),
                    UnparsedPublicKey::new(&ED25519, point.clone()),
                )
            }
        };
        let id = BASE64_URL_SAFE_NO_PAD.encode(sha256(&[required.as_bytes()]));
        if let Value::Object(members) = &mut public {
            members.insert("kid".to_owned(), id.as_str().into());
        }
        let header = format!(r#"{{"typ":"{TYPE}","alg":"{name}","kid":"{id}"}}"#);
        Self { pair, header: BASE64_URL_SAFE_NO_PAD.encode(header), id, public, verifier }
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.pair.algorithm()
    }

    /// The `kid`: the thumbprint of the public key (RFC 7638).
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// The public key as a JSON Web Key.
    pub(super) fn public(&self) -> &Value {
        &self.public
    }

    /// The first part of each of its tokens. It has the type, the algorithm and the `kid`, so that a token with exactly this
    /// part can be for no other key, algorithm or purpose (RFC 8725 §3.1, §3.11).
    pub(super) fn header(&self) -> &str {
        &self.header
    }

    /// The private key in PKCS #8, to be sealed.
    pub(super) fn private_key(&self) -> Zeroizing<Vec<u8>> {
        let encoded = match &self.pair {
            Pair::P256(pair) => pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
            Pair::Ed25519(pair) => pair.to_pkcs8().map(|document| document.as_ref().to_vec()),
        };
        Zeroizing::new(encoded.expect("a key pair that was read can be written"))
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::P256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message);
                signature.expect("the operating system has random numbers").as_ref().to_vec()
            }
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.verifier.verify(message, signature).is_ok()
    }
}

impl Pair {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::P256(_) => Algorithm::ES256,
            Self::Ed25519(_) => Algorithm::EdDSA,
        }
    }

    /// An uncompressed point, or the encoding of RFC 8032 §5.1.2.
    fn public_key(&self) -> Vec<u8> {
        match self {
            Self::P256(pair) => pair.public_key().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }
}
