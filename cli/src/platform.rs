//! What differs between operating systems: owners of files and access to them, opening and replacing files, locks, the
//! keyboard, interrupts, other programs, owners of connections, the machine, and words of messages. Each system has a folder with the same
//! names. No other module asks for the system.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::fmt;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub(crate) use system::{
    ABSOLUTE_PATH_HINT, ACCESS_CONTROL, BROWSER_HINT, CLOCK_HINT, COMMAND_HINT, CommandRunner, FILE_ALONE,
    FILES_HINT, HAS_DESKTOP, HAS_POWERSHELL, Interrupts, LIST_SEPARATOR, LISTENERS_COMMAND, LOOPBACK_HINT,
    NO_HOME_HINT, NO_KEYRING_HINT, OPENER, OTHER_USER_HINT, ROOT, ReadResult, SECOND_KUBECONFIG,
    STALE_EXPORTS, TEXT_IS_UTF8, TIME_ZONE_FILE, USUAL_PATH, become_command, can_identify_owners,
    check_writable, connection_owner, create_new, create_private_directory, end, exit_as, file_url,
    find_program, host_name, is_executable, is_link, keeps_access, locks_are_unsupported, open_lock,
    open_to_others, open_without_waiting, openers, other_owner, other_parent_owner, read_available, replace,
    reserved_ports_hint, restore_keyboard, set_apart, temporary_beside, tighten, try_lock, uptime,
    writable_by_others, writable_hint,
};

/// The owner of a file, as a message names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    name: String,
    /// Root, whose directories every user may use.
    is_system: bool,
}

impl Owner {
    pub(crate) fn is_system(&self) -> bool {
        self.is_system
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

/// The access that other users have to a file, as a message names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Openness {
    description: String,
    /// Other users may create files there, and only their own (`/tmp`).
    is_shared: bool,
}

impl fmt::Display for Openness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.description)
    }
}

/// Owner of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    ThisUser,
    AnotherUser,
    /// Root, which relays Windows connections in WSL. Elsewhere, a root service may connect for another user.
    #[cfg_attr(all(windows, not(test)), expect(dead_code, reason = "Windows has no root"))]
    Root,
    /// No table lists the socket.
    Unknown,
}
