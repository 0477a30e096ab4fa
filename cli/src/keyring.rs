//! The copy of a token in the operating system's keyring: the Secret Service of Linux desktops, the Keychain of macOS,
//! the Credential Manager of Windows (the last two are written for, and not built here).
//!
//! The file stays the truth, so nothing here may hinder: every call has an end, none makes the keyring ask somebody for a
//! password, and one that found the keyring missing or hanging spares the rest of the run the wait.

#[cfg(all(unix, not(target_os = "macos")))]
mod secret_service;

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use infra_shared::origin::Origin;
use infra_shared::printable::printable;
use infra_shared::token_text::SessionToken;
use keyring::v1::{Entry, Error};

/// Long enough for a keyring that works, short enough for one that does not.
const PATIENCE: Duration = Duration::from_secs(3);
/// The entries are found by it and by the server's address.
const SERVICE: &str = "infra";
/// More of what a keyring says than anybody reads.
const MAX_REASON: usize = 200;

/// Why the keyring did not do it. Nothing in it is secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    #[error("there is no keyring here: {0}")]
    NotThere(String),
    #[error("the keyring is locked")]
    Locked,
    #[error("the keyring has no default collection to put it into")]
    NoCollection,
    #[error("the keyring holds several entries for this server")]
    Ambiguous,
    #[error("the keyring did not answer within {} s", PATIENCE.as_secs())]
    TimedOut,
    #[error("the keyring went away in the midst of it")]
    WentAway,
    #[error("the keyring refused: {0}")]
    Failed(String),
}

/// What the keyring holds for a server, beside the token that it should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    TheToken,
    Nothing,
    /// Somebody else has put something there since.
    SomethingElse,
}

/// The keyring of one run of the program.
#[derive(Debug, Default)]
pub struct Keyring {
    /// Why there is no use in asking again.
    hindrance: Mutex<Option<KeyringError>>,
}

/// A question to the keyring that is under way.
#[derive(Debug)]
pub struct Pending<T> {
    answer: Receiver<Result<T, KeyringError>>,
    deadline: Instant,
}

impl Keyring {
    /// Keeps a copy of `token`.
    pub fn store(&self, origin: &Origin, token: &SessionToken) -> Result<(), KeyringError> {
        let (token, deadline) = (token.clone(), Instant::now() + PATIENCE);
        self.ask(origin, move |account| {
            look_before(account)?;
            let entry = entry(account)?;
            if Instant::now() >= deadline {
                // It was given up meanwhile, and the file says that there is no copy: so there must be none.
                return Err(KeyringError::TimedOut);
            }
            entry.set_password(token.expose()).map_err(|error| failure(&error))
        })
    }

    /// Removes the copy of `token`. What was held is answered; what somebody else has put there stays.
    pub fn forget(&self, origin: &Origin, token: &SessionToken) -> Result<Held, KeyringError> {
        let token = token.clone();
        self.ask(origin, move |account| {
            let held = held(account, &token)?;
            if held == Held::TheToken {
                match entry(account)?.delete_credential() {
                    Ok(()) | Err(Error::NoEntry) => {}
                    Err(error) => return Err(failure(&error)),
                }
            }
            Ok(held)
        })
    }

    /// Looks whether the copy of `token` is still there, while something else is done.
    pub fn begin_look(origin: &Origin, token: &SessionToken) -> Pending<Held> {
        let (account, token) = (origin.to_string(), token.clone());
        Pending::begin(PATIENCE, move || held(&account, &token))
    }

    /// Looks whether a token could be kept for `origin`.
    pub fn begin_probe(origin: Option<&Origin>) -> Pending<()> {
        let account = origin.map_or_else(String::new, ToString::to_string);
        Pending::begin(PATIENCE, move || {
            look_before(&account)?;
            entry(&account).map(drop)
        })
    }

    fn ask<T: Send + 'static>(
        &self,
        origin: &Origin,
        call: impl FnOnce(&str) -> Result<T, KeyringError> + Send + 'static,
    ) -> Result<T, KeyringError> {
        // Held meanwhile: other threads find out what this one met.
        let mut hindrance = self.hindrance.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hindrance) = &*hindrance {
            return Err(hindrance.clone());
        }
        let account = origin.to_string();
        let answer = Pending::begin(PATIENCE, move || call(&account)).wait();
        if let Err(error) = &answer
            && error.is_lasting()
        {
            *hindrance = Some(error.clone());
        }
        answer
    }
}

