//! Classifies failed HTTP requests.

use std::error::Error;
use std::io;
use std::iter::successors;

use rustls::CertificateError;

use super::Untrusted;

/// Returns `error` and its causes. An I/O error wraps its cause, and `source` would skip it.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |&cause| match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => cause.source(),
    })
}

/// Returns why the server's certificate was rejected, if that caused `error`.
pub fn untrusted(error: &(dyn Error + 'static)) -> Option<Untrusted> {
    causes(error).find_map(|cause| match cause.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(reason) => Some(meaning(reason)),
        rustls::Error::NoCertificatesPresented => Some(Untrusted::NoAuthoritySent),
        rustls::Error::InvalidMessage(_) => Some(Untrusted::NoTLS),
        _ => None,
    })
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
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};

    // A refused connection has a different kind.
    let is_closed = |cause: &io::Error| matches!(cause.kind(), ConnectionReset | UnexpectedEof | BrokenPipe);
    error.is_connect() && causes(error).filter_map(|cause| cause.downcast_ref()).any(is_closed)
}

/// Whether `error` happened before any byte of the request was sent, so that a retry cannot repeat its effect.
pub fn nothing_was_sent(error: &reqwest::Error) -> bool {
    error.is_connect()
}
