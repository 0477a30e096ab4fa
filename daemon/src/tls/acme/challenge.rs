//! Certificates for a tls-alpn-01 challenge (RFC 8737) and for the self-check.

use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::CertifiedKey;

use crate::tls::TlsError;

/// RFC 8737 §3: names only `name`, and holds the SHA-256 of the key authorization in a critical extension.
pub(super) fn answer(name: &str, digest: &[u8; 32]) -> Result<Arc<CertifiedKey>, TlsError> {
    certificate(name, vec![CustomExtension::new_acme_identifier(digest)])
}

/// Creates a unique certificate for the self-check of `name`.
pub(super) fn mark(name: &str) -> Result<Arc<CertifiedKey>, TlsError> {
    certificate(name, Vec::new())
}

fn certificate(name: &str, extensions: Vec<CustomExtension>) -> Result<Arc<CertifiedKey>, TlsError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut parameters = CertificateParams::new(vec![name.to_owned()])?;
    parameters.custom_extensions = extensions;
    let certificate = parameters.self_signed(&key)?.der().clone();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    // rustls must not check it, because it rejects the critical extension, as every normal client should.
    let key = aws_lc_rs::default_provider().key_provider.load_private_key(key.into())?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate], key)))
}
