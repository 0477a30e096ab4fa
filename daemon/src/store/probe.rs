//! Whether anything can be written: learnt by writing.

use infra_shared::random;

use super::{Store, StoreError};

/// 64 KiB, more than a login writes: what has room for this has room for the next login.
const PARTS: usize = 256;

impl Store {
    /// Writes, and waits until it is on the disk. A write that failed counts until this succeeds again: a transaction that
    /// wrote little, or nothing, found room where a login finds none.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let writes = self.connections.writes.clone();
        // Nothing that a file system could leave out.
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
