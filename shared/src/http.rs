//! HTTP over TLS that authenticates the server before it sends anything.
//!
//! Builds the TLS client configurations and HTTP clients of both programs.

mod authorities;
mod body;
mod client;
mod failure;
mod no_proxy;
mod proxies;
#[cfg(feature = "blocking")]
mod resolver;
mod verifier;

use std::time::Duration;

use rustls::pki_types::CertificateDer;

use crate::pin::Pin;

pub use authorities::{NoAuthorities, authorities_from_pem, is_authority, others_in_pem};
pub use body::read_body;
#[cfg(feature = "blocking")]
pub use body::read_body_blocking;
pub use client::{async_client, client_config, resolving_client};
#[cfg(feature = "blocking")]
pub use client::{blocking_client, blocking_client_with};
pub use failure::{closed_in_handshake, nothing_was_sent, untrusted};
pub use no_proxy::NoProxy;
pub use proxies::{Proxies, Proxy, ProxyError, Route};

/// Which servers a client accepts. Verification cannot be turned off.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Servers with a certificate from one of the operating system's root CAs.
    System,
    /// Servers with a certificate from one of these CAs only.
    Authorities(Vec<CertificateDer<'static>>),
    /// Servers with a certificate from the CA with this public key only. The server must send that CA in its chain.
    /// With `authorities`, the chain must also lead to one of those.
    Pinned { pin: Pin, authorities: Option<Vec<CertificateDer<'static>>> },
    /// A server that holds the key of exactly this certificate, whatever its names and dates.
    Certificate(CertificateDer<'static>),
}

/// Timeouts of a client.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connect: Duration,
    /// From the start of the request to the last byte of the response.
    pub total: Duration,
}

/// Whether requests may use a proxy. The server is authenticated the same way in both cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Direct,
    /// Through the proxy from the environment, if it names one.
    Proxy,
}

/// Key exchange groups that a command-line client offers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeyExchange {
    /// X25519MLKEM768 first: resistant to quantum computers, but its ClientHello needs more than one packet.
    #[default]
    Hybrid,
    /// Without X25519MLKEM768, for middleboxes that reset connections whose ClientHello spans several packets.
    Classical,
}

/// Why a server's certificate was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    #[error("its certification authority has the fingerprint {received}, expected {expected}")]
    OtherPin { expected: Pin, received: Pin },
    #[error("it sent no certification authority")]
    NoAuthoritySent,
    #[error("its certificate is for another name")]
    WrongName,
    #[error("its certificate, or that of its authority, has expired")]
    Expired,
    #[error("its certificate, or that of its authority, is not valid yet")]
    NotYetValid,
    #[error("its certificate was issued by an authority that is not trusted here")]
    UnknownAuthority,
    #[error(
        "its certificate is not acceptable for a server: it is self-signed, or issued for another purpose"
    )]
    Unacceptable,
    #[error("it does not use TLS, so it cannot prove its identity")]
    NoTLS,
}

/// Why a client cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoClient {
    #[error("cannot use the operating system's certification authorities: {0}")]
    SystemAuthorities(String),
    #[error("cannot use a certification authority: {0}")]
    Authority(String),
}

/// Why a response body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("it is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
    #[error(transparent)]
    Interrupted(std::io::Error),
}

/// Pin of a certificate's public key: the SHA-256 of its SubjectPublicKeyInfo. Returns `None` if the certificate cannot
/// be parsed.
pub fn pin_of_certificate(certificate: &CertificateDer<'_>) -> Option<Pin> {
    let (rest, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    rest.is_empty().then(|| Pin::of_public_key(parsed.public_key().raw))
}

#[cfg(test)]
mod tests;
