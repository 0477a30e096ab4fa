//! Chooses the certificate for each handshake.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::DistinguishedName;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};

use super::acme::Answer;
use super::chain::{CheckedChain, covers};
use super::issue::normal;
use super::shared_challenges::SharedChallenges;
use super::{LocalAuthority, MinimumVersion, TlsError};
use crate::store::Lease;

/// Protocols other than HTTP, whose handshake only shows a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    /// An ACME challenge (RFC 8737 §6.2).
    AcmeTls,
    /// The daemon's self-check of a name.
    SelfCheck,
}

/// The certificates in use. Replacing one does not affect live connections.
pub(super) struct Resolver {
    local: Arc<LocalAuthority>,
    /// From files or by ACME.
    chain: RwLock<Option<Arc<CheckedChain>>>,
    challenges: RwLock<HashMap<(Protocol, String), Arc<CertifiedKey>>>,
    /// Answers of other members too.
    shared_challenges: Option<SharedChallenges>,
}

/// The TLS configurations of the listener.
pub struct TlsServer {
    resolver: Arc<Resolver>,
    serving: Arc<rustls::ServerConfig>,
}

/// What a handshake is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// HTTP.
    Serve,
    /// Only to show the answer to a challenge (RFC 8737 §3).
    Challenge,
}

/// A pending challenge. It is answered until this value is dropped.
pub(super) struct PendingChallenge {
    resolver: Arc<Resolver>,
    key: (Protocol, String),
}

impl Protocol {
    pub(super) const ALL: [Self; 2] = [Self::AcmeTls, Self::SelfCheck];

    pub(super) fn name(self) -> &'static [u8] {
        match self {
            Self::AcmeTls => b"acme-tls/1",
            Self::SelfCheck => b"infrad-self-check/1",
        }
    }
}

impl Resolver {
    #[cfg(test)]
    pub(super) fn new(local: Arc<LocalAuthority>) -> Arc<Self> {
        Self::with_challenges(local, None)
    }

    pub(super) fn with_challenges(
        local: Arc<LocalAuthority>,
        shared_challenges: Option<SharedChallenges>,
    ) -> Arc<Self> {
        let (chain, challenges) = (RwLock::default(), RwLock::default());
        Arc::new(Self { local, chain, challenges, shared_challenges })
    }

    pub(super) fn chain(&self) -> Option<Arc<CheckedChain>> {
        self.chain.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn serve_chain(&self, chain: CheckedChain) {
        *self.chain.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(chain));
    }

    /// Chooses the certificate for `name`; no name means the client connected to an address.
    ///
    /// A client that lists the daemon's own CA as trusted gets that CA's leaf, so that pinned clients keep working.
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

    /// Answers `protocol` for `name` with `answer` until the returned value is dropped. Other members answer too, when this
    /// returns.
    pub(super) async fn answer(
        self: &Arc<Self>,
        protocol: Protocol,
        name: &str,
        answer: &Answer,
        lease: &Lease,
    ) -> Result<PendingChallenge, TlsError> {
        let (key, certified) = ((protocol, normal(name)), answer.certified()?);
        self.challenges.write().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), certified);
        let pending = PendingChallenge { resolver: self.clone(), key };
        if let Some(shared) = &self.shared_challenges {
            shared.publish(protocol, name, answer, lease).await?;
        }
        Ok(pending)
    }

    pub(super) async fn challenge(&self, protocol: Protocol, name: &str) -> Option<Arc<CertifiedKey>> {
        let key = (protocol, normal(name));
        let own = self.challenges.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        match (own, &self.shared_challenges) {
            (None, Some(shared)) => shared.find(protocol, name).await,
            (own, _) => own,
        }
    }
}

impl Drop for PendingChallenge {
    fn drop(&mut self) {
        self.resolver.challenges.write().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.certificate_for(client_hello.server_name(), client_hello.certificate_authorities()))
    }
}

impl TlsServer {
    /// TLS 1.3 (and 1.2 if configured), X25519MLKEM768 first, no 0-RTT, `h2` and `http/1.1` by ALPN.
    pub(super) fn new(resolver: Arc<Resolver>, minimum: MinimumVersion) -> Result<Self, TlsError> {
        let mut serving = configuration(resolver.clone(), minimum)?;
        serving.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Its keys rotate automatically every six hours.
        serving.ticketer = aws_lc_rs::Ticketer::new()?;
        Ok(Self { resolver, serving: Arc::new(serving) })
    }

    /// The configuration for HTTP.
    #[cfg(test)]
    pub(super) fn serving(&self) -> Arc<rustls::ServerConfig> {
        self.serving.clone()
    }

    /// Chooses how to continue a handshake. Accepts `acme-tls/1` only if it is the client's only protocol and a
    /// challenge for the name is pending.
    pub async fn accept(&self, client_hello: &ClientHello<'_>) -> (Purpose, Arc<rustls::ServerConfig>) {
        let asked = client_hello.alpn().and_then(|mut protocols| {
            let only = protocols.next()?;
            let is_alone = protocols.next().is_none();
            Protocol::ALL.into_iter().find(|protocol| is_alone && protocol.name() == only)
        });
        if let (Some(protocol), Some(name)) = (asked, client_hello.server_name())
            && let Some(certificate) = self.resolver.challenge(protocol, name).await
            && let Ok(config) = challenge_configuration(protocol, &certificate)
        {
            return (Purpose::Challenge, config);
        }
        (Purpose::Serve, self.serving.clone())
    }
}

/// Shows only `certificate`.
fn challenge_configuration(
    protocol: Protocol,
    certificate: &CertifiedKey,
) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    // RFC 8737 §4: authorities may still connect with TLS 1.2.
    let resolver = Arc::new(SingleCertAndKey::from(certificate.clone()));
    let mut config = configuration(resolver, MinimumVersion::Tls12)?;
    config.alpn_protocols = vec![protocol.name().to_vec()];
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
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
