//! The copy of a token in the operating system's keyring. Every call has an end: some keyrings wait for a prompt that
//! nobody sees.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use infra_shared::origin::Origin;
use infra_shared::token_text::SessionToken;
use keyring::v1::{Entry, Error};

/// Long enough for a keyring that works, short enough for one that does not.
const PATIENCE: Duration = Duration::from_secs(3);
const SERVICE: &str = "infra";

/// Why the keyring did not do it. Nothing in it is secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    #[error("there is no keyring here, or it is locked")]
    NotAvailable,
    #[error("the keyring did not answer within {} s", PATIENCE.as_secs())]
    TimedOut,
    #[error("the keyring refused")]
    Failed,
}

/// Keeps a copy of `token`.
pub fn store(origin: &Origin, token: &SessionToken) -> Result<(), KeyringError> {
    let (account, token) = (origin.to_string(), token.clone());
    bounded(PATIENCE, move || entry(&account)?.set_password(token.expose()).map_err(|error| failure(&error)))
}

/// Removes the copy; one that is not there is as good as removed.
pub fn forget(origin: &Origin) -> Result<(), KeyringError> {
    let account = origin.to_string();
    bounded(PATIENCE, move || match entry(&account)?.delete_credential() {
        Ok(()) | Err(Error::NoEntry) => Ok(()),
        Err(error) => Err(failure(&error)),
    })
}

fn entry(account: &str) -> Result<Entry, KeyringError> {
    Entry::new(SERVICE, account).map_err(|error| failure(&error))
}

fn failure(error: &Error) -> KeyringError {
    match error {
        Error::NoStorageAccess(_) | Error::PlatformFailure(_) | Error::NoDefaultStore => {
            KeyringError::NotAvailable
        }
        _ => KeyringError::Failed,
    }
}

/// Does `call` on a thread of its own. One that hangs is left behind, and ends with the process.
fn bounded<T: Send + 'static>(
    patience: Duration,
    call: impl FnOnce() -> Result<T, KeyringError> + Send + 'static,
) -> Result<T, KeyringError> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Nobody may be waiting any more.
        let _ = sender.send(call());
    });
    receiver.recv_timeout(patience).unwrap_or(Err(KeyringError::TimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyring_that_hangs_is_given_up() {
        let (_never, waits) = mpsc::channel::<()>();
        let outcome = bounded(Duration::from_millis(10), move || {
            // Disconnected when the test ends, so that the thread ends too.
            let _ = waits.recv();
            Ok(())
        });
        assert_eq!(outcome, Err(KeyringError::TimedOut));
    }

    #[test]
    fn an_answer_in_time_is_passed_on() {
        assert_eq!(bounded(PATIENCE, || Ok(7)), Ok(7));
        assert_eq!(bounded(PATIENCE, || Err::<(), _>(KeyringError::Failed)), Err(KeyringError::Failed));
    }
}
