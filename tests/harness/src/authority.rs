//! A test certification authority, and the loopback certificates that it issues.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use infra_shared::pin::Pin;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CrlDistributionPoint, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
    PKCS_RSA_SHA256, PublicKeyData, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

const DAY: Duration = Duration::from_hours(24);

/// A certification authority, with its certificate in a file for `caFile` and `--ca-file`.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    kind: KeyKind,
    directory: TempDir,
}

/// The kind of the keys of a CA and of its certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    RSA,
    P256,
    Ed25519,
}

/// A certificate for `localhost` and `127.0.0.1`, and its key.
pub struct Leaf {
    pub chain: Vec<CertificateDer<'static>>,
    pub chain_pem: String,
    pub key: PrivateKeyDer<'static>,
    pub key_pem: String,
}

impl Authority {
    pub fn new() -> Self {
        Self::with_keys(KeyKind::P256)
    }

    pub fn with_keys(kind: KeyKind) -> Self {
        let mut parameters = CertificateParams::new(Vec::<String>::new()).expect("no names are good names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        parameters.distinguished_name.push(DnType::CommonName, "infra test authority");
        let key = kind.generate();
        let issuer = CertifiedIssuer::self_signed(parameters, key).expect("a certificate");

        let directory = TempDir::with_prefix("infra-authority-").expect("a temporary directory");
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).expect("the authority's file");
        Self { issuer, kind, directory }
    }

    /// The CA certificate as a PEM file, deleted with the authority.
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The directory of the CA file, for files with the same lifetime.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Signs in the CA's name.
    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    pub fn certificate(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// The pin that a client stores for this CA.
    pub fn pin(&self) -> Pin {
        Pin::of_public_key(&self.issuer.key().subject_public_key_info())
    }

    /// The private key as PKCS #8.
    pub fn private_key(&self) -> Vec<u8> {
        self.issuer.key().serialize_der()
    }

    /// Issues a certificate for `localhost` and `127.0.0.1`; its chain includes the CA.
    pub fn issue(&self) -> Leaf {
        self.issue_as(|_| {})
    }

    /// Issues a certificate for `names` as a public CA does: valid for 90 days from yesterday, with a CRL
    /// address.
    pub fn issue_like_public_ca(&self, names: &[&str]) -> Leaf {
        let names = names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let names = CertificateParams::new(names).expect("names").subject_alt_names;
        let revoked_at = CrlDistributionPoint { uris: vec!["http://crl.example.test/ca.crl".to_owned()] };
        self.issue_as(|parameters| {
            parameters.subject_alt_names = names;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is right");
            parameters.not_before = date_time_ymd(1970, 1, 1) + now - DAY;
            parameters.not_after = parameters.not_before + 90 * DAY;
            parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            parameters.crl_distribution_points = vec![revoked_at];
            parameters.use_authority_key_identifier_extension = true;
        })
    }

    /// Issues a certificate of 90 days that expires after this number of days.
    pub fn issue_with_days_left(&self, days: u32) -> Leaf {
        self.issue_as(|parameters| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is right");
            parameters.not_after = date_time_ymd(1970, 1, 1) + now + days * DAY;
            parameters.not_before = parameters.not_after - 90 * DAY;
        })
    }

    /// Issues a certificate that expired a day ago.
    pub fn issue_expired(&self) -> Leaf {
        self.issue_as(|parameters| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is right");
            parameters.not_after = date_time_ymd(1970, 1, 1) + now - DAY;
            parameters.not_before = parameters.not_after - 90 * DAY;
        })
    }

    fn issue_as(&self, change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = self.kind.generate();
        let mut parameters = CertificateParams::new(names).expect("good names");
        change(&mut parameters);
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        Leaf {
            chain_pem: format!("{}{}", certificate.pem(), self.issuer.pem()),
            chain: vec![certificate.der().clone(), self.certificate()],
            key_pem: self.kind.key_pem(&key),
            key: PrivateKeyDer::try_from(key.serialize_der()).expect("the key that was just made"),
        }
    }
}

impl KeyKind {
    fn generate(self) -> KeyPair {
        let algorithm = match self {
            Self::RSA => &PKCS_RSA_SHA256,
            Self::P256 => &PKCS_ECDSA_P256_SHA256,
            Self::Ed25519 => &PKCS_ED25519,
        };
        KeyPair::generate_for(algorithm).expect("a key")
    }

    /// Without the public key in it, because OpenSSL reads no such key of Ed25519 (RFC 8410 §7).
    fn key_pem(self, key: &KeyPair) -> String {
        const BEFORE_SEED: [u8; 16] = *b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
        let der = key.serialize_der();
        match (self, der.get(BEFORE_SEED.len()..48)) {
            (Self::Ed25519, Some(seed)) => {
                let text = BASE64_STANDARD.encode([BEFORE_SEED.as_slice(), seed].concat());
                format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
            }
            _ => key.serialize_pem(),
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
