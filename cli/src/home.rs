//! `~/.infra`: the known servers, their trust records, the sessions, and the locks that protect them.
//!
//! Every change reads, modifies and writes under one lock, and replaces whole files. Readers need no lock, because
//! they see either the old or the new file. Each file works without the other: the trust record for a token is stored
//! with the token.

mod clock_offset;
mod directory;
mod document;
#[cfg(test)]
mod fuzzing;
#[cfg(all(fuzzing, not(test)))]
pub(crate) mod fuzzing;
mod inspection;
mod lock;
mod records;

use std::path::{Path, PathBuf};

use infra_shared::origin::Origin;
use jiff::Timestamp;

use crate::failure::{Exit, Failure};
use crate::platform::{self, Openness, Owner};
use crate::terminal::Terminal;
use document::Document;
use lock::Lock;

pub use clock_offset::ClockOffset;
pub use inspection::{Inspection, Problem};
pub use lock::{LoginLock, LoginLockAttempt};
pub use records::{
    CARolloverRecord, Config, PendingLogout, Server, Session, SessionEnd, Sessions, Storage,
    StoredAudienceToken, TrustRecord,
};

/// Why `~/.infra` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    #[error(
        "{path} is a symbolic link, and its target may belong to another user: replace it by a directory or file of your own"
    )]
    Link { path: String },
    #[error("{path} belongs to another user ({owner})")]
    OtherOwner { path: String, owner: Owner },
    #[error("cannot create {path}: {parent} belongs to another user ({owner})")]
    OtherParentOwner { path: String, parent: String, owner: Owner },
    #[error("other users can write to {path} ({openness}), so they can replace your sessions")]
    WritableByOthers { path: String, openness: Openness },
    #[error("{path} is not {expected}")]
    OtherKind { path: String, expected: &'static str },
    #[error(
        "{path} was written by a newer `infra` (version {version}): use that `infra`, or move the file away"
    )]
    Newer { path: String, version: u32 },
    #[error("{path} is larger than 4 MiB, more than `infra` ever writes: move it away")]
    TooLarge { path: String },
    #[error("another `infra` has held the lock {path} for {seconds} s: end that process if it hangs")]
    Locked { path: String, seconds: u64 },
    #[error(
        "{path} has existed for {seconds} s: another `infra` is running, or was killed while it held this lock"
    )]
    Held { path: String, seconds: u64 },
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
}

/// The directory. It may not exist yet.
#[derive(Debug, Clone)]
pub struct Home {
    path: PathBuf,
    terminal: Terminal,
}

/// All stored data.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub config: Config,
    pub sessions: Sessions,
}

impl Home {
    pub fn new(path: PathBuf, terminal: Terminal) -> Self {
        Self { path, terminal }
    }

    /// Reads all stored data. It is empty if the directory does not exist.
    pub fn read(&self) -> Result<State, HomeError> {
        if !directory::check(&self.path, self.terminal)? {
            return Ok(State::default());
        }
        let (config, sessions) = (self.config(), self.sessions());
        match (config.read()?, sessions.read()?) {
            (Ok(config), Ok(sessions)) => Ok(State { config, sessions }),
            // Move a damaged file only under the lock, and only if it is still damaged then.
            _ => self.update(|_| {}).map(|(state, ())| state),
        }
    }

    /// Reads what is readable at `path`. It repairs, tightens and reports nothing, and waits for nothing.
    pub fn read_lossy(path: &Path) -> State {
        State {
            config: document::read_lossy(&path.join("config.json")).unwrap_or_default(),
            sessions: document::read_lossy(&path.join("sessions.json")).unwrap_or_default(),
        }
    }

    /// Changes the stored data and returns the result of `change`. Other processes cannot overwrite the change, and see
    /// each file as it was before or after.
    pub fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<(State, T), HomeError> {
        directory::ensure(&self.path, self.terminal)?;
        let _lock = Lock::acquire(&self.path.join("lock"))?;
        document::remove_unfinished(&self.path);
        let (config, sessions) = (self.config(), self.sessions());
        let before = State { config: config.read_or_set_aside()?, sessions: sessions.read_or_set_aside()? };
        let mut state = before.clone();
        let result = change(&mut state);
        sessions.write_if_changed(&before.sessions, &state.sessions)?;
        config.write_if_changed(&before.config, &state.config)?;
        Ok((state, result))
    }

    /// Runs `act` while no other process changes the kubeconfig. The files of this directory stay unlocked, because `kubectl`
    /// may run `infra`.
    pub fn while_kubeconfig_locked<T>(&self, act: impl FnOnce() -> T) -> Result<T, HomeError> {
        directory::ensure(&self.path, self.terminal)?;
        let _lock = Lock::acquire(&self.path.join("kubectl.lock"))?;
        Ok(act())
    }

    /// Tries to acquire the login lock, or reports which sign-in holds it.
    pub fn try_login_lock(&self) -> Result<LoginLockAttempt, HomeError> {
        directory::ensure(&self.path, self.terminal)?;
        lock::try_login_lock(&self.path.join("login.lock"), self.terminal)
    }

