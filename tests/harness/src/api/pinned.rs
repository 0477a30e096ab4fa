//! Verifies a pinned daemon with code of the harness, so that the tests do not rely on the code under test.

use std::sync::Arc;

use infra_shared::pin::Pin;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// TLS that accepts only a daemon with the pinned CA in its chain.
pub(super) fn client_config(pin: Pin) -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = PinnedAuthority { pin, provider: Arc::clone(&provider) };
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth()
}

#[derive(Debug)]
struct PinnedAuthority {
    pin: Pin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let is_pinned = |certificate: &&CertificateDer<'_>| {
            ParsedCertificate::try_from(*certificate)
                .is_ok_and(|parsed| Pin::of_public_key(&parsed.subject_public_key_info()) == self.pin)
        };
        let unknown = || Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let authority = chain.iter().find(is_pinned).ok_or_else(unknown)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|_| unknown())?
            .verify_server_cert(leaf, chain, name, stapled, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use infra_shared::origin::Origin;

    use super::super::{Answered, Api};
    use crate::authority::Authority;
    use crate::https::{Answer, Server};

    #[test]
    fn connection_accepts_only_the_pinned_ca() {
        let authority = Authority::new();
        let server = Server::start(authority.issue(), |_| async { Answer::text(200, "here") });
        let origin: Origin = format!("https://127.0.0.1:{}", server.port()).parse().expect("an origin");

        assert_eq!(Api::pinned(&origin, authority.pin()).get("/").body, "here");
        let other = Api::pinned(&origin, Authority::new().pin());
        assert!(Answered::try_of(other.request("GET", "/")).is_err());
    }
}
