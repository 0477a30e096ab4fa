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
use super::{NoClient, Trust, Untrusted, pin_of_certificate};
use crate::pin::Pin;

/// Accepts the servers that `trust` describes.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Trust,
    /// CAs to name in the ClientHello, so that a daemon with several certificates chooses one of theirs.
    names: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    pub(super) fn new(trust: &Trust, provider: Arc<CryptoProvider>) -> Result<Self, NoClient> {
        let (authorities, mut names) = match trust {
            Trust::Authorities(authorities) => {
                (authorities.as_slice(), authorities.iter().filter_map(subject).collect())
            }
            Trust::Pinned { pin, authorities } => {
                (authorities.as_deref().unwrap_or_default(), vec![common_name(&pin.authority_name())])
            }
            Trust::Certificate(_) | Trust::System => (&[][..], Vec::new()),
        };
        for authority in authorities {
            RootCertStore::empty()
                .add(authority.clone())
                .map_err(|error| NoClient::Authority(error.to_string()))?;
        }
        // The hint must fit into the ClientHello, so it is left out if the list is too long.
        if names.iter().map(|name| name.as_ref().len()).sum::<usize>() > MOST_HINT_BYTES {
            names.clear();
        }
        Ok(Self { trust: trust.clone(), names, provider })
    }

    /// Accepts the peer if one of the CAs vouches for it. Otherwise returns the most specific error, which is any other
    /// than "unknown issuer".
    fn verify_by_any(
        &self,
        authorities: &[CertificateDer<'static>],
        peer: &Peer<'_>,
    ) -> Result<ServerCertVerified, Error> {
        let mut refusal = invalid(Untrusted::UnknownAuthority);
        for authority in authorities {
            match peer.verify_by(authority, &self.provider) {
                Ok(verified) => return Ok(verified),
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {}
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }
}

/// The pinned CA in the chain that the server sent.
///
/// Anyone can copy that certificate, so its presence alone proves nothing. The chain must lead to it, and the server
/// must hold the leaf's key.
fn pinned_authority<'a>(
    pin: Pin,
    intermediates: &'a [CertificateDer<'a>],
) -> Result<&'a CertificateDer<'a>, Error> {
    let is_pinned = |certificate: &&CertificateDer<'_>| pin_of_certificate(certificate) == Some(pin);
    intermediates.iter().find(is_pinned).ok_or_else(|| {
        let top = intermediates.last().and_then(pin_of_certificate);
        invalid(
            top.map_or(Untrusted::NoAuthoritySent, |received| Untrusted::OtherPin {
                expected: pin,
                received,
            }),
        )
    })
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

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let peer = Peer { end_entity, intermediates, server_name, ocsp_response, now };
        match &self.trust {
            Trust::Authorities(authorities) => self.verify_by_any(authorities, &peer),
            Trust::Pinned { pin, authorities } => {
                let authority = pinned_authority(*pin, intermediates)?;
                if let Some(authorities) = authorities {
                    self.verify_by_any(authorities, &peer)?;
                }
                peer.verify_by(authority, &self.provider)
            }
            Trust::Certificate(certificate) if end_entity == certificate => {
                Ok(ServerCertVerified::assertion())
            }
            Trust::Certificate(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
            // The operating system's verifier decides about these.
            Trust::System => Err(invalid(Untrusted::UnknownAuthority)),
        }
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

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        (!self.names.is_empty()).then_some(&self.names)
    }
}
