//! The machine.
#![expect(unsafe_code, reason = "the standard library knows neither the machine's name nor its uptime")]

use windows_sys::Win32::System::SystemInformation::{
    ComputerNamePhysicalDnsHostname, GetComputerNameExW, GetTickCount64,
};

/// Container engines and WSL describe themselves in no file here. `?` is in no name of a file.
pub(crate) const ROOT: &str = r"\\?\none?";

/// Every session has a desktop.
pub(crate) const HAS_DESKTOP: bool = true;

/// Users type commands into PowerShell.
pub(crate) const HAS_POWERSHELL: bool = true;

/// The console takes UTF-16.
pub(crate) const TEXT_IS_UTF8: bool = true;

/// Seconds since Windows started.
pub(crate) fn uptime() -> Option<i64> {
    // SAFETY: takes no pointer.
    let milliseconds = unsafe { GetTickCount64() };
    i64::try_from(milliseconds / 1000).ok()
}

/// This machine's host name. Empty if Windows does not know it.
pub(crate) fn host_name() -> String {
    let mut buffer = [0_u16; 256];
    let mut length = u32::try_from(buffer.len()).expect("a small buffer");
    // SAFETY: the buffer has `length` elements; both live until the call returns.
    let found =
        unsafe { GetComputerNameExW(ComputerNamePhysicalDnsHostname, buffer.as_mut_ptr(), &raw mut length) };
    let name = buffer.get(..length as usize).filter(|_| found != 0).unwrap_or_default();
    String::from_utf16_lossy(name)
}

/// Windows has no file of its time zone: the library asks the system, and has the zones built in.
pub(crate) const TIME_ZONE_FILE: Option<&str> = None;
