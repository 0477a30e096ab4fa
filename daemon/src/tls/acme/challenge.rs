//! Certificates for a tls-alpn-01 challenge (RFC 8737) and for the self-check.

use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use crate::tls::TlsError;

/// A certificate with its private key.
pub(in crate::tls) struct Answer {
    certificate: CertificateDer<'static>,
    /// PKCS #8.
    private_key: Zeroizing<Vec<u8>>,
}

/// RFC 8737 §3: names only `name`, and holds the SHA-256 of the key authorization in a critical extension.
pub(super) fn answer(name: &str, digest: &[u8; 32]) -> Result<Answer, TlsError> {
    Answer::create(name, vec![CustomExtension::new_acme_identifier(digest)])
}

/// Creates a unique certificate for the self-check of `name`.
pub(super) fn mark(name: &str) -> Result<Answer, TlsError> {
    Answer::create(name, Vec::new())
}

impl Answer {
    fn create(name: &str, extensions: Vec<CustomExtension>) -> Result<Self, TlsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut parameters = CertificateParams::new(vec![name.to_owned()])?;
        parameters.custom_extensions = extensions;
        let certificate = parameters.self_signed(&key)?.der().clone();
        Ok(Self { certificate, private_key: Zeroizing::new(key.serialize_der()) })
    }

    pub(in crate::tls) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The form that rustls serves.
    pub(in crate::tls) fn certified(&self) -> Result<Arc<CertifiedKey>, TlsError> {
        // rustls must not check it, because it rejects the critical extension, as every normal client should.
        let key = PrivatePkcs8KeyDer::from(self.private_key.to_vec());
        let key = aws_lc_rs::default_provider().key_provider.load_private_key(key.into())?;
        Ok(Arc::new(CertifiedKey::new(vec![self.certificate.clone()], key)))
    }

    /// The length of the certificate, the certificate and the private key.
    pub(in crate::tls) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let length = u32::try_from(self.certificate.len()).expect("a certificate has some hundred bytes");
        Zeroizing::new([length.to_be_bytes().as_slice(), &self.certificate, &self.private_key].concat())
    }

    pub(in crate::tls) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (certificate, private_key) = rest.split_at_checked(length)?;
        let certificate = CertificateDer::from(certificate.to_vec());
        Some(Self { certificate, private_key: Zeroizing::new(private_key.to_vec()) })
    }
}
