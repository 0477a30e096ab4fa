//! The daemon's certificates with their sealed private keys.

use data_encoding::HEXLOWER;
use infra_shared::digest::sha256;
use jiff::Timestamp;

use super::engine::await_engine;
use super::{Lease, Store, StoreError};
use crate::keys::Sealed;

/// A certificate with its sealed private key.
pub struct CertificateRow {
    pub name: String,
    /// DER for one certificate, PEM for a chain.
    pub certificate: Vec<u8>,
    pub private_key: Sealed,
}

/// Identifies the stored certificates and the announcement. Every change gives another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificatesVersion(pub(super) Vec<u8>);

/// The sequence number of a changed announcement: higher than `before` and at least the current time in seconds. A
/// store restored from a backup therefore does not reuse a number.
pub(super) fn next_sequence(before: i64, now: Timestamp) -> i64 {
    before.saturating_add(1).max(now.as_second())
}

/// What is stored of an announcement: its SHA-256, or nothing if there is nothing to announce, which has no number.
pub(super) fn announcement_hash(announced: &str) -> String {
    if announced.is_empty() { String::new() } else { HEXLOWER.encode(&sha256(&[announced.as_bytes()])) }
}

impl Store {
    pub async fn find_certificate(&self, name: &str) -> Result<Option<CertificateRow>, StoreError> {
        await_engine!(self, engine => engine.find_certificate(name))
    }

    /// Stores a certificate, replacing one with the same name.
    pub async fn save_certificate(&self, row: CertificateRow, lease: &Lease) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.save_certificate(row, lease))
    }

    /// Returns when the next CA takes over; `None` if no rollover is announced.
    pub async fn find_takeover(&self) -> Result<Option<Timestamp>, StoreError> {
        await_engine!(self, engine => engine.find_takeover())
    }

    /// Lets a member notice what another one changed. `None` if this process alone can change certificates.
    pub async fn certificates_version(&self) -> Result<Option<CertificatesVersion>, StoreError> {
        await_engine!(self, engine => engine.certificates_version())
    }

    /// Returns the sequence number of `announced` if it is the last announcement.
    pub async fn find_announcement_number(&self, announced: &str) -> Result<Option<u64>, StoreError> {
        await_engine!(self, engine => engine.find_announcement_number(announced))
    }

    /// Returns the sequence number of an announcement; 0 until the first one. A changed announcement gets a higher one.
    pub async fn number_announcement(&self, announced: String, now: Timestamp) -> Result<u64, StoreError> {
        await_engine!(self, engine => engine.number_announcement(announced, now))
    }

    /// Stores the next CA and when it takes over, replacing one announced before.
    pub async fn save_next_authority(
        &self,
        next: CertificateRow,
        takeover_at: Timestamp,
        lease: &Lease,
    ) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.save_next_authority(next, takeover_at, lease))
    }

    /// Replaces the CA and its leaf certificate in one transaction, and deletes `next`. Members of a shared store have
    /// leaf certificates of their own.
    pub async fn replace_authority(
        &self,
        authority: CertificateRow,
        leaf: Option<CertificateRow>,
        next: &'static str,
        lease: &Lease,
    ) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.replace_authority(authority, leaf, next, lease))
    }
}
