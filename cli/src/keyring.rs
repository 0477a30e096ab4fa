//! Copies a token to the operating system's keyring: Secret Service (Linux), Keychain (macOS) or Credential Manager
//! (Windows). Tests run on Linux, and under Wine.
//!
//! The file stays authoritative, so the keyring must never block a command. Every call has a timeout, and none shows a
//! password prompt. After the keyring was missing or timed out, later calls of the run fail at once.

#[cfg(target_os = "macos")]
mod keychain;
#[cfg(all(unix, not(target_os = "macos")))]
mod secret_service;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use infra_shared::origin::Origin;
use infra_shared::printable::printable;
use infra_shared::token_text::SessionToken;
use keyring::v1::{Entry, Error};

use crate::platform::NO_KEYRING_HINT;

/// Long enough for a working keyring, short enough for a blocked one.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Service name of the entries; the account is the server's address.
const SERVICE: &str = "infra";
/// Maximum length of a displayed error.
const MAX_REASON: usize = 200;

/// Why a keyring call failed. It contains no secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    #[error("no keyring is available: {0}")]
    Unavailable(String),
    #[error("the keyring is locked")]
    Locked,
    #[error("the keyring has no default collection")]
    NoCollection,
    #[error("the keyring contains several entries for this server")]
    Ambiguous,
    #[error("the keyring did not answer within {} s", TIMEOUT.as_secs())]
    TimedOut,
    /// The write was sent, so it may still happen.
    #[error("the keyring did not confirm the write")]
    Unconfirmed,
    #[error("the connection to the keyring was lost")]
    Disconnected,
    #[error("the keyring returned an error: {0}")]
    Failed(String),
}

/// What the keyring holds for a server, compared with the expected token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredEntry {
    Token,
    Missing,
    /// Another program has changed the entry.
    Other,
}

/// The keyring for one run of the program.
#[derive(Debug, Default)]
pub struct Keyring {
    /// An error that later calls of the run would meet again.
    lasting_error: Mutex<Option<KeyringError>>,
}

/// A running keyring call.
#[derive(Debug)]
pub struct Pending<T> {
    answer: Receiver<Result<T, KeyringError>>,
    deadline: Instant,
}

impl Keyring {
    /// Stores a copy of `token`. After [`KeyringError::Unconfirmed`] the copy may exist, now or later. After every other
    /// error it does not.
    pub fn store(&self, origin: &Origin, token: &SessionToken) -> Result<(), KeyringError> {
        let token = token.clone();
        let write = WriteDecision::default();
        let decision = write.clone();
        let stored = self.call_with_timeout(origin, move |account| {
            ensure_unlocked(account)?;
            let entry = entry(account)?;
            decision.begin()?;
            entry.set_password(token.expose()).map_err(|error| failure(&error))
        });
        stored.map_err(|error| write.explain(error))
    }

    /// Removes the copy of `token` and returns what was stored. An entry that another program changed is kept.
    pub fn forget(&self, origin: &Origin, token: &SessionToken) -> Result<StoredEntry, KeyringError> {
        let token = token.clone();
        self.call_with_timeout(origin, move |account| {
            let held = held(account, &token)?;
            if held == StoredEntry::Token {
                match entry(account)?.delete_credential() {
                    Ok(()) | Err(Error::NoEntry) => {}
                    Err(error) => return Err(failure(&error)),
                }
            }
            Ok(held)
        })
    }

    /// Starts checking if the copy of `token` still exists.
    pub fn begin_check(origin: &Origin, token: &SessionToken) -> Pending<StoredEntry> {
        let (account, token) = (origin.to_string(), token.clone());
        Pending::begin(TIMEOUT, move || held(&account, &token))
    }

    /// Starts checking if a token could be stored for `origin`.
    pub fn begin_probe(origin: Option<&Origin>) -> Pending<()> {
        let account = origin.map_or_else(String::new, ToString::to_string);
        Pending::begin(TIMEOUT, move || {
            ensure_unlocked(&account)?;
            entry(&account).map(drop)
        })
    }

