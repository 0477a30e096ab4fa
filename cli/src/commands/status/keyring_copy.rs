//! Checks if the keyring holds the copy that the file records.

use infra_shared::origin::Origin;

use super::Report;
use crate::arguments::Status;
use crate::commands::Context;
use crate::home::{self, Storage};
use crate::keyring::{Keyring, KeyringError, Pending, StoredEntry};
use crate::terminal::Terminal;

/// A keyring check that runs while the daemon is queried. `None` if there is no copy or the result is not shown.
pub(super) struct CopyCheck(Option<Pending<StoredEntry>>);

impl CopyCheck {
    pub(super) fn begin(context: &Context, arguments: &Status, state: &home::State, origin: &Origin) -> Self {
        let is_shown = arguments.json || !context.terminal.quiet;
        let stored = state.sessions.sessions.get(origin).filter(|_| is_shown);
        let mirrored = stored.filter(|stored| stored.storage == Storage::FileAndKeyring);
        Self(mirrored.map(|stored| Keyring::begin_check(origin, &stored.token)))
    }

    /// Adds the result to the report. If the keyring cannot be read, the report stays unchanged.
    pub(super) fn finish(self, report: &mut Report, terminal: Terminal) {
        let (Some(pending), Some(Storage::FileAndKeyring)) = (self.0, report.storage) else { return };
        let held = pending.wait();
        if matches!(held, Ok(StoredEntry::Missing | StoredEntry::Other)) {
            report.storage = Some(Storage::File);
        }
        if let Some(warning) = warning(&held)
            && !terminal.quiet
        {
            terminal.warn(&warning);
        }
    }
}

fn warning(held: &Result<StoredEntry, KeyringError>) -> Option<String> {
    match held {
        Ok(StoredEntry::Token) => None,
        Ok(StoredEntry::Missing) => Some(
            "the copy of the token is missing from the keyring; `infra login --force` stores a new one"
                .to_owned(),
        ),
        Ok(StoredEntry::Other) => Some(
            "another program has replaced the copy of the token in the keyring; `infra login --force` stores a new one"
                .to_owned(),
        ),
        Err(error) => {
            Some(format!("cannot check the copy of the token in the keyring: {error}"))
        }
    }
}
