//! TLS handshakes for any name and protocols, with the certificates that the server presented.

use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use infra_shared::http;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

const PATIENCE: Duration = Duration::from_secs(30);

/// What a server on 127.0.0.1 presented in a handshake that accepts any certificate.
#[derive(Debug, Clone)]
pub struct Presented {
    pub chain: Vec<CertificateDer<'static>>,
    /// The negotiated protocol (ALPN).
    pub protocol: Option<String>,
    pub version: String,
    pub key_exchange: String,
}

/// Performs a handshake for `name` with a port of 127.0.0.1, offering these protocols. Sends no SNI if the
/// name is an address.
pub fn tls_handshake(port: u16, name: &str, protocols: &[&str]) -> Result<Presented, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAnyCertificate(provider)))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let server_name = ServerName::try_from(name.to_owned()).expect("a host name or an address");
    let mut tls = ClientConnection::new(Arc::new(config), server_name).expect("a sound configuration");
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|error| error.to_string())?;
    for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
        set(&socket, Some(PATIENCE)).expect("a timeout");
    }
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).map_err(|error| error.to_string())?;
    }
    let chain = tls.peer_certificates().unwrap_or_default();
    let shown = Presented {
        chain: chain.iter().map(|certificate| certificate.clone().into_owned()).collect(),
        protocol: tls.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned()),
        version: format!("{:?}", tls.protocol_version().expect("it has shaken hands")),
        key_exchange: format!("{:?}", tls.negotiated_key_exchange_group().expect("a key exchange").name()),
    };
    tls.send_close_notify();
    let _ = tls.complete_io(&mut socket);
    Ok(shown)
}

impl Presented {
    /// Verifies the chain for `name` against `roots` (PEM), as a client does.
    pub fn verify(&self, roots: &str, name: &str) -> Result<(), Error> {
        let mut store = RootCertStore::empty();
        for root in http::authorities_from_pem(roots.as_bytes()).expect("certificates of authorities") {
            store.add(root)?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider);
        let name = ServerName::try_from(name.to_owned()).expect("a host name or an address");
        let (leaf, rest) = self.chain.split_first().expect("a chain");
        let verifier = verifier.build().expect("a root");
        verifier.verify_server_cert(leaf, rest, &name, &[], UnixTime::now()).map(|_| ())
    }

    /// The server's leaf certificate.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        self.chain.first().expect("a chain")
    }
}

/// Accepts every chain, but verifies that the server holds its key.
#[derive(Debug)]
struct AcceptAnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _stapled: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::Authority;
    use crate::https::{Answer, Server};

    #[test]
    fn chain_is_verified_against_root_and_name() {
        let (authority, other) = (Authority::new(), Authority::new());
        let server = Server::start(authority.issue(), |_| async { Answer::text(200, "here") });
        let shown = tls_handshake(server.port(), "localhost", &[]).expect("a handshake");
        let pem = |authority: &Authority| std::fs::read_to_string(authority.file()).expect("its file");
        assert_eq!(shown.verify(&pem(&authority), "localhost"), Ok(()));
        assert!(shown.verify(&pem(&other), "localhost").is_err());
        assert!(shown.verify(&pem(&authority), "other.test").is_err());
    }
}
