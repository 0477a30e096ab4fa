//! Resource usage of the process, and room on disks.

use std::path::Path;

/// Bytes that a user other than root can still write to the file system of `path`. `None` if the system does not say.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let existing = path.ancestors().find(|path| path.exists())?;
    let room = rustix::fs::statvfs(existing).ok().filter(|room| room.f_blocks > 0)?;
    room.f_bavail.checked_mul(room.f_frsize)
}

/// Memory and open files of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessUsage {
    pub resident_bytes: u64,
    pub open_files: u64,
    /// `None` if there is no limit.
    pub max_open_files: Option<u64>,
}

impl ProcessUsage {
    /// Current usage. `None` if the system does not report it.
    #[cfg(target_os = "linux")]
    pub fn now() -> Option<Self> {
        use rustix::process::{Resource, getrlimit};

        // proc(5): the second number is the resident set in pages.
        let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
        let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
        let page_size = u64::try_from(rustix::param::page_size()).ok()?;
        // Listing the directory opens one of them.
        let open_files = std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
        Some(Self {
            resident_bytes: pages.checked_mul(page_size)?,
            open_files: u64::try_from(open_files).ok()?,
            max_open_files: getrlimit(Resource::Nofile).current,
        })
    }

    /// Other systems run `infrad dev` only.
    #[cfg(not(target_os = "linux"))]
    pub fn now() -> Option<Self> {
        None
    }
}
