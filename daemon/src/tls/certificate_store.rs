//! Stores CAs, the leaf and the chain by ACME, with sealed keys.

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::TlsError;
use super::issue::{Authority, Leaf};
use crate::keys::{FieldSealer, Place};
use crate::store::{AUTHORITY, AuthorityRows, CertificateRow, Job, Lease, NEXT_AUTHORITY, Store};

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
    /// The CA, if there is one yet, and the next one.
    pub(super) async fn authorities(&self) -> Result<(Option<Authority>, Option<Next>), TlsError> {
        let AuthorityRows { current, next } = self.store.find_authorities().await?;
        let authority = current.map(|row| self.open_authority(AUTHORITY, &row)).transpose()?;
        let next = next.map(|(row, takeover_at)| {
            let authority = self.open_authority(NEXT_AUTHORITY, &row)?;
            Ok::<_, TlsError>(Next { authority, takeover_at })
        });
        Ok((authority, next.transpose()?))
    }

    pub(super) fn authority_rows(&self, authority: &Authority, next: Option<&Next>) -> AuthorityRows {
        AuthorityRows {
            current: Some(self.authority_row(AUTHORITY, authority)),
            next: next.map(|next| (self.authority_row(NEXT_AUTHORITY, &next.authority), next.takeover_at)),
        }
    }

    /// Replaces the CA, the next one and, if there is another, the leaf.
    pub(super) async fn save_authorities(
        &self,
        rows: AuthorityRows,
        leaf: Option<&Leaf>,
        lease: &Lease,
    ) -> Result<(), TlsError> {
        let leaf = leaf.filter(|_| !self.store.is_shared()).map(|leaf| self.leaf_row(leaf));
        Ok(self.store.save_authorities(rows, leaf, lease).await?)
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

    fn open_authority(&self, name: &'static str, row: &CertificateRow) -> Result<Authority, TlsError> {
        let key = self.open(name, name, row)?;
        Authority::load(row.certificate.clone(), &key).map_err(|_| TlsError::Unreadable(name))
    }

    /// Loads the row `name`. Errors call it `what`.
    async fn find(&self, name: &str, what: &'static str) -> Result<Option<CertificateAndKey>, TlsError> {
        let Some(row) = self.store.find_certificate(name).await? else { return Ok(None) };
        let key = self.open(name, what, &row)?;
        Ok(Some((row.certificate, key)))
    }

    fn open(
        &self,
        name: &str,
        what: &'static str,
        row: &CertificateRow,
    ) -> Result<Zeroizing<Vec<u8>>, TlsError> {
        self.sealer.open(place(name), &row.private_key).map_err(|_| TlsError::KeyDecryption(what))
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
