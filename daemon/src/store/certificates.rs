//! The daemon's certificates with their sealed private keys.

use data_encoding::HEXLOWER;
use infra_shared::digest::sha256;
use jiff::Timestamp;

use super::engine::{Engine, await_engine};
use super::{Job, Lease, Store, StoreError};
use crate::keys::Sealed;

/// A certificate with its sealed private key.
pub struct CertificateRow {
    pub name: String,
    /// DER for one certificate, PEM for a chain.
    pub certificate: Vec<u8>,
    pub private_key: Sealed,
}

/// The name of the CA, and that of the next one.
pub const AUTHORITY: &str = "ca";
pub const NEXT_AUTHORITY: &str = "next ca";

/// The CA, and the next one with the time when it takes over. They change together.
#[derive(Default)]
pub struct AuthorityRows {
    /// `None` until the first start.
    pub current: Option<CertificateRow>,
    pub next: Option<(CertificateRow, Timestamp)>,
}

/// Identifies the stored certificates and the announcement. Every change gives another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificatesVersion(pub(super) Vec<u8>);

/// The sequence number of a changed announcement: higher than `before` and at least the current time in seconds. A
/// store restored from a backup therefore does not reuse a number.
pub(super) fn next_sequence(before: i64, now: Timestamp) -> i64 {
    before.saturating_add(1).max(now.as_second())
}

/// Whether infrad can have given this number until `now`. Clients that saw a higher one would ignore all later announcements.
pub(super) fn is_plausible_sequence(sequence: i64, now: Timestamp) -> bool {
    const MOST_AHEAD: i64 = 24 * 60 * 60;
    sequence <= now.as_second().saturating_add(MOST_AHEAD)
}

/// What is stored of an announcement: its SHA-256, or nothing if there is nothing to announce, which has no number.
pub(super) fn announcement_hash(announced: &str) -> String {
    if announced.is_empty() { String::new() } else { HEXLOWER.encode(&sha256(&[announced.as_bytes()])) }
}

impl Store {
    pub async fn find_certificate(&self, name: &str) -> Result<Option<CertificateRow>, StoreError> {
        await_engine!(self, engine => engine.find_certificate(name))
    }

    /// Stores the CAs again that this member has seen, if a shared store has lost them or has earlier ones.
    pub async fn put_back_authorities(&self, lease: &Lease) -> Result<(), StoreError> {
        let Engine::Postgres(engine) = &self.engine else { return Ok(()) };
        engine.put_back_authorities(lease).await
    }

    /// Lets the next start create a CA, if a shared store has lost its own. Returns whether it has.
    pub async fn allow_new_authority(&self) -> Result<bool, StoreError> {
        let Engine::Postgres(engine) = &self.engine else { return Ok(false) };
        let lease = self.expect_lease(Job::Authority).await?;
        let allowed = engine.allow_new_authority(&lease).await;
        self.end_lease(lease).await;
        allowed
    }

    /// Stores a certificate, replacing one with the same name.
    pub async fn save_certificate(&self, row: CertificateRow, lease: &Lease) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.save_certificate(row, lease))
    }

    /// Returns the CA and the next one. Fails if a shared store has lost them, or has earlier ones than this member has seen.
    pub async fn find_authorities(&self) -> Result<AuthorityRows, StoreError> {
        await_engine!(self, engine => engine.find_authorities())
    }

    /// Replaces the CA, the next one and the leaf certificate in one transaction. Members of a shared store have leaf
    /// certificates of their own.
    pub async fn save_authorities(
        &self,
        rows: AuthorityRows,
        leaf: Option<CertificateRow>,
        lease: &Lease,
    ) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.save_authorities(rows, leaf, lease))
    }

    /// Lets a member notice what another one changed. `None` if this process alone can change certificates.
    pub async fn certificates_version(&self) -> Result<Option<CertificatesVersion>, StoreError> {
        await_engine!(self, engine => engine.certificates_version())
    }

    /// Returns the sequence number of `announced` if it is the last announcement, and the number is plausible.
    pub async fn find_announcement_number(
        &self,
        announced: &str,
        now: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        let found = await_engine!(self, engine => engine.find_announcement_number(announced))?;
        let is_plausible =
            |number: &u64| i64::try_from(*number).is_ok_and(|it| is_plausible_sequence(it, now));
        Ok(found.filter(is_plausible))
    }

    /// Returns the sequence number of an announcement; 0 until the first one. A changed announcement gets a higher one.
    pub async fn number_announcement(&self, announced: String, now: Timestamp) -> Result<u64, StoreError> {
        await_engine!(self, engine => engine.number_announcement(announced, now))
    }
}
