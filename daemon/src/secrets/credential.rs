//! Files that a platform mounts for the programs in it, such as the token of a service account.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::ReadError;

/// Reads a small text file as it is now. It may be a link, and others may read it: Kubernetes mounts both so, and
/// replaces what is behind the link when the token rotates.
pub(super) fn read_mounted(path: &Path, limit: usize) -> Result<SecretString, ReadError> {
    let name = path.display();
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => ReadError::NotFound(format!("{name} is not there")),
        std::io::ErrorKind::PermissionDenied => ReadError::NotAllowed(format!("{name}: {error}")),
        _ => ReadError::Unreachable(format!("{name}: {error}")),
    };
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    // Its whole size at once: a buffer that grows leaves copies behind.
    let mut contents = Zeroizing::new(Vec::with_capacity(limit.saturating_add(1)));
    File::open(path).map_err(failed)?.take(most).read_to_end(&mut contents).map_err(failed)?;
    if contents.len() > limit {
        return Err(ReadError::Malformed(format!("{name} is larger than {limit} bytes")));
    }
    let text =
        std::str::from_utf8(&contents).map_err(|_| ReadError::Malformed(format!("{name} is not text")))?;
    Ok(text.trim_end().into())
}
