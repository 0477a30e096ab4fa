//! Whether daemons may use a shared store, and the steps that replace it by another or move it into a file.
//!
//! While a copy is unfinished, daemons refuse the store. A command that was interrupted starts its copy again.

use std::fmt;

use infra_shared::random;

use super::engine::Engine;
use super::postgres::Postgres;
use super::{Store, StoreError};

/// What a shared store is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreState {
    /// Daemons use it.
    Ready,
    /// A copy into it is unfinished.
    Filling,
    /// A copy of it into a file is unfinished.
    Moving,
    /// A file replaces it.
    Moved,
}

/// Which stores a copy may replace, if no daemon runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaceable {
    /// One whose sessions have all ended, and one that was moved away. For a move.
    WithoutLiveSessions,
    /// An earlier state of the same store, and one without sessions. For a restore.
    SameStore,
}

/// The right to fill a store, until another command begins to.
#[derive(Debug)]
pub struct Fill(pub(super) String);

impl StoreState {
    pub(super) const ALL: [Self; 4] = [Self::Ready, Self::Filling, Self::Moving, Self::Moved];

    /// The stable name in the database.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Filling => "filling",
            Self::Moving => "moving",
            Self::Moved => "moved",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, StoreError> {
        let state = Self::ALL.into_iter().find(|state| state.as_str() == text);
        state.ok_or(StoreError::UnexpectedRow("the state of the store"))
    }

    /// What to do about a store that is not ready.
    pub fn hint(self) -> Option<&'static str> {
        match self {
            Self::Ready => None,
            Self::Filling => {
                Some("run the same command again on the host where it began; it starts the copy again")
            }
            Self::Moving => Some(
                "run `infrad database move --to-file` again on the host where it began; it starts the copy again",
            ),
            Self::Moved => Some(
                "remove `database` from the configuration of the host with the file; to use the database again, stop that \
                 daemon and run `infrad database move` on its host",
            ),
        }
    }
}

impl fmt::Display for StoreState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Ready => "is ready",
            Self::Filling => "is incomplete, because a copy into it did not finish",
            Self::Moving => "is being copied into a file, and this did not finish",
            Self::Moved => "was moved into a file, so it would bring back revoked sessions",
        })
    }
}

/// Whether a copy may replace a store. `holds_same` tells whether it is an earlier state of the one to copy.
pub(super) fn check_replaceable(
    replaceable: Replaceable,
    state: StoreState,
    holds_same: bool,
    [sessions, live]: [u64; 2],
    database: &str,
) -> Result<(), StoreError> {
    let database = database.to_owned();
    match (replaceable, state) {
        (Replaceable::WithoutLiveSessions, StoreState::Moving) => {
            Err(StoreError::NotReady { database, state })
        }
        (Replaceable::WithoutLiveSessions, StoreState::Ready) if live > 0 => {
            Err(StoreError::HasSessions { database, live })
        }
        // An incomplete copy was never in use.
        (_, StoreState::Filling) => Ok(()),
        (Replaceable::SameStore, _) if !holds_same && sessions > 0 => {
            Err(StoreError::OtherStore { database })
        }
        _ => Ok(()),
    }
}

impl Fill {
    pub(super) fn new() -> Self {
        Self(random::alphanumeric(16))
    }
}

impl Store {
    /// Whether daemons may use it. A file has its own record, in the header of its keys.
    pub async fn state(&self) -> Result<StoreState, StoreError> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(StoreState::Ready),
            Engine::Postgres(engine) => Box::pin(engine.state()).await.map(|(state, _)| state),
        }
    }

    /// Lets daemons use a store that was filled.
    pub async fn finish_fill(&self, fill: Fill) -> Result<(), StoreError> {
        Box::pin(self.database()?.finish_fill(&fill)).await
    }

    /// Keeps daemons from using the store, which a copy in a file will replace. Fails while one uses it. Returns the file
    /// that an interrupted move has completed, as [`Self::expect_file`] recorded it.
    pub async fn begin_move(&self) -> Result<Option<String>, StoreError> {
        Box::pin(self.database()?.begin_move()).await
    }

    /// Records which file replaces the store, so that an interrupted move knows its own.
    pub async fn expect_file(&self, file: &str) -> Result<(), StoreError> {
        Box::pin(self.database()?.expect_file(file)).await
    }

    /// The file is in use instead.
    pub async fn finish_move(&self) -> Result<(), StoreError> {
        Box::pin(self.database()?.change_state(StoreState::Moving, StoreState::Moved)).await
    }

    /// There is no file, so daemons use the store again.
    pub async fn cancel_move(&self) -> Result<(), StoreError> {
        Box::pin(self.database()?.change_state(StoreState::Moving, StoreState::Ready)).await
    }

    /// Lets daemons use a store that was moved away. Revoke its sessions first.
    pub async fn use_again(&self) -> Result<(), StoreError> {
        match &self.engine {
            // The header of its keys says so.
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(engine) => Box::pin(engine.use_again()).await,
        }
    }

    fn database(&self) -> Result<&Postgres, StoreError> {
        match &self.engine {
            Engine::Sqlite(_) => Err(StoreError::NotShared),
            Engine::Postgres(engine) => Ok(engine),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_replaces_nothing_that_is_in_use() {
        use Replaceable::{SameStore, WithoutLiveSessions};
        use StoreState::{Filling, Moved, Moving, Ready};
        for (replaceable, state, holds_same, counts, allowed) in [
            (WithoutLiveSessions, Ready, true, [9, 0], true),
            (WithoutLiveSessions, Ready, false, [9, 0], true),
            (WithoutLiveSessions, Ready, true, [9, 1], false),
            (WithoutLiveSessions, Moved, true, [9, 1], true),
            (WithoutLiveSessions, Filling, false, [9, 1], true),
            (WithoutLiveSessions, Moving, true, [0, 0], false),
            (SameStore, Ready, true, [9, 1], true),
            (SameStore, Ready, false, [0, 0], true),
            (SameStore, Ready, false, [1, 0], false),
            (SameStore, Moving, true, [9, 1], true),
            (SameStore, Filling, false, [9, 1], true),
        ] {
            let checked = check_replaceable(replaceable, state, holds_same, counts, "db");
            assert_eq!(checked.is_ok(), allowed, "{replaceable:?} {state:?} {holds_same} {counts:?}");
        }
    }
}