    /// Removes the directory and its parent if nothing but the lock of a failed sign-in is in them.
    pub fn remove_unused(&self) {
        let _ = std::fs::remove_file(self.path.join("login.lock"));
        for directory in self.path.ancestors().take(2) {
            // Fails if something is in it.
            let _ = std::fs::remove_dir(directory);
        }
    }

    fn config(&self) -> Document<Config> {
        Document::new(self.path.join("config.json"), self.terminal)
    }

    fn sessions(&self) -> Document<Sessions> {
        Document::new(self.path.join("sessions.json"), self.terminal)
    }
}

impl State {
    /// The trust record of a server, or `None` if it is unknown.
    pub fn trust(&self, origin: &Origin) -> Option<&TrustRecord> {
        let of_session = || self.sessions.sessions.get(origin).map(|session| &session.trust);
        let of_logout = || {
            self.sessions
                .pending_logouts
                .iter()
                .find(|pending| pending.server == *origin)
                .map(|pending| &pending.trust)
        };
        self.config.servers.get(origin).map(|server| &server.trust).or_else(of_session).or_else(of_logout)
    }

    /// Earlier trust records of a server that it replaced by announcements.
    pub fn previous_trust(&self, origin: &Origin) -> &[TrustRecord] {
        self.config.servers.get(origin).map_or(&[], |server| &server.previous_trust)
    }

    /// The records by which a server may prove itself, the stored one first. Empty for an unknown server.
    pub fn trust_anchors(&self, origin: &Origin) -> Vec<TrustRecord> {
        let announced_anchors =
            self.config.servers.get(origin).map(Server::announced_anchors).unwrap_or_default();
        self.trust(origin).cloned().into_iter().chain(announced_anchors).collect()
    }

    /// Makes `new` the trust record of the server, its session and its logouts, after the server proved itself by it.
    /// Returns `false` if `new` is no longer announced, because another process changed the record meanwhile.
    pub fn complete_ca_rollover(&mut self, origin: &Origin, new: &TrustRecord) -> bool {
        let Some(server) = self.config.servers.get_mut(origin) else { return false };
        if server.trust == *new {
            return true;
        }
        if !server.announced_anchors().contains(new) {
            return false;
        }
        server.previous_trust.push(std::mem::replace(&mut server.trust, new.clone()));
        server.ca_rollover = server.ca_rollover.map(CARolloverRecord::completed);
        if let Some(session) = self.sessions.sessions.get_mut(origin) {
            session.trust = new.clone();
        }
        for logout in self.sessions.pending_logouts.iter_mut().filter(|logout| logout.server == *origin) {
            logout.trust = new.clone();
        }
        true
    }

    /// Stores an announcement of the server with the record `trust`. Returns `false` if that record has changed, or a
    /// newer announcement is stored.
    pub fn record_ca_rollover(
        &mut self,
        origin: &Origin,
        trust: &TrustRecord,
        announced: CARolloverRecord,
    ) -> bool {
        match self.config.servers.get_mut(origin) {
            Some(server)
                if server.trust == *trust
                    && server.ca_rollover.is_none_or(|seen| seen.sequence <= announced.sequence) =>
            {
                server.ca_rollover = Some(announced);
                true
            }
            _ => false,
        }
    }

    /// Whether a sign-out has not reached the daemon yet.
    pub fn has_pending_logout(&self, origin: &Origin) -> bool {
        self.sessions.pending_logouts.iter().any(|pending| pending.server == *origin)
    }

    /// Removes logout proofs of sessions that have expired by the daemon's clock.
    pub fn forget_expired_logouts(&mut self, now: Timestamp) {
        self.sessions
            .pending_logouts
            .retain(|pending| pending.expires_at > pending.clock_offset.daemon_time(now));
    }
}

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        let failure = Self::new(Exit::Failed, "cannot use the stored servers and sessions").because(&error);
        match error {
            // For example, a container volume that is writable by its group.
            HomeError::OtherOwner { path, owner } if owner.is_system() && is_writable_directory(&path) => {
                failure.hint(format!(
                    "set `INFRA_HOME` to a directory in it, such as {path}/infra: `infra` creates it"
                ))
            }
            HomeError::WritableByOthers { path, openness } => {
                failure.hint(platform::writable_hint(&path, &openness))
            }
            HomeError::Held { path, .. } => {
                failure.hint(format!("make sure that no other `infra` is running, then remove {path}"))
            }
            HomeError::Io { source, .. } if is_not_allowed(&source) => {
                failure.hint("set `INFRA_HOME` to a directory of your own that you can write to")
            }
            HomeError::OtherOwner { .. } | HomeError::OtherParentOwner { .. } => {
                failure.hint(platform::OTHER_USER_HINT)
            }
            _ => failure,
        }
    }
}

fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> HomeError + use<> {
    let path = path.display().to_string();
    move |source| HomeError::Io { path, source }
}

fn is_not_allowed(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};

    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem)
}

fn is_writable_directory(path: &str) -> bool {
    Path::new(path).is_dir() && platform::check_writable(Path::new(path)).is_ok()
}

#[cfg(test)]
mod tests;
