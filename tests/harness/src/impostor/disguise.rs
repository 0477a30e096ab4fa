//! Ways to impersonate a server of another CA.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SigningKey,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::authority::Authority;

/// The flaw of the impostor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disguise {
    /// A self-signed certificate.
    SelfSigned,
    /// A valid chain of another CA with the same name.
    OtherAuthority,
    /// The valid chain of the CA, without the key of its leaf.
    CopiedChain,
    /// A leaf of another CA, sent together with the real CA certificate.
    CopiedAuthority,
    /// A leaf that names the CA as issuer, but with the signature of another key.
    ForgedIssuer,
    /// The leaf alone, without the CA.
    LeafAlone,
    ExpiredLeaf,
    FutureLeaf,
    OtherName,
    /// A leaf for clients, not for servers.
    ForClients,
    /// A leaf issued by another leaf of the CA.
    LeafOfALeaf,
    /// No TLS at all.
    PlainHTTP,
    /// The honest server on the first connection, a server of another CA on every later one.
    HonestAtFirst,
}

impl Disguise {
    pub const ALL: [Self; 13] = [
        Self::SelfSigned,
        Self::OtherAuthority,
        Self::CopiedChain,
        Self::CopiedAuthority,
        Self::ForgedIssuer,
        Self::LeafAlone,
        Self::ExpiredLeaf,
        Self::FutureLeaf,
        Self::OtherName,
        Self::ForClients,
        Self::LeafOfALeaf,
        Self::PlainHTTP,
        Self::HonestAtFirst,
    ];

    /// The TLS configuration; `None` without TLS.
    pub(super) fn config(self, authority: &Authority) -> Option<Arc<ServerConfig>> {
        let key = KeyPair::generate().expect("a key");
        let ca = authority.certificate();
        let signed = |parameters: CertificateParams| sign(&parameters, &key, authority.issuer());
        let chain = match self {
            Self::PlainHTTP => return None,
            Self::SelfSigned => vec![named(NAME).self_signed(&key).expect("a certificate").der().clone()],
            Self::OtherAuthority | Self::HonestAtFirst => {
                let other = Authority::new();
                vec![sign(&named(NAME), &key, other.issuer()), other.certificate()]
            }
            Self::CopiedChain => authority.issue().chain,
            Self::CopiedAuthority => {
                let other = Authority::new();
                vec![sign(&named(NAME), &key, other.issuer()), ca]
            }
            Self::ForgedIssuer => {
                // The CA's name with another key.
                let own = KeyPair::generate().expect("a key");
                let forged = Issuer::from_ca_cert_der(&ca, &own).expect("the authority's name");
                vec![sign(&named(NAME), &key, &forged), ca]
            }
            Self::LeafAlone => vec![signed(named(NAME))],
            Self::ExpiredLeaf => vec![signed(valid(2020, 2021)), ca],
            Self::FutureLeaf => vec![signed(valid(2098, 2099)), ca],
            Self::OtherName => vec![signed(named("other.example")), ca],
            Self::ForClients => {
                let mut parameters = named(NAME);
                parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                vec![signed(parameters), ca]
            }
            Self::LeafOfALeaf => {
                let between = KeyPair::generate().expect("a key");
                let leaf = sign(&named("some.example"), &between, authority.issuer());
                // The holder of a leaf key can sign a chain that calls the leaf a CA.
                let mut parameters = named("some.example");
                parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                vec![sign(&named(NAME), &key, &Issuer::new(parameters, &between)), leaf, ca]
            }
        };
        Some(server(chain, &key))
    }
}

const NAME: &str = "127.0.0.1";

/// The impersonated server.
pub(super) fn honest(authority: &Authority) -> Arc<ServerConfig> {
    let key = KeyPair::generate().expect("a key");
    server(vec![sign(&named(NAME), &key, authority.issuer()), authority.certificate()], &key)
}

fn named(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    parameters.distinguished_name.push(DnType::CommonName, "infra test server");
    parameters
}

fn valid(from: i32, to: i32) -> CertificateParams {
    let mut parameters = named(NAME);
    (parameters.not_before, parameters.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
    parameters
}

fn sign(
    parameters: &CertificateParams,
    key: &KeyPair,
    issuer: &Issuer<'_, impl SigningKey>,
) -> CertificateDer<'static> {
    parameters.signed_by(key, issuer).expect("a certificate").der().clone()
}

/// A server with this chain and key, even if they do not match.
fn server(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("the key that was just made");
    let key = provider.key_provider.load_private_key(key).expect("a key that can sign");
    let presented = Presented(Arc::new(CertifiedKey::new(chain, key)));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(presented));
    Arc::new(config)
}

#[derive(Debug)]
struct Presented(Arc<CertifiedKey>);

impl ResolvesServerCert for Presented {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}
