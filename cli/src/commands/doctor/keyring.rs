//! Checks the keyring and the token copies in it.

use infra_shared::origin::Origin;

use super::Check;
use crate::home::{State, Storage};
use crate::keyring::{Keyring, Pending, StoredEntry};

const NAME: &str = "keyring";

/// Keyring requests that are running.
pub(super) struct RunningChecks {
    copies: Vec<(Origin, Pending<StoredEntry>)>,
    /// A server whose next sign-in will store a copy, if there is one.
    next_copy_of: Option<Origin>,
    probe: Option<Pending<()>>,
}

pub(super) fn begin(servers: &[Origin], state: &State) -> RunningChecks {
    let mut copies = Vec::new();
    for origin in servers {
        let stored = state.sessions.sessions.get(origin);
        if let Some(stored) = stored.filter(|stored| stored.storage == Storage::FileAndKeyring) {
            copies.push((origin.clone(), Keyring::begin_check(origin, &stored.token)));
        }
    }
    let next_copy_of =
        servers.iter().find(|origin| state.config.servers.get(origin).is_some_and(|server| server.keyring));
    let probe = copies.is_empty().then(|| Keyring::begin_probe(next_copy_of));
    RunningChecks { copies, next_copy_of: next_copy_of.cloned(), probe }
}

impl RunningChecks {
    pub(super) fn finish(self) -> Vec<Check> {
        let mut checks: Vec<Check> =
            self.copies.into_iter().map(|(origin, pending)| of_copy(&origin, pending)).collect();
        if let Some(probe) = self.probe {
            checks.push(match (probe.wait(), self.next_copy_of) {
                (Ok(()), _) => Check::ok(NAME, None, "it is unlocked and holds no token"),
                (Err(error), None) => Check::ok(NAME, None, format!("not used ({error})")),
                (Err(error), Some(origin)) => Check::wrong(
                    NAME,
                    Some(origin.to_string()),
                    "the next sign-in cannot store a copy of its token",
                    Some(error.to_string()),
                    error.hint(),
                ),
            });
        }
        checks
    }
}

fn of_copy(origin: &Origin, pending: Pending<StoredEntry>) -> Check {
    let subject = Some(origin.to_string());
    let again = "`infra login --force` stores a new copy, `infra login --force --no-keyring` stores none";
    match pending.wait() {
        Ok(StoredEntry::Token) => Check::ok(NAME, subject, "it holds the copy of the token"),
        Ok(StoredEntry::Missing) => {
            Check::wrong(NAME, subject, "the copy of the token is missing", None, again)
        }
        Ok(StoredEntry::Other) => {
            Check::wrong(NAME, subject, "another program has replaced the copy of the token", None, again)
        }
        Err(error) => Check::wrong(
            NAME,
            subject,
            "cannot check the copy of the token",
            Some(error.to_string()),
            error.hint(),
        ),
    }
}
