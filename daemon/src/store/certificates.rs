//! The daemon's certificates with their sealed private keys.

use jiff::Timestamp;

use crate::keys::Sealed;

/// A certificate with its sealed private key.
pub struct CertificateRow {
    pub name: String,
    /// DER for one certificate, PEM for a chain.
    pub certificate: Vec<u8>,
    pub private_key: Sealed,
}

/// The sequence number of a changed announcement: higher than `before` and at least the current time in seconds. A
/// store restored from a backup therefore does not reuse a number.
pub(super) fn next_sequence(before: i64, now: Timestamp) -> i64 {
    before.saturating_add(1).max(now.as_second())
}
