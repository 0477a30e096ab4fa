//! Keeps the daemon's memory, and the keys in it, from being written to a swap file.

use std::io;

/// Locks all memory that the process has and will have, as far as it comes into use; `false` where the limit on locked
/// memory (`RLIMIT_MEMLOCK`) is too low for a daemon to grow under, so that nothing was locked.
#[cfg(target_os = "linux")]
pub fn lock_memory() -> io::Result<bool> {
    use rustix::mm::{MlockAllFlags, mlockall};
    use rustix::process::{Resource, getrlimit};
    use rustix::thread::{CapabilitySet, capabilities};

    let is_unlimited = getrlimit(Resource::Memlock).current.is_none();
    // Under a limit, an allocation beyond it would fail at any time.
    if !is_unlimited && !capabilities(None)?.effective.contains(CapabilitySet::IPC_LOCK) {
        return Ok(false);
    }
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)?;
    Ok(true)
}

/// Nothing is locked. Not built on other systems yet.
#[cfg(not(target_os = "linux"))]
pub fn lock_memory() -> io::Result<bool> {
    Ok(false)
}
