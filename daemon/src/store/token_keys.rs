//! The keys that sign audience tokens: one sealed row among the certificates, so that copies, backups and rotations of the
//! data key include it.

use zeroize::Zeroizing;

use super::{CertificateRow, Lease, Store, StoreError};
use crate::keys::{FieldSealer, Place};

/// The name of the row.
const TOKEN_KEYS: &str = "token keys";

const PLACE: Place<'static> =
    Place { table: "certificates", row: TOKEN_KEYS, column: "private_key", version: 1 };

impl Store {
    /// Returns the keys as they were saved; `None` before the first ones. Fails if infrad did not write the row like this.
    pub async fn find_token_keys(
        &self,
        sealer: &FieldSealer,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let Some(row) = self.find_certificate(TOKEN_KEYS).await? else { return Ok(None) };
        let opened = sealer.open(PLACE, &row.private_key);
        opened.map(Some).map_err(|_| StoreError::UnexpectedRow(TOKEN_KEYS))
    }

    /// Stores the keys, replacing those of before.
    pub async fn save_token_keys(
        &self,
        keys: &[u8],
        sealer: &FieldSealer,
        lease: &Lease,
    ) -> Result<(), StoreError> {
        let private_key = sealer.seal(PLACE, keys);
        let row = CertificateRow { name: TOKEN_KEYS.to_owned(), certificate: Vec::new(), private_key };
        self.save_certificate(row, lease).await
    }
}
