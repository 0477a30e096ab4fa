//! The machine.

/// The directory below which container engines and WSL describe themselves.
pub(crate) const ROOT: &str = "/";

/// The machine's time zone, in the format of RFC 9636.
pub(crate) const TIME_ZONE_FILE: Option<&str> = Some("/etc/localtime");

/// Whether every session has a desktop. On Linux, a desktop session sets a variable.
pub(crate) const HAS_DESKTOP: bool = cfg!(not(target_os = "linux"));

/// Whether terminals show UTF-8 in every locale.
pub(crate) const TEXT_IS_UTF8: bool = false;

/// This machine's host name.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
