//! Signals of the operating system.
#![cfg(unix)]
#![expect(unsafe_code, reason = "no safe library shows how a signal is handled")]

use std::mem::MaybeUninit;
use std::ptr;

/// Whether the parent process disabled SIGHUP, as `nohup` does.
#[must_use]
pub fn is_hangup_ignored() -> bool {
    is_ignored(libc::SIGHUP)
}

/// Whether the parent process disabled SIGTSTP, as a shell without job control does.
#[must_use]
pub fn is_stop_ignored() -> bool {
    is_ignored(libc::SIGTSTP)
}

/// Whether the parent process disabled a signal.
#[must_use]
pub fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: sets no action, and fills the variable, which lives until the call returns.
    let result = unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
    // SAFETY: filled above; if the call failed, zero is a value for each of its fields.
    let action = unsafe { action.assume_init() };
    result == 0 && action.sa_sigaction == libc::SIG_IGN
}
