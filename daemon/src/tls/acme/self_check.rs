//! Checks that a name resolves to this daemon, by connecting to it and recognising itself. The daemon does not order
//! a certificate for a name that fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::challenge;
use crate::tls::resolver::{Protocol, Resolver};

/// The timeout for the DNS look-up and for each address.
const PATIENCE: Duration = Duration::from_secs(5);
/// A real name has few addresses.
const MOST_ADDRESSES: usize = 8;

/// Connects to `name` as the authority will. An error describes what it found instead.
pub(super) async fn leads_here(name: &str, port: u16, resolver: &Arc<Resolver>) -> Result<(), String> {
    let mark = challenge::mark(name).map_err(|error| error.to_string())?;
    let certificate = mark.cert.first().cloned().ok_or("no certificate was made")?;
    let _answering = resolver.answer(Protocol::SelfCheck, name, mark);
    let client = client(certificate)?;
    let mut met = "its name has no address".to_owned();
    for address in addresses_of(name, port).await?.into_iter().take(MOST_ADDRESSES) {
        match timeout(PATIENCE, meet(name, address, &client)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(cause)) => met = cause,
            Err(_) => met = format!("{address} does not answer"),
        }
    }
    Err(met)
}

pub(super) async fn addresses_of(name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    match timeout(PATIENCE, tokio::net::lookup_host((name, port))).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(_)) => Err("its name is not in the DNS".to_owned()),
        Err(_) => Err("the DNS does not answer".to_owned()),
    }
}

async fn meet(name: &str, address: SocketAddr, client: &TlsConnector) -> Result<(), String> {
    let stream = TcpStream::connect(address).await.map_err(|error| format!("{address}: {error}"))?;
    let server = ServerName::try_from(name.to_owned()).map_err(|_| "it is no DNS name".to_owned())?;
    match client.connect(server, stream).await {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("another server answers at {address}")),
    }
}

/// Builds a client for the self-check protocol that accepts only `certificate`.
fn client(certificate: CertificateDer<'static>) -> Result<TlsConnector, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OneCertificate { certificate, provider }))
        .with_no_client_auth();
    config.alpn_protocols = vec![Protocol::SelfCheck.name().to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Accepts exactly one certificate, with proof of its private key.
#[derive(Debug)]
struct OneCertificate {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OneCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
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
