//! Reads files that a platform mounts for its programs, such as a service account token.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use secrecy::SecretString;

use super::{ReadError, Stored, value};
use crate::platform::blocking;

/// Reads the current token from the file at `path`.
pub(super) async fn read_token(path: &Path, limit: usize) -> Result<SecretString, ReadError> {
    let stored = read_mounted(path, limit).await?;
    value::secret(&stored, &path.display()).map_err(|error| match error {
        ReadError::Malformed(cause) => ReadError::Credential(cause),
        error => error,
    })
}

/// Reads a small file. It may be a link and readable by other users, as Kubernetes mounts are. A new token appears by
/// switching the link.
pub(super) async fn read_mounted(path: &Path, limit: usize) -> Result<Stored, ReadError> {
    let path = path.to_owned();
    // A mount may hang: the caller's timeout ends the wait.
    blocking(move || read_now(&path, limit)).await
}

fn read_now(path: &Path, limit: usize) -> Result<Stored, ReadError> {
    let name = path.display();
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => ReadError::Credential(format!("{name} does not exist")),
        ErrorKind::PermissionDenied => ReadError::Credential(format!("cannot read {name}: {error}")),
        _ => ReadError::Unreachable(format!("cannot read {name}: {error}")),
    };
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    // Allocate for the whole file: a growing buffer would leave copies of the secret behind.
    let mut contents = Stored::new(Vec::with_capacity(limit.saturating_add(1)));
    File::open(path).map_err(failed)?.take(most).read_to_end(&mut contents).map_err(failed)?;
    if contents.len() > limit {
        return Err(ReadError::Credential(format!("{name} is larger than {limit} bytes")));
    }
    Ok(contents)
}
