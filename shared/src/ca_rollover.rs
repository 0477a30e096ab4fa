//! CA rollover: a signed announcement of what will authenticate the daemon next.
//!
//! A statement is a JWS (RFC 7515 §3.1) with ES256, signed by the CA's own key. An attacker with only a leaf's key
//! cannot create one. Clients accept statements only over a connection that the CA authenticated.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::http::{is_authority, pin_of_certificate};
use crate::origin::Origin;
use crate::pin::Pin;

/// Response header with the sequence number of the current statement. `/v1/server` returns the statement itself.
pub const HEADER: &str = "infra-ca-rollover";

const TYPE: &str = "infra-ca-rollover+jwt";
const ALGORITHM: &str = "ES256";
/// A statement with 100 addresses, each listed twice, takes half of this.
const MAX_CHARACTERS: usize = 64 * 1024;
/// Tolerated clock difference.
const LEEWAY: SignedDuration = SignedDuration::from_hours(1);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// Addresses of the daemon that the statement covers.
    pub servers: Vec<Origin>,
    /// The addresses among `servers` that will use a certificate from a public CA.
    pub public: Vec<Origin>,
    /// Pin of the new CA, if there is one.
    pub pin: Option<Pin>,
    /// Increases with every new statement.
    pub sequence: u64,
    /// Issue time in seconds since 1970 (RFC 7519 §4.1.6).
    pub iat: i64,
    /// Expiry in seconds since 1970 (RFC 7519 §4.1.4). Clients keep what they accepted before it.
    pub exp: i64,
}

/// A verified statement about one server. Can only be created by verifying a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CARollover {
    pub sequence: u64,
    /// Pin of the new CA, if there is one.
    pub pin: Option<Pin>,
    /// Whether the client may accept the operating system's CAs for the server from now on.
    pub public: bool,
}

/// Why a statement is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    #[error("it cannot be read")]
    Malformed,
    #[error("it does not come from the certification authority that is trusted here")]
    OtherAuthority,
    #[error("it is not signed by the certification authority that it names")]
    Signature,
    #[error("it is for another server")]
    OtherServer,
    #[error("it is out of date, or the clock of this machine is wrong")]
    OutOfDate,
    #[error("a newer one was accepted before")]
    Superseded,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    /// RFC 7515 §4.1.6: only the CA's certificate, in standard Base64.
    x5c: Vec<String>,
}

impl Statement {
    /// Signs with the private key (PKCS #8, P-256) of the CA with this certificate (DER). Returns `None` if the key is
    /// of another kind.
    #[must_use]
    pub fn sign(&self, certificate: &[u8], private_key: &[u8]) -> Option<String> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private_key).ok()?;
        let header = Header {
            alg: ALGORITHM.to_owned(),
            typ: TYPE.to_owned(),
            x5c: vec![BASE64_STANDARD.encode(certificate)],
        };
        let header = serde_json::to_vec(&header).expect("a header is plain JSON");
        let claims = serde_json::to_vec(self).expect("a statement is plain JSON");
        let signed =
            format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
        let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }
}

impl CARollover {
    /// Verifies a statement about `server`.
    ///
    /// It must be signed by a CA in `trusted` and in date at `now`. Its sequence number must be at least `seen`, the
    /// highest accepted so far (0 if none).
    pub fn verify(
        text: &str,
        trusted: &[Pin],
        server: &Origin,
        now: Timestamp,
        seen: u64,
    ) -> Result<Self, StatementError> {
        let statement = authenticate(text, trusted)?;
        if !statement.servers.contains(server) {
            return Err(StatementError::OtherServer);
        }
        let leeway = LEEWAY.as_secs();
        if statement.iat > now.as_second().saturating_add(leeway)
            || statement.exp < now.as_second().saturating_sub(leeway)
        {
            return Err(StatementError::OutOfDate);
        }
        if statement.sequence < seen {
            return Err(StatementError::Superseded);
        }
        Ok(Self {
            sequence: statement.sequence,
            pin: statement.pin,
            public: statement.public.contains(server),
        })
    }
}

