//! Checks that a name resolves to this daemon or another member, by connecting to it and recognising its mark. The
//! daemon does not order a certificate for a name that fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use infra_shared::http::{Trust, client_config};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::challenge;
use crate::store::Lease;
use crate::tls::resolver::{Protocol, Resolver};

/// The timeout for the DNS look-up and for each address.
const PATIENCE: Duration = Duration::from_secs(5);
/// A real name has few addresses.
const MOST_ADDRESSES: usize = 8;

/// Connects to `name` as the authority will. An error describes what it found instead.
pub(super) async fn leads_here(
    name: &str,
    port: u16,
    resolver: &Arc<Resolver>,
    lease: &Lease,
) -> Result<(), String> {
    let mark = challenge::mark(name).map_err(|error| error.to_string())?;
    let _answering =
        resolver.answer(Protocol::SelfCheck, name, &mark, lease).await.map_err(|error| error.to_string())?;
    let client = client(mark.certificate().clone())?;
    let mut met = "the name has no address".to_owned();
    for address in addresses_of(name, port).await?.into_iter().take(MOST_ADDRESSES) {
        match timeout(PATIENCE, connect_to(name, address, &client)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(cause)) => met = cause,
            Err(_) => met = format!("{address} does not respond"),
        }
    }
    Err(met)
}

pub(super) async fn addresses_of(name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    match timeout(PATIENCE, tokio::net::lookup_host((name, port))).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(_)) => Err("the name is not in the DNS".to_owned()),
        Err(_) => Err("the DNS does not respond".to_owned()),
    }
}

async fn connect_to(name: &str, address: SocketAddr, client: &TlsConnector) -> Result<(), String> {
    let stream = TcpStream::connect(address).await.map_err(|error| format!("{address}: {error}"))?;
    let server = ServerName::try_from(name.to_owned()).map_err(|_| "this is not a DNS name".to_owned())?;
    match client.connect(server, stream).await {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("another server responds at {address}")),
    }
}

/// Builds a client for the self-check protocol that accepts only `certificate`.
fn client(certificate: CertificateDer<'static>) -> Result<TlsConnector, String> {
    let trust = Trust::Certificate(certificate);
    let mut config = client_config(&trust, false).map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![Protocol::SelfCheck.name().to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
