//! The machine.

/// The directory below which container engines and WSL describe themselves.
pub(crate) const ROOT: &str = "/";

/// The machine's time zone, in the format of RFC 9636.
pub(crate) const TIME_ZONE_FILE: Option<&str> = Some("/etc/localtime");

/// Whether every session has a desktop. On Linux, a desktop session sets a variable.
pub(crate) const HAS_DESKTOP: bool = cfg!(not(target_os = "linux"));

/// Whether users type commands into PowerShell.
pub(crate) const HAS_POWERSHELL: bool = false;

/// Whether terminals show UTF-8 in every locale.
pub(crate) const TEXT_IS_UTF8: bool = false;

/// Seconds since the machine started. `None` if no file shows it, as on macOS.
pub(crate) fn uptime() -> Option<i64> {
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    uptime.split(['.', ' ']).next()?.parse().ok()
}

/// This machine's host name.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
