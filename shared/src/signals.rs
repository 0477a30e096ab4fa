//! Signals of the operating system.

/// Whether the parent process disabled SIGHUP, as `nohup` does. Reads `/proc`; false where it is missing.
#[cfg(unix)]
#[must_use]
pub fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    // SIGHUP is 1, the lowest bit.
    ignored & 1 == 1
}