    fn call_with_timeout<T: Send + 'static>(
        &self,
        origin: &Origin,
        call: impl FnOnce(&str) -> Result<T, KeyringError> + Send + 'static,
    ) -> Result<T, KeyringError> {
        // Hold the lock during the call, so that other threads wait for its result.
        let mut lasting_error = self.lasting_error.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lasting_error) = &*lasting_error {
            return Err(lasting_error.clone());
        }
        let account = origin.to_string();
        let answer = Pending::begin(TIMEOUT, move || call(&account)).wait();
        if let Err(error) = &answer
            && error.is_lasting()
        {
            *lasting_error = Some(error.clone());
        }
        answer
    }
}

impl KeyringError {
    /// The hint for this error.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => NO_KEYRING_HINT,
            Self::Locked => {
                "unlock it in your desktop's password manager, then `infra login --force --keyring`"
            }
            Self::NoCollection => {
                "create a default keyring in your desktop's password manager, then `infra login --force --keyring`"
            }
            Self::Ambiguous => {
                "remove those that you do not need in your desktop's password manager (service `infra`), then \
                 `infra login --force --keyring`"
            }
            Self::TimedOut | Self::Unconfirmed | Self::Disconnected | Self::Failed(_) => {
                "restart it (sign out of your desktop and in again), or use none: `infra login --force --no-keyring`"
            }
        }
    }

    /// Whether a later call in the same run would fail the same way.
    fn is_lasting(&self) -> bool {
        !matches!(self, Self::Ambiguous | Self::Failed(_))
    }
}

/// Whether a write to the keyring begins. Either the writer or the caller that timed out decides, once.
#[derive(Debug, Clone, Default)]
struct WriteDecision(Arc<AtomicBool>);

impl WriteDecision {
    /// Decides that the write begins, unless the caller has timed out.
    fn begin(&self) -> Result<(), KeyringError> {
        if self.0.swap(true, Ordering::SeqCst) { Err(KeyringError::TimedOut) } else { Ok(()) }
    }

    /// What `error` means for the write. If the write has not begun, it never will.
    fn explain(&self, error: KeyringError) -> KeyringError {
        let has_begun = self.0.swap(true, Ordering::SeqCst);
        match error {
            KeyringError::TimedOut | KeyringError::Disconnected if has_begun => KeyringError::Unconfirmed,
            error => error,
        }
    }
}

impl<T: Send + 'static> Pending<T> {
    /// Runs `call` on its own thread. A blocked thread ends with the process.
    fn begin(timeout: Duration, call: impl FnOnce() -> Result<T, KeyringError> + Send + 'static) -> Self {
        let (sender, answer) = mpsc::channel();
        thread::spawn(move || {
            // Sending fails after the timeout.
            let _ = sender.send(call());
        });
        Self { answer, deadline: Instant::now() + timeout }
    }

    /// Waits for the result until the timeout.
    pub fn wait(self) -> Result<T, KeyringError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.answer.recv_timeout(left).unwrap_or_else(|error| {
            Err(match error {
                RecvTimeoutError::Timeout => KeyringError::TimedOut,
                // The thread panicked.
                RecvTimeoutError::Disconnected => KeyringError::Failed("no response".to_owned()),
            })
        })
    }
}

fn held(account: &str, token: &SessionToken) -> Result<StoredEntry, KeyringError> {
    ensure_unlocked(account)?;
    match entry(account)?.get_password() {
        Ok(password) if password == token.expose() => Ok(StoredEntry::Token),
        Ok(_) | Err(Error::BadEncoding(_) | Error::BadDataFormat(..)) => Ok(StoredEntry::Other),
        Err(Error::NoEntry) => Ok(StoredEntry::Missing),
        Err(error) => Err(failure(&error)),
    }
}

#[cfg(not(windows))]
fn entry(account: &str) -> Result<Entry, KeyringError> {
    Entry::new(SERVICE, account).map_err(|error| failure(&error))
}

/// By default, Windows copies entries to other machines with the user's profile.
#[cfg(windows)]
fn entry(account: &str) -> Result<Entry, KeyringError> {
    Entry::store_status().as_ref().map_err(failure)?;
    let modifiers = [("persistence", "Local")].into();
    let inner = keyring_core::Entry::new_with_modifiers(SERVICE, account, &modifiers);
    inner.map(|inner| Entry { inner }).map_err(|error| failure(&error))
}

