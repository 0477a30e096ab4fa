//! Which certificate answers which handshake.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::DistinguishedName;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use super::chain::{CheckedChain, covers};
use super::issue::normal;
use super::{LocalAuthority, MinimumVersion, TlsError};

/// RFC 8737 §6.2.
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

/// The certificates in use, by server name. Each can be replaced without touching live connections.
pub(super) struct Resolver {
    local: Arc<LocalAuthority>,
    /// From files or by ACME.
    chain: RwLock<Option<Arc<CheckedChain>>>,
    /// By name, while an authority may ask.
    challenges: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

/// What the listener speaks TLS with.
pub struct TlsServer {
    resolver: Arc<Resolver>,
    serving: Arc<rustls::ServerConfig>,
    challenge: Arc<rustls::ServerConfig>,
}

/// What a client wants of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To speak HTTP.
    Serve,
    /// To see the answer to a challenge, and no more (RFC 8737 §3).
    Challenge,
}

/// A pending challenge: answered as long as this is kept.
pub(super) struct PendingChallenge {
    resolver: Arc<Resolver>,
    name: String,
}

impl Resolver {
    pub(super) fn new(local: Arc<LocalAuthority>) -> Arc<Self> {
        Arc::new(Self { local, chain: RwLock::default(), challenges: RwLock::default() })
    }

    pub(super) fn chain(&self) -> Option<Arc<CheckedChain>> {
        self.chain.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn serve_chain(&self, chain: CheckedChain) {
        *self.chain.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(chain));
    }

    /// What a client that asks for `name` is shown; without a name it dialled an address. One that trusts the daemon's own
    /// authority, and says so, is shown that one's leaf: who pinned it goes on as before.
    pub(super) fn certificate_for(
        &self,
        name: Option<&str>,
        trusted: Option<&[DistinguishedName]>,
    ) -> Arc<CertifiedKey> {
        if trusted.is_some_and(|trusted| self.local.authority().is_among(trusted)) {
            return self.local.key();
        }
        let is_for = |chain: &CheckedChain| match name {
            Some(name) => covers(&chain.names, name),
            None => chain.names.iter().any(|name| name.parse::<std::net::IpAddr>().is_ok()),
        };
        match self.chain().filter(|chain| is_for(chain)) {
            Some(chain) => chain.key.clone(),
            None => self.local.key(),
        }
    }

    /// Answers challenges for `name` with `certificate` until the answer is dropped.
    pub(super) fn answer_challenge(
        self: &Arc<Self>,
        name: &str,
        certificate: Arc<CertifiedKey>,
    ) -> PendingChallenge {
        let name = normal(name);
        self.challenges.write().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), certificate);
        PendingChallenge { resolver: self.clone(), name }
    }

    fn challenge(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        self.challenges.read().unwrap_or_else(PoisonError::into_inner).get(&normal(name?)).cloned()
    }
}

impl Drop for PendingChallenge {
    fn drop(&mut self) {
        self.resolver.challenges.write().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// Shows challenges alone.
struct Challenges(Arc<Resolver>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certificate_for(client_hello.server_name(), client_hello.certificate_authorities()))
    }
}

impl ResolvesServerCert for Challenges {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.challenge(client_hello.server_name())
    }
}

impl TlsServer {
    /// TLS 1.3 (and 1.2 where asked), X25519MLKEM768 first, no 0-RTT, `h2` and `http/1.1` by ALPN.
    pub(super) fn new(resolver: Arc<Resolver>, minimum: MinimumVersion) -> Result<Self, TlsError> {
        let mut serving = configuration(resolver.clone(), minimum)?;
        serving.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Its keys change by themselves, every six hours.
        serving.ticketer = aws_lc_rs::Ticketer::new()?;
        // RFC 8737 §4: authorities may still ask with TLS 1.2.
        let mut challenge = configuration(Arc::new(Challenges(resolver.clone())), MinimumVersion::Tls12)?;
        challenge.alpn_protocols = vec![ACME_TLS.to_vec()];
        challenge.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        challenge.send_tls13_tickets = 0;
        Ok(Self { resolver, serving: Arc::new(serving), challenge: Arc::new(challenge) })
    }

    /// What it speaks HTTP over.
    #[cfg(test)]
    pub(super) fn serving(&self) -> Arc<rustls::ServerConfig> {
        self.serving.clone()
    }

    /// How to go on with a handshake. `acme-tls/1` is agreed to while a challenge for the name is pending, and with nobody
    /// who offers another protocol beside it.
    pub fn accept(&self, client_hello: &ClientHello<'_>) -> (Purpose, Arc<rustls::ServerConfig>) {
        let is_challenge = client_hello
            .alpn()
            .is_some_and(|mut protocols| protocols.next() == Some(ACME_TLS) && protocols.next().is_none());
        if is_challenge && self.resolver.challenge(client_hello.server_name()).is_some() {
            (Purpose::Challenge, self.challenge.clone())
        } else {
            (Purpose::Serve, self.serving.clone())
        }
    }
}

fn configuration(
    resolver: Arc<dyn ResolvesServerCert>,
    minimum: MinimumVersion,
) -> Result<rustls::ServerConfig, TlsError> {
    let versions: &[_] = match minimum {
        MinimumVersion::Tls13 => &[&TLS13],
        MinimumVersion::Tls12 => &[&TLS13, &TLS12],
    };
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.max_early_data_size = 0;
    Ok(config)
}

impl fmt::Debug for Resolver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl fmt::Debug for Challenges {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Challenges").finish_non_exhaustive()
    }
}