impl KeyringError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotThere(_) => {
                "start one (GNOME Keyring, KWallet, KeePassXC) in this session, or do without: `infra login --force --no-keyring`"
            }
            Self::Locked => {
                "unlock it (signing in to the desktop does, or its password manager), then `infra login --force --keyring`"
            }
            Self::NoCollection => {
                "create a default keyring in the desktop's password manager, then `infra login --force --keyring`"
            }
            Self::Ambiguous => {
                "remove those that are not needed in the desktop's password manager (service `infra`), then \
                 `infra login --force --keyring`"
            }
            Self::TimedOut | Self::WentAway | Self::Failed(_) => {
                "start it anew (sign out of the desktop and in again), or do without: `infra login --force --no-keyring`"
            }
        }
    }

    /// Whether the next question of the same run would meet it again.
    fn is_lasting(&self) -> bool {
        !matches!(self, Self::Ambiguous | Self::Failed(_))
    }
}

impl<T: Send + 'static> Pending<T> {
    /// Does `call` on a thread of its own. One that hangs is left behind, and ends with the process.
    fn begin(patience: Duration, call: impl FnOnce() -> Result<T, KeyringError> + Send + 'static) -> Self {
        let (sender, answer) = mpsc::channel();
        thread::spawn(move || {
            // Nobody may be waiting any more.
            let _ = sender.send(call());
        });
        Self { answer, deadline: Instant::now() + patience }
    }

    /// Waits for the answer, to the end of its time.
    pub fn wait(self) -> Result<T, KeyringError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.answer.recv_timeout(left).unwrap_or_else(|error| {
            Err(match error {
                RecvTimeoutError::Timeout => KeyringError::TimedOut,
                // The thread ended without an answer: what it called has failed in a way that nobody foresaw.
                RecvTimeoutError::Disconnected => KeyringError::Failed("no answer came".to_owned()),
            })
        })
    }
}

fn held(account: &str, token: &SessionToken) -> Result<Held, KeyringError> {
    look_before(account)?;
    match entry(account)?.get_password() {
        Ok(password) if password == token.expose() => Ok(Held::TheToken),
        Ok(_) | Err(Error::BadEncoding(_) | Error::BadDataFormat(..)) => Ok(Held::SomethingElse),
        Err(Error::NoEntry) => Ok(Held::Nothing),
        Err(error) => Err(failure(&error)),
    }
}

fn entry(account: &str) -> Result<Entry, KeyringError> {
    Entry::new(SERVICE, account).map_err(|error| failure(&error))
}

/// Makes sure that nobody will be asked for a password: a script would hang on a window that nobody sees.
fn look_before(account: &str) -> Result<(), KeyringError> {
    #[cfg(all(unix, not(target_os = "macos")))]
    return secret_service::check_unlocked(SERVICE, account);
    #[cfg(not(all(unix, not(target_os = "macos"))))]
    {
        let _ = account;
        Ok(())
    }
}

fn failure(error: &Error) -> KeyringError {
    match error {
        Error::NoDefaultStore => KeyringError::NotThere("it cannot be opened".to_owned()),
        Error::NoStorageAccess(_) => KeyringError::Locked,
        // Its text would name the entries.
        Error::Ambiguous(_) => KeyringError::Ambiguous,
        // What it holds may be somebody's secret.
        Error::BadEncoding(_) | Error::BadDataFormat(..) => {
            KeyringError::Failed("what it holds is no text".to_owned())
        }
        Error::PlatformFailure(reason) => KeyringError::Failed(printable(&reason.to_string(), MAX_REASON)),
        other => KeyringError::Failed(printable(&other.to_string(), MAX_REASON)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyring_that_hangs_is_given_up() {
        let (_never, waits) = mpsc::channel::<()>();
        let pending = Pending::begin(Duration::from_millis(10), move || {
            // Disconnected when the test ends, so that the thread ends too.
            let _ = waits.recv();
            Ok(())
        });
        assert_eq!(pending.wait(), Err(KeyringError::TimedOut));
    }

    #[test]
    fn an_answer_in_time_is_passed_on() {
        assert_eq!(Pending::begin(PATIENCE, || Ok(7)).wait(), Ok(7));
        let refused = || Err::<(), _>(KeyringError::Locked);
        assert_eq!(Pending::begin(PATIENCE, refused).wait(), Err(KeyringError::Locked));
    }

    #[test]
    fn what_would_be_met_again_is_not_asked_again_in_the_same_run() {
        let (keyring, origin) = (Keyring::default(), "infra.test".parse().expect("an origin"));
        assert_eq!(
            keyring.ask(&origin, |_| Err::<(), _>(KeyringError::Ambiguous)),
            Err(KeyringError::Ambiguous)
        );
        assert_eq!(
            keyring.ask(&origin, |_| Err::<(), _>(KeyringError::TimedOut)),
            Err(KeyringError::TimedOut)
        );
        assert_eq!(keyring.ask(&origin, |_| Ok(())), Err(KeyringError::TimedOut));
    }

    #[test]
    fn what_a_keyring_holds_is_in_no_message() {
        let error = failure(&Error::BadEncoding(b"canary\xff".to_vec()));
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}
