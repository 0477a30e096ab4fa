//! HTTP over TLS whose peer is proven before anything is sent.
//!
//! One place builds TLS client configurations and HTTP clients for both programs.

mod body;
mod client;
mod failure;
mod no_proxy;
mod proxies;
mod verifier;

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::pin::Pin;

pub use body::read_body;
#[cfg(feature = "blocking")]
pub use body::read_body_blocking;
#[cfg(feature = "blocking")]
pub use client::blocking_client;
pub use client::{async_client, client_config};
pub use failure::{nothing_was_sent, untrusted};
pub use no_proxy::NoProxy;
pub use proxies::{Proxies, Proxy, ProxyError, Route};

/// Whom a client accepts at the other end. There is no way to accept anybody.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Whoever the operating system's roots vouch for.
    System,
    /// Whoever these certification authorities vouch for, and nobody else.
    Authorities(Vec<CertificateDer<'static>>),
    /// The authority with this public key, sent in the chain and matched inside the handshake, and nobody else. With
    /// `authorities`, the chain must lead to one of those as well.
    Pinned { pin: Pin, authorities: Option<Vec<CertificateDer<'static>>> },
}

/// How long a client waits.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connect: Duration,
    /// From the start of the request to the last byte of the answer.
    pub total: Duration,
}

/// How the peer is reached. Whom a client accepts is the same either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Direct,
    /// Through the proxy that the environment names, where it names one.
    Proxy,
}

/// Why a peer was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    #[error("its certification authority has the fingerprint {received}")]
    OtherPin { received: Pin },
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
        "its certificate cannot be accepted as a server's: one that signed itself is not, nor one that is for something else"
    )]
    Unacceptable,
    #[error("it does not speak TLS, so it cannot prove who it is")]
    NoTLS,
}

/// Why no client can be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoClient {
    #[error("the operating system's certification authorities cannot be used: {0}")]
    SystemAuthorities(String),
    #[error("a certification authority cannot be used: {0}")]
    Authority(String),
}

/// Why an answer's body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("it is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
    #[error(transparent)]
    Interrupted(std::io::Error),
}

/// Why a text holds no certification authorities.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it holds no certificate in PEM form")]
pub struct NoAuthorities;

/// The certificates in a PEM text.
pub fn authorities_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, NoAuthorities> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| NoAuthorities)?;
    let all_are_certificates =
        certificates.iter().all(|certificate| pin_of_certificate(certificate).is_some());
    if certificates.is_empty() || !all_are_certificates { Err(NoAuthorities) } else { Ok(certificates) }
}

/// The pin of the key that a certificate certifies: the SHA-256 of its SubjectPublicKeyInfo. `None` when it is not one.
pub fn pin_of_certificate(certificate: &CertificateDer<'_>) -> Option<Pin> {
    let (rest, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    rest.is_empty().then(|| Pin::of_public_key(parsed.public_key().raw))
}

#[cfg(test)]
mod tests;
