//! Keeps the daemon's memory, and the keys in it, out of swap.

use std::io;

/// Locks all present and future memory of the process as it comes into use.
///
/// Returns `false` without locking anything if the limit on locked memory (`RLIMIT_MEMLOCK`) could stop the daemon from
/// growing.
#[cfg(target_os = "linux")]
pub fn lock_memory() -> io::Result<bool> {
    use rustix::mm::{MlockAllFlags, mlockall};
    use rustix::process::{Resource, getrlimit};
    use rustix::thread::{CapabilitySet, capabilities};

    let is_unlimited = getrlimit(Resource::Memlock).current.is_none();
    // Under a limit, any allocation beyond it would fail.
    if !is_unlimited && !capabilities(None)?.effective.contains(CapabilitySet::IPC_LOCK) {
        return Ok(false);
    }
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)?;
    Ok(true)
}

/// Locks nothing. Other systems run `infrad dev` only.
#[cfg(not(target_os = "linux"))]
pub fn lock_memory() -> io::Result<bool> {
    Ok(false)
}