/// Parses the statement if one of `trusted` signed it.
fn authenticate(text: &str, trusted: &[Pin]) -> Result<Statement, StatementError> {
    if text.len() > MAX_CHARACTERS {
        return Err(StatementError::Malformed);
    }
    let (signed, signature) = text.rsplit_once('.').ok_or(StatementError::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(StatementError::Malformed)?;
    let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| StatementError::Malformed);
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| StatementError::Malformed)?;
    let [certificate] = header.x5c.as_slice() else { return Err(StatementError::Malformed) };
    if header.alg != ALGORITHM || header.typ != TYPE {
        return Err(StatementError::Malformed);
    }
    let certificate = BASE64_STANDARD.decode(certificate).map_err(|_| StatementError::Malformed)?;
    let certificate = CertificateDer::from(certificate);
    let pin = pin_of_certificate(&certificate).ok_or(StatementError::Malformed)?;
    if !trusted.contains(&pin) || !is_authority(&certificate) {
        return Err(StatementError::OtherAuthority);
    }
    let (_, parsed) =
        x509_parser::parse_x509_certificate(&certificate).map_err(|_| StatementError::Malformed)?;
    let point = parsed.public_key().subject_public_key.as_ref();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &decode(signature)?)
        .map_err(|_| StatementError::Signature)?;
    serde_json::from_slice(&decode(claims)?).map_err(|_| StatementError::Malformed)
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256};

    use super::*;

    struct Authority {
        certificate: Vec<u8>,
        key: Vec<u8>,
    }

    impl Authority {
        fn new() -> Self {
            Self::with(IsCa::Ca(BasicConstraints::Unconstrained))
        }

        fn with(is_ca: IsCa) -> Self {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key");
            let mut parameters = CertificateParams::default();
            parameters.is_ca = is_ca;
            let certificate = parameters.self_signed(&key).expect("a certificate");
            Self { certificate: certificate.der().to_vec(), key: key.serialize_der() }
        }

        fn pin(&self) -> Pin {
            pin_of_certificate(&self.certificate.clone().into()).expect("a certificate")
        }

        fn sign(&self, statement: &Statement) -> String {
            statement.sign(&self.certificate, &self.key).expect("a signature")
        }
    }

    fn origin(text: &str) -> Origin {
        text.parse().expect("an origin")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn statement() -> Statement {
        Statement {
            servers: vec![origin("a.test"), origin("b.test")],
            public: vec![origin("b.test")],
            pin: Some(Pin::of_public_key(b"next")),
            sequence: 7,
            iat: 1_000_000,
            exp: 2_000_000,
        }
    }

    #[test]
    fn statement_is_accepted_for_the_servers_it_names() {
        let authority = Authority::new();
        let text = authority.sign(&statement());
        let verify =
            |server| CARollover::verify(&text, &[authority.pin()], &origin(server), at(1_500_000), 7);
        let pin = Some(Pin::of_public_key(b"next"));
        assert_eq!(verify("a.test"), Ok(CARollover { sequence: 7, pin, public: false }));
        assert_eq!(verify("b.test"), Ok(CARollover { sequence: 7, pin, public: true }));
        assert_eq!(verify("c.test"), Err(StatementError::OtherServer));
    }

    #[test]
    fn statement_with_foreign_key_or_signature_is_rejected() {
        let (authority, thief) = (Authority::new(), Authority::new());
        let verify = |text: &str| {
            CARollover::verify(text, &[authority.pin()], &origin("a.test"), at(1_500_000), 0).map(|_| ())
        };
        assert_eq!(verify(&thief.sign(&statement())), Err(StatementError::OtherAuthority));
        let borrowed = statement().sign(&authority.certificate, &thief.key).expect("a signature");
        assert_eq!(verify(&borrowed), Err(StatementError::Signature));
        let (theirs, ours) = (thief.sign(&statement()), authority.sign(&statement()));
        let (signed, _) = ours.rsplit_once('.').expect("three parts");
        let (_, signature) = theirs.rsplit_once('.').expect("three parts");
        assert_eq!(verify(&format!("{signed}.{signature}")), Err(StatementError::Signature));
    }

    #[test]
    fn statement_signed_by_leaf_is_rejected() {
        let leaf = Authority::with(IsCa::NoCa);
        let text = leaf.sign(&statement());
        let verified = CARollover::verify(&text, &[leaf.pin()], &origin("a.test"), at(1_500_000), 0);
        assert_eq!(verified, Err(StatementError::OtherAuthority));
    }

    #[test]
    fn statement_out_of_date_or_superseded_is_rejected() {
        let authority = Authority::new();
        let text = authority.sign(&statement());
        let verify = |now, seen| {
            CARollover::verify(&text, &[authority.pin()], &origin("a.test"), at(now), seen).map(|_| ())
        };
        assert_eq!(verify(1_000_000 - 3_600, 0), Ok(()));
        assert_eq!(verify(1_000_000 - 3_601, 0), Err(StatementError::OutOfDate));
        assert_eq!(verify(2_003_600, 0), Ok(()));
        assert_eq!(verify(2_003_601, 0), Err(StatementError::OutOfDate));
        assert_eq!(verify(1_500_000, 8), Err(StatementError::Superseded));
    }

    #[test]
    fn changed_or_malformed_statement_is_rejected() {
        let authority = Authority::new();
        let text = authority.sign(&statement());
        for index in (0..text.len()).step_by(7) {
            let mut changed = text.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("text");
            let verified =
                CARollover::verify(&changed, &[authority.pin()], &origin("a.test"), at(1_500_000), 0);
            assert!(verified.is_err(), "byte {index}");
        }
        for text in ["", "a", "a.b", "a.b.c", &"a.".repeat(40_000)] {
            let verified = CARollover::verify(text, &[authority.pin()], &origin("a.test"), at(1_500_000), 0);
            assert_eq!(verified, Err(StatementError::Malformed), "{text}");
        }
    }

    #[test]
    fn other_algorithm_or_type_is_rejected() {
        let authority = Authority::new();
        let text = authority.sign(&statement());
        let header = text.split('.').next().expect("a header");
        let header = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(header).expect("Base64")).expect("JSON");
        for (from, to) in [("ES256", "none"), ("ES256", "HS256"), (TYPE, "JWT")] {
            let changed = BASE64_URL_SAFE_NO_PAD.encode(header.replace(from, to));
            let rest = text.split_once('.').expect("three parts").1;
            let text = format!("{changed}.{rest}");
            let verified = CARollover::verify(&text, &[authority.pin()], &origin("a.test"), at(1_500_000), 0);
            assert_eq!(verified, Err(StatementError::Malformed), "{to}");
        }
    }
}
