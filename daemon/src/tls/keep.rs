//! Keeps the authority and the leaf in the store, their keys sealed.

use super::TlsError;
use super::issue::{Authority, Leaf};
use crate::keys::{FieldSealer, Place};
use crate::store::{CertificateRow, Store};

const AUTHORITY: &str = "ca";
const LEAF: &str = "leaf";

pub(super) fn find_authority(store: &Store, sealer: &FieldSealer) -> Result<Option<Authority>, TlsError> {
    let Some(row) = store.find_certificate(AUTHORITY)? else { return Ok(None) };
    let key =
        sealer.open(place(AUTHORITY), &row.private_key).map_err(|_| TlsError::KeyDoesNotOpen(AUTHORITY))?;
    Authority::load(row.certificate, &key).map(Some).map_err(|_| TlsError::Unreadable(AUTHORITY))
}

pub(super) async fn save_authority(
    store: &Store,
    sealer: &FieldSealer,
    authority: &Authority,
) -> Result<(), TlsError> {
    let private_key = sealer.seal(place(AUTHORITY), &authority.private_key());
    let certificate = authority.certificate().to_vec();
    Ok(store.save_certificate(CertificateRow { name: AUTHORITY, certificate, private_key }).await?)
}

pub(super) fn find_leaf(store: &Store, sealer: &FieldSealer) -> Result<Option<Leaf>, TlsError> {
    let Some(row) = store.find_certificate(LEAF)? else { return Ok(None) };
    let key = sealer.open(place(LEAF), &row.private_key).map_err(|_| TlsError::KeyDoesNotOpen(LEAF))?;
    Leaf::load(row.certificate, key).map(Some)
}

pub(super) async fn save_leaf(store: &Store, sealer: &FieldSealer, leaf: &Leaf) -> Result<(), TlsError> {
    let private_key = sealer.seal(place(LEAF), leaf.private_key_bytes());
    let certificate = leaf.certificate().to_vec();
    Ok(store.save_certificate(CertificateRow { name: LEAF, certificate, private_key }).await?)
}

fn place(row: &'static str) -> Place<'static> {
    Place { table: "certificates", row, column: "private_key", version: 1 }
}