/// Ensures that no password prompt appears: a script would block on a window that no user sees.
#[cfg_attr(
    not(all(unix, not(target_os = "macos"))),
    expect(unused_variables, reason = "only the Secret Service is asked about an account")
)]
#[cfg_attr(not(unix), expect(clippy::unnecessary_wraps, reason = "other keyrings may be locked"))]
fn ensure_unlocked(account: &str) -> Result<(), KeyringError> {
    #[cfg(all(unix, not(target_os = "macos")))]
    return secret_service::check_unlocked(SERVICE, account);
    #[cfg(target_os = "macos")]
    return keychain::forbid_windows();
    // The Credential Manager of Windows opens none.
    #[cfg(not(unix))]
    Ok(())
}

fn failure(error: &Error) -> KeyringError {
    match error {
        Error::NoDefaultStore => KeyringError::Unavailable("it cannot be opened".to_owned()),
        Error::NoStorageAccess(_) => KeyringError::Locked,
        #[cfg(target_os = "macos")]
        Error::PlatformFailure(reason) if keychain::would_open_window(reason.as_ref()) => {
            KeyringError::Locked
        }
        // Its text would contain the entries.
        Error::Ambiguous(_) => KeyringError::Ambiguous,
        // It would contain the stored value, which may be another program's secret.
        Error::BadEncoding(_) | Error::BadDataFormat(..) => {
            KeyringError::Failed("the entry is not text".to_owned())
        }
        Error::PlatformFailure(reason) => KeyringError::Failed(printable(&reason.to_string(), MAX_REASON)),
        other => KeyringError::Failed(printable(&other.to_string(), MAX_REASON)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocked_keyring_times_out() {
        let (_never, waits) = mpsc::channel::<()>();
        let pending = Pending::begin(Duration::from_millis(10), move || {
            // Disconnected at the end of the test, so that the thread ends.
            let _ = waits.recv();
            Ok(())
        });
        assert_eq!(pending.wait(), Err(KeyringError::TimedOut));
    }

    #[test]
    fn result_within_timeout_is_returned() {
        assert_eq!(Pending::begin(TIMEOUT, || Ok(7)).wait(), Ok(7));
        let refused = || Err::<(), _>(KeyringError::Locked);
        assert_eq!(Pending::begin(TIMEOUT, refused).wait(), Err(KeyringError::Locked));
    }

    #[test]
    fn timed_out_write_is_unconfirmed_or_never_begins() {
        let (late, early) = (WriteDecision::default(), WriteDecision::default());
        assert_eq!(late.explain(KeyringError::TimedOut), KeyringError::TimedOut);
        assert_eq!(late.begin(), Err(KeyringError::TimedOut), "the caller was told that there is no copy");
        assert_eq!(early.begin(), Ok(()));
        assert_eq!(early.explain(KeyringError::TimedOut), KeyringError::Unconfirmed);
        assert_eq!(early.explain(KeyringError::Disconnected), KeyringError::Unconfirmed);
        assert_eq!(early.explain(KeyringError::Locked), KeyringError::Locked);
    }

    #[test]
    fn lasting_error_skips_later_keyring_calls() {
        let (keyring, origin) = (Keyring::default(), "infra.test".parse().expect("an origin"));
        assert_eq!(
            keyring.call_with_timeout(&origin, |_| Err::<(), _>(KeyringError::Ambiguous)),
            Err(KeyringError::Ambiguous)
        );
        assert_eq!(
            keyring.call_with_timeout(&origin, |_| Err::<(), _>(KeyringError::TimedOut)),
            Err(KeyringError::TimedOut)
        );
        assert_eq!(keyring.call_with_timeout(&origin, |_| Ok(())), Err(KeyringError::TimedOut));
    }

    #[test]
    fn keyring_contents_appear_in_no_message() {
        let error = failure(&Error::BadEncoding(b"canary\xff".to_vec()));
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}
