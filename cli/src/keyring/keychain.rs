//! The Keychain of macOS opens a window for the password if it is locked, or if another build of this program wrote the item.
//! It must not: a script would block on a window that no user sees.

use std::error::Error as StdError;

use security_framework::base::Error;
use security_framework::os::macos::keychain::SecKeychain;

use super::KeyringError;

/// `errSecInteractionNotAllowed`: macOS would have opened a window.
const INTERACTION_NOT_ALLOWED: i32 = -25308;

/// Forbids windows for the rest of this run.
pub(super) fn forbid_windows() -> Result<(), KeyringError> {
    let lock = SecKeychain::disable_user_interaction().map_err(|error| {
        KeyringError::Failed(format!("cannot forbid its password windows ({})", error.code()))
    })?;
    // Dropping it would allow windows again, also for other threads.
    std::mem::forget(lock);
    Ok(())
}

/// Whether a call failed because windows are forbidden.
pub(super) fn would_open_window(error: &(dyn StdError + Send + Sync + 'static)) -> bool {
    error.downcast_ref::<Error>().is_some_and(|error| error.code() == INTERACTION_NOT_ALLOWED)
}
