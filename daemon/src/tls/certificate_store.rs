//! Stores CAs, the leaf and the chain by ACME, with sealed keys.

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::TlsError;
use super::issue::{Authority, Leaf};
use crate::keys::{FieldSealer, Place};
use crate::store::{CertificateRow, Job, Lease, Store};

const AUTHORITY: &str = "ca";
const NEXT_AUTHORITY: &str = "next ca";
const LEAF: &str = "leaf";
const ACME: &str = "ACME";

/// The store and the sealer of the keys in it.
#[derive(Clone)]
pub(super) struct CertificateStore {
    pub(super) store: Store,
    pub(super) sealer: FieldSealer,
}

/// A CA that was announced and has not taken over.
pub(super) struct Next {
    pub(super) authority: Authority,
    pub(super) takeover_at: Timestamp,
}

type CertificateAndKey = (Vec<u8>, Zeroizing<Vec<u8>>);
/// PEM and PKCS #8.
type ChainAndKey = (String, Zeroizing<Vec<u8>>);

impl CertificateStore {
    pub(super) async fn authority(&self) -> Result<Option<Authority>, TlsError> {
        self.find_authority(AUTHORITY).await
    }

    pub(super) async fn next(&self) -> Result<Option<Next>, TlsError> {
        let Some(takeover_at) = self.store.find_takeover().await? else { return Ok(None) };
        Ok(self.find_authority(NEXT_AUTHORITY).await?.map(|authority| Next { authority, takeover_at }))
    }

    pub(super) async fn save_authority(&self, authority: &Authority, lease: &Lease) -> Result<(), TlsError> {
        Ok(self.store.save_certificate(self.authority_row(AUTHORITY, authority), lease).await?)
    }

    pub(super) async fn save_next(
        &self,
        authority: &Authority,
        takeover_at: Timestamp,
        lease: &Lease,
    ) -> Result<(), TlsError> {
        let row = self.authority_row(NEXT_AUTHORITY, authority);
        Ok(self.store.save_next_authority(row, takeover_at, lease).await?)
    }

    /// Replaces CA and leaf, and deletes the announced CA.
    pub(super) async fn replace_authority(
        &self,
        authority: &Authority,
        leaf: &Leaf,
        lease: &Lease,
    ) -> Result<(), TlsError> {
        let authority = self.authority_row(AUTHORITY, authority);
        let leaf = (!self.store.is_shared()).then(|| self.leaf_row(leaf));
        Ok(self.store.replace_authority(authority, leaf, NEXT_AUTHORITY, lease).await?)
    }

    pub(super) async fn leaf(&self) -> Result<Option<Leaf>, TlsError> {
        let Some((certificate, key)) = self.find(LEAF, LEAF).await? else { return Ok(None) };
        Leaf::load(certificate, key).map(Some)
    }

    /// Stores the leaf before it is used, so that a restart continues with it. Each member of a shared store has a leaf of
    /// its own, for its own names, in memory only.
    pub(super) async fn save_leaf(&self, leaf: &Leaf) -> Result<(), TlsError> {
        if self.store.is_shared() {
            return Ok(());
        }
        let lease = self.store.expect_lease(Job::Authority).await?;
        self.store.save_certificate(self.leaf_row(leaf), &lease).await?;
        self.store.end_lease(lease).await;
        Ok(())
    }

    /// Loads the ACME certificate issued by `directory`: the chain in PEM and the key in PKCS #8.
    pub(super) async fn acme(&self, directory: &str) -> Result<Option<ChainAndKey>, TlsError> {
        let Some((pem, key)) = self.find(&acme_row(directory), ACME).await? else { return Ok(None) };
        let pem = String::from_utf8(pem).map_err(|_| TlsError::Unreadable(ACME))?;
        Ok(Some((pem, key)))
    }

    pub(super) async fn save_acme(
        &self,
        directory: &str,
        pem: String,
        key: &[u8],
        lease: &Lease,
    ) -> Result<(), TlsError> {
        let name = acme_row(directory);
        let private_key = self.sealer.seal(place(&name), key);
        let row = CertificateRow { name, certificate: pem.into_bytes(), private_key };
        Ok(self.store.save_certificate(row, lease).await?)
    }

    async fn find_authority(&self, name: &'static str) -> Result<Option<Authority>, TlsError> {
        let Some((certificate, key)) = self.find(name, name).await? else { return Ok(None) };
        Authority::load(certificate, &key).map(Some).map_err(|_| TlsError::Unreadable(name))
    }

    /// Loads the row `name`. Errors call it `what`.
    async fn find(&self, name: &str, what: &'static str) -> Result<Option<CertificateAndKey>, TlsError> {
        let Some(row) = self.store.find_certificate(name).await? else { return Ok(None) };
        let key =
            self.sealer.open(place(name), &row.private_key).map_err(|_| TlsError::KeyDecryption(what))?;
        Ok(Some((row.certificate, key)))
    }

    fn authority_row(&self, name: &'static str, authority: &Authority) -> CertificateRow {
        let private_key = self.sealer.seal(place(name), &authority.private_key());
        CertificateRow { name: name.to_owned(), certificate: authority.certificate().to_vec(), private_key }
    }

    fn leaf_row(&self, leaf: &Leaf) -> CertificateRow {
        let private_key = self.sealer.seal(place(LEAF), leaf.private_key_bytes());
        CertificateRow { name: LEAF.to_owned(), certificate: leaf.certificate().to_vec(), private_key }
    }
}

/// Each directory has its own row, so that a certificate from a test authority is never served as a trusted one.
fn acme_row(directory: &str) -> String {
    format!("acme {directory}")
}

fn place(row: &str) -> Place<'_> {
    Place { table: "certificates", row, column: "private_key", version: 1 }
}
