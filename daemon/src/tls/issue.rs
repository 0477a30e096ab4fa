//! Issues the CA certificate and the certificates for the daemon's names.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use infra_shared::pin::Pin;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use rustls::DistinguishedName as DistinguishedNameOfClient;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

use super::TlsError;

const DAY: Duration = Duration::from_hours(24);
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * DAY.as_secs());
/// Mozilla's guidelines recommend at most 90 days.
const LEAF_LIFETIME: Duration = Duration::from_secs(90 * DAY.as_secs());
/// Clients whose clocks are slightly behind must accept a new certificate.
const BACKDATED: Duration = Duration::from_hours(1);

/// The daemon's own certification authority.
pub(super) struct Authority {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

/// A certificate for the daemon's names, with its key.
pub(super) struct Leaf {
    certificate: CertificateDer<'static>,
    private_key: Zeroizing<Vec<u8>>,
    not_before: i64,
    not_after: i64,
    names: BTreeSet<String>,
}

impl Authority {
    pub(super) fn create(now: Timestamp) -> Result<Self, TlsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let pin = Pin::of_public_key(&key.subject_public_key_info());
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = common_name(&pin.authority_name());
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut parameters, now, AUTHORITY_LIFETIME);
        let certificate = parameters.self_signed(&key)?.der().clone();
        Ok(Self { certificate, key })
    }

    /// Loads a CA from the store: certificate and key in DER.
    pub(super) fn load(certificate: Vec<u8>, private_key: &[u8]) -> Result<Self, TlsError> {
        let key = PrivatePkcs8KeyDer::from(private_key);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &PKCS_ECDSA_P256_SHA256)?;
        Ok(Self { certificate: certificate.into(), key })
    }

    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(super) fn private_key(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.key.serialize_der())
    }

    pub(super) fn pin(&self) -> Pin {
        Pin::of_public_key(&self.key.subject_public_key_info())
    }

    /// Whether the client lists this CA among those it trusts (RFC 8446 §4.2.4).
    pub(super) fn is_among(&self, names: &[DistinguishedNameOfClient]) -> bool {
        x509_parser::parse_x509_certificate(&self.certificate).is_ok_and(|(_, certificate)| {
            names.iter().any(|name| name.as_ref() == certificate.subject().as_raw())
        })
    }

    pub(super) fn certificate_pem(&self) -> String {
        use base64::Engine;
        use base64::prelude::BASE64_STANDARD;

        // RFC 7468 §2: 64 characters per line.
        let text = BASE64_STANDARD.encode(&self.certificate);
        let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    /// Issues a certificate with a new key for `names`.
    pub(super) fn issue(&self, names: &[String], now: Timestamp) -> Result<Leaf, TlsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = common_name("infrad");
        parameters.subject_alt_names =
            names.iter().map(|name| alternative_name(name)).collect::<Result<_, _>>()?;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.use_authority_key_identifier_extension = true;
        set_validity(&mut parameters, now, LEAF_LIFETIME);
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key)?;
        let certificate = parameters.signed_by(&key, &issuer)?;
        Leaf::load(certificate.der().to_vec(), Zeroizing::new(key.serialize_der()))
    }
}

impl Leaf {
    /// Loads a leaf from the store: certificate and key in DER.
    pub(super) fn load(certificate: Vec<u8>, private_key: Zeroizing<Vec<u8>>) -> Result<Self, TlsError> {
        let unreadable = || TlsError::Unreadable("leaf");
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|_| unreadable())?;
        let validity = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
        let names = parsed
            .subject_alternative_name()
            .map_err(|_| unreadable())?
            .map(|extension| extension.value.general_names.iter().filter_map(text).collect())
            .unwrap_or_default();
        Ok(Self {
            certificate: certificate.into(),
            private_key,
            not_before: validity.0,
            not_after: validity.1,
            names,
        })
    }

    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(super) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.private_key.to_vec()).into()
    }

    /// The private key, to be sealed.
    pub(super) fn private_key_bytes(&self) -> &[u8] {
        &self.private_key
    }

    pub(super) fn expires_at(&self) -> Timestamp {
        Timestamp::from_second(self.not_after).unwrap_or(Timestamp::MAX)
    }

    pub(super) fn issued_at(&self) -> Timestamp {
        let issued_at = self.not_before.saturating_add_unsigned(BACKDATED.as_secs());
        Timestamp::from_second(issued_at).unwrap_or(Timestamp::MIN)
    }

    /// Whether two thirds of its lifetime have passed, or it is not valid yet.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let renew_at = self.not_before + (self.not_after - self.not_before) / 3 * 2;
        now.as_second() >= renew_at || now.as_second() < self.not_before
    }

    pub(super) fn is_for(&self, names: &[String]) -> bool {
        names.iter().map(|name| normal(name)).collect::<BTreeSet<_>>() == self.names
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished_name = DistinguishedName::new();
    distinguished_name.push(DnType::CommonName, name);
    distinguished_name
}

fn set_validity(parameters: &mut CertificateParams, now: Timestamp, lifetime: Duration) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let now = Duration::from_secs(u64::try_from(now.as_second()).unwrap_or_default());
    parameters.not_before = epoch + now.saturating_sub(BACKDATED);
    parameters.not_after = epoch + now + lifetime;
    // CA/Browser Forum Baseline Requirements §7.1: at least 64 random bits; RFC 5280 §4.1.2.2: at most 20 bytes.
    parameters.serial_number = Some(SerialNumber::from(infra_shared::random::bytes::<16>().to_vec()));
}

fn alternative_name(name: &str) -> Result<SanType, TlsError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let unusable = || TlsError::Name { name: name.to_owned() };
    if rustls::pki_types::DnsName::try_from(name).is_err() {
        return Err(unusable());
    }
    Ok(SanType::DnsName(name.try_into().map_err(|_| unusable())?))
}

/// Returns a name of a certificate in the form of [`normal`].
pub(super) fn text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(normal(name)),
        GeneralName::IPAddress(bytes) => {
            let address: Option<IpAddr> = match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok().map(IpAddr::from),
                _ => <[u8; 16]>::try_from(*bytes).ok().map(IpAddr::from),
            };
            address.map(|address| address.to_string())
        }
        _ => None,
    }
}

/// Normalises a name: addresses as Rust prints them, DNS names in lower case.
pub(super) fn normal(name: &str) -> String {
    name.parse::<IpAddr>().map_or_else(|_| name.to_ascii_lowercase(), |address| address.to_string())
}
