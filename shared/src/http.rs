//! HTTP over TLS whose peer is proven before anything is sent.
//!
//! One place builds TLS client configurations and HTTP clients for both programs.

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

/// How a client of the command line agrees on keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KeyExchange {
    /// X25519MLKEM768 first: safe against quantum computers, in a first message of more than one packet.
    #[default]
    Hybrid,
    /// Without it: for middleboxes that reset connections with a first message of more than one packet.
    Classical,
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

/// The pin of the key that a certificate certifies: the SHA-256 of its SubjectPublicKeyInfo. `None` when it is not one.
pub fn pin_of_certificate(certificate: &CertificateDer<'_>) -> Option<Pin> {
    let (rest, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    rest.is_empty().then(|| Pin::of_public_key(parsed.public_key().raw))
}

#[cfg(test)]
mod tests;
