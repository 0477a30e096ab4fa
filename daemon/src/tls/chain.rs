//! A certificate chain and its private key, checked together.

use std::net::IpAddr;
use std::sync::Arc;

use infra_shared::printable::when;
use instant_acme::CertificateIdentifier;
use jiff::Timestamp;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;

use super::issue::{normal, text};

/// A chain that passed all checks: its key matches, it is within its validity period, and it covers the required
/// names.
#[derive(Debug)]
pub(super) struct CheckedChain {
    pub(super) key: Arc<CertifiedKey>,
    /// DNS names in lower case, `*.` for wildcards, and IP addresses.
    pub(super) names: Vec<String>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

/// Why a chain and key cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("the file contains no certificate")]
    NoCertificate,
    #[error("certificate {0} of the chain cannot be read")]
    Unreadable(usize),
    #[error(
        "certificate {0} of the chain was not issued by the next one: put the server's own certificate first, then \
         its issuers in order"
    )]
    OutOfOrder(usize),
    #[error("the first certificate is a CA's: put the server's own certificate first")]
    Authority,
    #[error("the private key does not belong to the certificate")]
    OtherKey,
    #[error("the private key cannot be used: {0}")]
    Key(String),
    #[error("the certificate expired on {}", when(*.0))]
    Expired(Timestamp),
    #[error("the certificate is not valid before {}", when(*.0))]
    NotYetValid(Timestamp),
    #[error("the certificate is not for {missing}: it names {}", named(.names))]
    OtherNames { missing: String, names: Vec<String> },
}

impl ChainError {
    /// What to try, if the text itself does not say it.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::NoCertificate | Self::Unreadable(_) | Self::OutOfOrder(_) | Self::Authority => {
                "write the certificates into the file in this order: the server's own, then its issuers"
            }
            Self::OtherKey => {
                "replace both files together: `openssl x509 -in CERTIFICATE -noout -pubkey` and `openssl pkey -in KEY \
                 -pubout` print the same key if they belong together"
            }
            Self::Key(_) => {
                "use an RSA key of at least 2048 bits, ECDSA P-256 or P-384, or Ed25519, in PEM form"
            }
            Self::Expired(_) => "replace both files with a renewed certificate and its key",
            Self::NotYetValid(_) => "correct the clock if `date --utc` is wrong, or wait until then",
            Self::OtherNames { .. } => {
                "use a certificate for the first entry of `publicURLs`, or write a name of the certificate there"
            }
        }
    }
}

impl CheckedChain {
    /// Checks `chain` (server certificate first) with `key`, for all of `names` at `now`.
    pub(super) fn check(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        names: &[String],
        now: Timestamp,
    ) -> Result<Self, ChainError> {
        let parsed = chain
            .iter()
            .enumerate()
            .map(|(index, certificate)| {
                x509_parser::parse_x509_certificate(certificate)
                    .map(|(_, parsed)| parsed)
                    .map_err(|_| ChainError::Unreadable(index + 1))
            })
            .collect::<Result<Vec<X509Certificate<'_>>, _>>()?;
        let own = parsed.first().ok_or(ChainError::NoCertificate)?;
        if own.is_ca() {
            return Err(ChainError::Authority);
        }
        for (index, pair) in parsed.windows(2).enumerate() {
            if let [issued, issuer] = pair
                && issued.issuer().as_raw() != issuer.subject().as_raw()
            {
                return Err(ChainError::OutOfOrder(index + 1));
            }
        }
        let time = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MAX)
        };
        let (not_before, not_after) = (time(own.validity().not_before), time(own.validity().not_after));
        if now > not_after {
            return Err(ChainError::Expired(not_after));
        }
        if now < not_before {
            return Err(ChainError::NotYetValid(not_before));
        }
        let covered = own_names(own).ok_or(ChainError::Unreadable(1))?;
        if let Some(missing) = names.iter().find(|name| !covers(&covered, name)) {
            return Err(ChainError::OtherNames { missing: missing.clone(), names: covered });
        }
        drop(parsed);
        let key =
            CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(
                |error| match error {
                    rustls::Error::InconsistentKeys(_) => ChainError::OtherKey,
                    error => ChainError::Key(error.to_string()),
                },
            )?;
        Ok(Self { key: Arc::new(key), names: covered, not_before, not_after })
    }

    /// When renewal is due: after two thirds of the lifetime.
    pub(super) fn due_at(&self) -> Timestamp {
        let (begin, end) = (self.not_before.as_second(), self.not_after.as_second());
        Timestamp::from_second(begin + (end - begin) / 3 * 2).unwrap_or(Timestamp::MAX)
    }

    /// When renewal is urgent: after five sixths of the lifetime.
    pub(super) fn urgent_at(&self) -> Timestamp {
        let (begin, end) = (self.not_before.as_second(), self.not_after.as_second());
        Timestamp::from_second(begin + (end - begin) / 6 * 5).unwrap_or(Timestamp::MAX)
    }

    /// The ARI identifier (RFC 9773 §4.1); `None` if the certificate has no authority key identifier.
    pub(super) fn identifier(&self) -> Option<CertificateIdentifier<'static>> {
        CertificateIdentifier::try_from(self.key.cert.first()?).ok().map(CertificateIdentifier::into_owned)
    }
}

