//! Verifies the server's certificate during the TLS handshake.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use x509_parser::certificate::X509Certificate;

use super::authorities::may_sign_certificates;
use super::{NoClient, Untrusted, pin_of_certificate};
use crate::pin::Pin;

/// Accepts servers with a certificate from one of these CAs, as long as the CA itself is in date.
#[derive(Debug)]
pub(super) struct AuthoritiesVerifier {
    authorities: Vec<CertificateDer<'static>>,
    names: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

/// Accepts servers with a certificate from the CA with the pinned key.
#[derive(Debug)]
pub(super) struct PinVerifier {
    pin: Pin,
    /// If set, the chain must also lead to one of these.
    authorities: Option<AuthoritiesVerifier>,
    names: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

impl AuthoritiesVerifier {
    pub(super) fn new(
        authorities: &[CertificateDer<'static>],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, NoClient> {
        for authority in authorities {
            RootCertStore::empty()
                .add(authority.clone())
                .map_err(|error| NoClient::Authority(error.to_string()))?;
        }
        let names: Vec<DistinguishedName> = authorities.iter().filter_map(subject).collect();
        // The hint must fit into the ClientHello, so it is left out if the list is too long.
        let size: usize = names.iter().map(|name| name.as_ref().len()).sum();
        let names = if size > MOST_HINT_BYTES { Vec::new() } else { names };
        Ok(Self { authorities: authorities.to_vec(), names, provider })
    }

    /// Accepts the peer if one of the CAs vouches for it. Otherwise returns the most specific error, which is any other
    /// than "unknown issuer".
    fn verify(&self, peer: &Peer<'_>) -> Result<ServerCertVerified, Error> {
        let mut refusal = invalid(Untrusted::UnknownAuthority);
        for authority in &self.authorities {
            match peer.verify_by(authority, &self.provider) {
                Ok(verified) => return Ok(verified),
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }
}

impl PinVerifier {
    pub(super) fn new(
        pin: Pin,
        authorities: Option<AuthoritiesVerifier>,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        let names = vec![common_name(&pin.authority_name())];
        Self { pin, authorities, names, provider }
    }
}

const MOST_HINT_BYTES: usize = 4096;

/// Subject name in a CA's certificate.
fn subject(authority: &CertificateDer<'_>) -> Option<DistinguishedName> {
    let (_, parsed) = x509_parser::parse_x509_certificate(authority).ok()?;
    Some(parsed.subject().as_raw().to_vec().into())
}

/// DER encoding of a name with only a common name (X.520 §6.2.2). Short enough for one-byte lengths.
fn common_name(text: &str) -> DistinguishedName {
    const OBJECT_IDENTIFIER: [u8; 5] = [0x06, 3, 0x55, 4, 3];
    let tagged = |tag: u8, contents: &[u8]| {
        let length = u8::try_from(contents.len()).expect("a name of an authority is short");
        [&[tag, length], contents].concat()
    };
    let (sequence, set, utf8_string) = (0x30, 0x31, 0x0c);
    let attribute = [&OBJECT_IDENTIFIER[..], &tagged(utf8_string, text.as_bytes())].concat();
    tagged(sequence, &tagged(set, &tagged(sequence, &attribute))).into()
}

/// The certificates that the server presented, and the name and time to verify them for.
struct Peer<'a> {
    end_entity: &'a CertificateDer<'a>,
    intermediates: &'a [CertificateDer<'a>],
    server_name: &'a ServerName<'a>,
    ocsp_response: &'a [u8],
    now: UnixTime,
}

impl Peer<'_> {
    /// Verifies chain, host name and dates with `authority` as the only root.
    ///
    /// WebPKI accepts any certificate as a root and ignores its dates, so both are checked here first.
    fn verify_by(
        &self,
        authority: &CertificateDer<'_>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<ServerCertVerified, Error> {
        check_authority(authority, self.now).map_err(invalid)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|_| invalid(Untrusted::Unacceptable))?
            .verify_server_cert(
                self.end_entity,
                self.intermediates,
                self.server_name,
                self.ocsp_response,
                self.now,
            )
    }
}

/// Checks that `certificate` belongs to a CA and is in date (RFC 5280 §4.1.2.5).
fn check_authority(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Untrusted> {
    let (_, parsed): (_, X509Certificate<'_>) =
        x509_parser::parse_x509_certificate(certificate).map_err(|_| Untrusted::Unacceptable)?;
    if !may_sign_certificates(&parsed) {
        return Err(Untrusted::Unacceptable);
    }
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = parsed.validity();
    if now < validity.not_before.timestamp() {
        return Err(Untrusted::NotYetValid);
    }
    if now > validity.not_after.timestamp() {
        return Err(Untrusted::Expired);
    }
    Ok(())
}

fn invalid(reason: Untrusted) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(reason))))
}

impl ServerCertVerifier for AuthoritiesVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(&Peer { end_entity, intermediates, server_name, ocsp_response, now })
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

    /// Lets a daemon with several certificates choose one that this client accepts.
    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        (!self.names.is_empty()).then_some(&self.names)
    }
}

impl ServerCertVerifier for PinVerifier {
    /// Requires the pinned CA in the chain that the server sent.
    ///
    /// Anyone can copy that certificate, so its presence alone proves nothing. The chain must lead to it, and the
    /// server must hold the leaf's key.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pinned =
            intermediates.iter().find(|certificate| pin_of_certificate(certificate) == Some(self.pin));
        let Some(authority) = pinned else {
            let top = intermediates.last().and_then(pin_of_certificate);
            return Err(invalid(
                top.map_or(Untrusted::NoAuthoritySent, |received| Untrusted::OtherPin { received }),
            ));
        };
        let peer = Peer { end_entity, intermediates, server_name, ocsp_response, now };
        if let Some(authorities) = &self.authorities {
            authorities.verify(&peer)?;
        }
        peer.verify_by(authority, &self.provider)
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

    /// Lets a daemon with several certificates choose one that this client accepts.
    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        (!self.names.is_empty()).then_some(&self.names)
    }
}
