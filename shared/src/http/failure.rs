//! Classifies failed HTTP requests.

use std::error::Error;
use std::io;

use rustls::CertificateError;

use super::Untrusted;

/// Returns why the server's certificate was rejected, if that caused `error`.
pub fn untrusted(error: &(dyn Error + 'static)) -> Option<Untrusted> {
    let mut next = Some(error);
    while let Some(current) = next {
        match current.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(reason)) => return Some(meaning(reason)),
            Some(rustls::Error::NoCertificatesPresented) => return Some(Untrusted::NoAuthoritySent),
            Some(rustls::Error::InvalidMessage(_)) => return Some(Untrusted::NoTLS),
            _ => {}
        }
        // An I/O error wraps its cause, and `source` skips one level.
        next = match current.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => current.source(),
        };
    }
    None
}

fn meaning(reason: &CertificateError) -> Untrusted {
    match reason {
        CertificateError::Other(other) => {
            other.0.downcast_ref::<Untrusted>().cloned().unwrap_or(Untrusted::Unacceptable)
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Untrusted::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Untrusted::NotYetValid,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Untrusted::WrongName
        }
        // A bad signature means another CA with the same name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Untrusted::UnknownAuthority,
        _ => Untrusted::Unacceptable,
    }
}

/// Whether the server or a middlebox closed the connection during the handshake.
#[must_use]
pub fn closed_in_handshake(error: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn Error + 'static)> =
        Some(error).filter(|error| error.is_connect()).map(|error| error as _);
    while let Some(current) = next {
        let kind = current.downcast_ref::<io::Error>().map(io::Error::kind);
        // A refused connection has a different kind.
        if matches!(
            kind,
            Some(io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe)
        ) {
            return true;
        }
        next = match current.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => current.source(),
        };
    }
    false
}

/// Whether `error` happened before any byte of the request was sent, so that a retry cannot repeat its effect.
pub fn nothing_was_sent(error: &reqwest::Error) -> bool {
    error.is_connect()
}
