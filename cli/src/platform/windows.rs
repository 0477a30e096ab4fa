//! Windows 10 and newer.

mod access;
mod descriptor;
mod files;
mod hints;
mod host;
mod interrupt;
mod keyboard;
mod peer;
mod process;

pub(crate) use access::{
    FILE_ALONE, check_writable, create_private_directory, keeps_access, open_to_others, other_owner,
    other_parent_owner, tighten, writable_by_others, writable_hint,
};
pub(crate) use files::{
    create_new, is_link, locks_are_unsupported, open_lock, open_without_waiting, replace, temporary_beside,
    try_lock,
};
pub(crate) use hints::{
    ABSOLUTE_PATH_HINT, ACCESS_CONTROL, BROWSER_HINT, CLOCK_HINT, COMMAND_HINT, FILES_HINT,
    LISTENERS_COMMAND, LOOPBACK_HINT, NO_HOME_HINT, NO_KEYRING_HINT, OPENER, OTHER_USER_HINT,
    SECOND_KUBECONFIG, STALE_EXPORTS, reserved_ports_hint,
};
pub(crate) use host::{HAS_DESKTOP, HAS_POWERSHELL, ROOT, TEXT_IS_UTF8, TIME_ZONE_FILE, host_name, uptime};
pub(crate) use interrupt::Interrupts;
pub(crate) use keyboard::{ReadResult, read_available, restore_keyboard};
pub(crate) use peer::{can_identify_owners, connection_owner};
pub(crate) use process::{
    CommandRunner, LIST_SEPARATOR, USUAL_PATH, become_command, end, exit_as, file_url, find_program,
    is_executable, openers, set_apart,
};

use std::ffi::OsStr;
use std::os::windows::ffi::OsStrExt;

/// UTF-16 with a zero at the end, as the functions of Windows take text.
fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

#[cfg(test)]
mod tests;
