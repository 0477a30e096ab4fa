//! Reads CA certificates from PEM files and decides which certificates are CAs.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;

/// Why a PEM text holds no CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAuthorities {
    #[error("it contains no certificate in PEM form")]
    NoCertificate,
    #[error("no certificate in it belongs to a certification authority (basicConstraints with CA:TRUE)")]
    NoAuthority,
}

/// Returns the CA certificates in a PEM text. Skips all others, such as a server's certificate, because a server's key
/// must never vouch for another certificate.
pub fn authorities_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, NoAuthorities> {
    let certificates = certificates_from_pem(pem)?;
    let authorities: Vec<_> = certificates.into_iter().filter(is_authority).collect();
    if authorities.is_empty() { Err(NoAuthorities::NoAuthority) } else { Ok(authorities) }
}

/// Number of certificates in a PEM text that [`authorities_from_pem`] skips.
#[must_use]
pub fn others_in_pem(pem: &[u8]) -> usize {
    let certificates = certificates_from_pem(pem).unwrap_or_default();
    certificates.iter().filter(|certificate| !is_authority(certificate)).count()
}

fn certificates_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, NoAuthorities> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| NoAuthorities::NoCertificate)?;
    let all_are_certificates = certificates.iter().all(|certificate| parse(certificate).is_some());
    if certificates.is_empty() || !all_are_certificates {
        Err(NoAuthorities::NoCertificate)
    } else {
        Ok(certificates)
    }
}

/// Whether a certificate belongs to a CA.
#[must_use]
pub fn is_authority(certificate: &CertificateDer<'_>) -> bool {
    parse(certificate).is_some_and(|parsed| may_sign_certificates(&parsed))
}

/// Whether a certificate may sign others. RFC 5280 §4.2.1.9: `cA` in the basic constraints; §4.2.1.3: `keyCertSign` if
/// there is a key usage.
pub(super) fn may_sign_certificates(certificate: &X509Certificate<'_>) -> bool {
    let has_right_usage = match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Ok(None) => true,
        // The extension is duplicated or malformed.
        Err(_) => false,
    };
    certificate.is_ca() && has_right_usage
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (rest, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    rest.is_empty().then_some(parsed)
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose};

    use super::*;

    fn pem(is_ca: IsCa, usages: &[KeyUsagePurpose]) -> String {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = is_ca;
        parameters.key_usages = usages.to_vec();
        parameters.self_signed(&KeyPair::generate().expect("a key")).expect("a certificate").pem()
    }

    #[test]
    fn only_signing_certificates_are_authorities() {
        let ca = || IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = pem(ca(), &[KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]);
        let without_usage = pem(ca(), &[]);
        let others = [
            pem(IsCa::NoCa, &[]),
            pem(IsCa::ExplicitNoCa, &[KeyUsagePurpose::KeyCertSign]),
            pem(ca(), &[KeyUsagePurpose::DigitalSignature]),
        ];
        for other in &others {
            assert_eq!(authorities_from_pem(other.as_bytes()), Err(NoAuthorities::NoAuthority), "{other}");
        }
        let all = [others.concat(), authority.clone(), without_usage.clone()].concat();
        assert_eq!(authorities_from_pem(all.as_bytes()).expect("two authorities").len(), 2);
        assert_eq!(others_in_pem(all.as_bytes()), 3);
        assert_eq!(
            authorities_from_pem(all.as_bytes()),
            authorities_from_pem([authority, without_usage].concat().as_bytes())
        );
    }
}
