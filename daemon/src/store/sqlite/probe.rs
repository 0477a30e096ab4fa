//! Tests by writing that the store can be written.

use infra_shared::random;

use crate::store::{Store, StoreError};

/// 64 KiB, more than a login writes: if the probe fits, the next login does too.
const PARTS: usize = 256;

impl Store {
    /// Writes a probe and waits until it is durable. Only a successful probe clears a failed write, because small
    /// transactions may fit on a disk that a login would fill.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let writes = self.connections.writes.clone();
        // Random, so that the file system cannot compress it away.
        let contents = random_bytes();
        self.connections
            .write_then(
                move |transaction| {
                    transaction
                        .prepare_cached("UPDATE write_probe SET contents = ?1")?
                        .execute([contents])?;
                    Ok(())
                },
                |()| (),
                move |()| writes.succeeded(),
            )
            .await
    }
}

fn random_bytes() -> Vec<u8> {
    (0..PARTS).flat_map(|_| random::bytes::<256>()).collect()
}