fn own_names(certificate: &X509Certificate<'_>) -> Option<Vec<String>> {
    let names = certificate.subject_alternative_name().ok()?;
    Some(names.map(|names| names.value.general_names.iter().filter_map(text).collect()).unwrap_or_default())
}

/// Whether a certificate with these names is valid for `host` (RFC 6125 §6.4: `*` matches one label).
pub(super) fn covers(names: &[String], host: &str) -> bool {
    let host = normal(host.trim_start_matches('[').trim_end_matches(']'));
    let is_address = host.parse::<IpAddr>().is_ok();
    let parent = host.split_once('.').filter(|_| !is_address).map(|(_, parent)| parent);
    names
        .iter()
        .any(|name| *name == host || name.strip_prefix("*.").is_some_and(|suffix| Some(suffix) == parent))
}

fn named(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256};
    use rustls::pki_types::PrivatePkcs8KeyDer;

    use super::*;

    struct Made {
        chain: Vec<CertificateDer<'static>>,
        key: KeyPair,
    }

    impl Made {
        fn new(names: &[&str]) -> Self {
            let mut authority = CertificateParams::default();
            authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            authority.distinguished_name.push(DnType::CommonName, "an authority");
            let authority_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
            let root = authority.self_signed(&authority_key).expect("a certificate");
            let issuer = Issuer::from_params(&authority, &authority_key);
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut parameters = CertificateParams::new(names).expect("names");
            parameters.not_before = rcgen::date_time_ymd(2026, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(2026, 4, 1);
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
            let own = parameters.signed_by(&key, &issuer).expect("a certificate");
            Self { chain: vec![own.der().clone(), root.der().clone()], key }
        }

        fn key(&self) -> PrivateKeyDer<'static> {
            PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
        }

        fn check(&self, names: &[&str], now: Timestamp) -> Result<CheckedChain, ChainError> {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            CheckedChain::check(self.chain.clone(), self.key(), &names, now)
        }
    }

    fn february() -> Timestamp {
        "2026-02-01T00:00:00Z".parse().expect("a time")
    }

    #[test]
    fn valid_chain_covers_its_names() {
        let made = Made::new(&["infra.test", "*.wild.test", "10.0.0.1"]);
        let chain = made.check(&["infra.test", "a.wild.test", "10.0.0.1"], february()).expect("a good chain");
        assert_eq!(chain.due_at(), "2026-03-02T00:00:00Z".parse().expect("a time"), "60 of 90 days");
        let other = made.check(&["b.a.wild.test"], february()).map(|_| ());
        assert!(matches!(other, Err(ChainError::OtherNames { missing, .. }) if missing == "b.a.wild.test"));
    }

    #[test]
    fn chain_outside_validity_is_rejected() {
        let made = Made::new(&["infra.test"]);
        let check = |now: Timestamp| made.check(&["infra.test"], now).map(|_| ()).expect_err("out of date");
        let (begin, end) = (february() - (31 * 24).hours(), february() + (59 * 24).hours());
        assert_eq!(check(begin - 1.second()), ChainError::NotYetValid(begin));
        assert_eq!(check(end + 1.second()), ChainError::Expired(end));
        made.check(&["infra.test"], begin).expect("its first second");
        made.check(&["infra.test"], end).expect("its last second");
    }

    #[test]
    fn mismatched_private_key_is_rejected() {
        let (made, other) = (Made::new(&["infra.test"]), Made::new(&["infra.test"]));
        let checked = CheckedChain::check(made.chain.clone(), other.key(), &[], february());
        assert_eq!(checked.map(|_| ()), Err(ChainError::OtherKey));
    }

    #[test]
    fn unordered_or_incomplete_chain_is_rejected() {
        let mut made = Made::new(&["infra.test"]);
        made.chain.reverse();
        assert_eq!(made.check(&[], february()).map(|_| ()), Err(ChainError::Authority));
        let mut made = Made::new(&["infra.test"]);
        made.chain[1] = made.chain[0].clone();
        assert_eq!(made.check(&[], february()).map(|_| ()), Err(ChainError::OutOfOrder(1)));
        made.chain.clear();
        assert_eq!(made.check(&[], february()).map(|_| ()), Err(ChainError::NoCertificate));
        made.chain.push(CertificateDer::from(vec![1, 2, 3]));
        assert_eq!(made.check(&[], february()).map(|_| ()), Err(ChainError::Unreadable(1)));
    }
}
