//! Why keys cannot be used, and what an operator can try.

use crate::outbound::BackendError;
use crate::platform::{self, PlatformError};

/// What helps if the root key that wrapped something is not at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// A recovery key opens it too.
    RecoveryKey,
    /// Only a copy of the root key opens it.
    Copy,
    /// The same, and other hosts have one.
    OtherHost,
    /// Other hosts have a copy, and a recovery key opens it too.
    OtherHostOrRecoveryKey,
}

impl Remedy {
    /// For keys in a file, which may have a recovery key.
    pub(super) fn of_file(has_recovery: bool) -> Self {
        if has_recovery { Self::RecoveryKey } else { Self::Copy }
    }

    /// For keys in a database, whose other daemons have the same root key.
    pub(super) fn of_database(has_recovery: bool) -> Self {
        if has_recovery { Self::OtherHostOrRecoveryKey } else { Self::OtherHost }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("root key: {0}")]
    RootKeyFile(PlatformError),
    #[error("root key: {path} has {bytes} bytes, but a root key has 32: check its path in `keys`")]
    RootKeyLength { path: String, bytes: usize },
    #[error(
        "root key: {path} is inside the data directory, so a copy of the data would include its key: set another \
         path in `keys`"
    )]
    RootKeyBesideData { path: String },
    #[error(
        "root key: {path} is missing, and {header_path} needs the root key {needed}: check its path in `keys`, and that \
         its file system is mounted"
    )]
    RootKeyGone { path: String, header_path: String, needed: String, remedy: Remedy },
    /// The key that has to wrap the data key. It may be another one than the key that unwraps it.
    #[error("root key: {path} is missing: check its path in `keys`, and that its file system is mounted")]
    RootKeyMissing { path: String },
    /// A systemd credential that this process did not receive. The key is not lost.
    #[error("root key: {name} is a systemd credential, and {}", reason_for_no_credential(*.is_in_unit))]
    RootKeyNotHanded { name: String, is_in_unit: bool },
    #[error(
        "root key: {header_path} needs the root key {expected}, but `keys` has {configured}: check the paths in `keys`"
    )]
    OtherRootKey { header_path: String, expected: String, configured: String, remedy: Remedy },
    /// A member must not undo what another one did on purpose.
    #[error(
        "root key: another daemon wrapped the keys of {origin} with the root key {needed}, which `keys` of this host lacks"
    )]
    WrappedElsewhere { origin: String, needed: String },
    /// Temporary: a retry may succeed.
    #[error("the root key {id} cannot be reached: {cause}")]
    RootKeyAway { id: String, cause: String },
    #[error("the root key {id} cannot be used: {cause}")]
    RootKeyRejected { id: String, cause: String },
    #[error("the root key {id} cannot unwrap the data key: another key wrapped it, or it was changed")]
    DoesNotUnwrap { id: String },
    #[error("{path} has no recovery key: it was written before the first `infrad key recovery create`")]
    NoRecovery { path: String },
    #[error(
        "this recovery key does not open {path}: it belongs to another store, or a newer recovery key has replaced \
         it"
    )]
    OtherRecoveryKey { path: String },
    #[error("{data_dir} contains another store than the backup: set `dataDir` to an empty directory")]
    OtherStore { data_dir: String },
    /// This daemon was paused meanwhile.
    #[error("a copy has replaced the store in {origin} since this daemon started: restart the daemon")]
    StoreReplaced { origin: String },
    #[error("{path} was damaged or changed: restore it from a backup")]
    HeaderDamaged { path: String },
    #[error(
        "{path} has format version {version}, but this infrad supports up to version {known}: run the infrad that \
         wrote it"
    )]
    HeaderNewer { path: String, version: u32, known: u32 },
    #[error(
        "{data_dir} contains the database {database}, but keys.json, which decrypts it, is missing: restore a backup \
         with `infrad restore FILE`, or set `dataDir` to an empty directory to start over"
    )]
    HeaderGone { data_dir: String, database: String },
    /// The operation changes files, and these keys are rows.
    #[error(
        "the store is in a database that daemons share, and this is available only for a store in `dataDir`"
    )]
    Shared,
    #[error(transparent)]
    Platform(#[from] PlatformError),
}

impl KeyError {
    /// Converts an error of the service that holds the root key `id`.
    pub(super) fn from_backend(id: String, error: BackendError) -> Self {
        match error {
            BackendError::Unreachable(cause) => Self::RootKeyAway { id, cause },
            error => Self::RootKeyRejected { id, cause: error.to_string() },
        }
    }

    /// Whether the root key was unreachable, so that a retry may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::RootKeyAway { .. })
    }

    /// Whether the root key that wrapped something is not at hand, and a recovery key would open it.
    pub fn can_be_recovered(&self) -> bool {
        matches!(
            self,
            Self::RootKeyGone { remedy: Remedy::RecoveryKey, .. }
                | Self::OtherRootKey { remedy: Remedy::RecoveryKey, .. }
        )
    }

    /// Whether the file in `keys` may be another one than the root key that opens the store, so that nothing may be written
    /// over it.
    pub fn is_of_other_file(&self) -> bool {
        matches!(self, Self::RootKeyLength { .. } | Self::OtherRootKey { .. })
    }

    /// Whether the root key's file is missing.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::RootKeyGone { .. } | Self::RootKeyMissing { .. })
    }

    /// Whether other users can read the root key. A `chmod` is all it needs.
    pub fn has_wrong_mode(&self) -> bool {
        matches!(self, Self::RootKeyFile(PlatformError::TooOpen { .. }))
    }

    /// The hint for a root key error whose message does not contain one.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::RootKeyMissing { path } => {
                return Some(format!(
                    "correct the path in `keys`, or restore the file from its copy. Only if you want a new root key at this \
                     path, create it as the user that infrad runs as, `{}`, then run the same command again",
                    creating_root_key(path)
                ));
            }
            Self::RootKeyGone { path, remedy: Remedy::RecoveryKey, .. } => {
                return Some(format!(
                    "correct the path in `keys`, or restore the file from its copy. Only if the key is lost for good, create \
                     a new one, `{}`, then use the recovery key: `infrad key rewrap --recovery`",
                    creating_root_key(path)
                ));
            }
            Self::RootKeyLength { .. } => {
                "correct the path in `keys`: it may name another file. If it is the root key, copy it again as bytes, because \
                 a line break or base64 makes it longer; if you have no copy, follow docs/runbooks.md#the-root-key-is-lost"
            }
            Self::WrappedElsewhere { .. } => {
                "copy that root key from the host where `infrad key rewrap` ran, and add it to `keys` here. To replace it, list \
                 the next one before it, then run `infrad key rewrap` again"
            }
            Self::RootKeyAway { .. } => {
                "run the same command again when the root key is available: `infrad check --live` tests it"
            }
            Self::RootKeyRejected { .. } | Self::DoesNotUnwrap { .. } => {
                "correct the cause above, then run `infrad check --live`, which tests every root key"
            }
            Self::OtherRootKey { remedy: Remedy::RecoveryKey, .. } => {
                "correct the path in `keys`, or add the right root key there. Only if that key is lost for good, name a new \
                 one first in `keys`, then use the recovery key: `infrad key rewrap --recovery`"
            }
            Self::RootKeyGone { remedy: Remedy::OtherHost, .. }
            | Self::OtherRootKey { remedy: Remedy::OtherHost, .. } => {
                "copy the root key from a host whose daemon has it, as bytes, to the path in `keys`; only the user that infrad \
                 runs as may read it"
            }
            Self::RootKeyGone { remedy: Remedy::OtherHostOrRecoveryKey, .. }
            | Self::OtherRootKey { remedy: Remedy::OtherHostOrRecoveryKey, .. } => {
                "copy the root key from a host whose daemon has it, as bytes, to the path in `keys`; only the user that infrad \
                 runs as may read it. Only if every copy is lost for good, name a new one first in `keys`, then use the \
                 recovery key: `infrad key rewrap --recovery`"
            }
            Self::RootKeyGone { .. } | Self::OtherRootKey { .. } => {
                "correct the path in `keys`, or find a copy of this root key: only that key opens this file, which was \
                 written before a recovery key existed"
            }
            Self::RootKeyNotHanded { is_in_unit: true, .. } => {
                "`systemctl edit infrad`, then add under `[Service]` a `LoadCredential=NAME:FILE` for each entry of \
                 `keys`"
            }
            Self::RootKeyNotHanded { is_in_unit: false, .. } => {
                "run it as root with `infrad as-service` in front: `infrad as-service COMMAND` runs as the unit runs \
                 the daemon"
            }
            Self::RootKeyFile(error) if error.is_permission_denied() => {
                "run the same command as the user that can read the root key; if systemd runs the daemon, run \
                 `infrad as-service COMMAND` as root"
            }
            Self::NoRecovery { .. } => {
                "open it with the root key of its time, without `--recovery`: look for a copy of that key"
            }
            Self::Platform(error) | Self::RootKeyFile(error) => error.hint()?,
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// The command that creates a root key, for its user only. It keeps a file that exists.
pub fn creating_root_key(path: &str) -> String {
    format!("(umask 377; set -C; head -c 32 /dev/urandom >{})", platform::quoted(path))
}

fn reason_for_no_credential(is_in_unit: bool) -> &'static str {
    if is_in_unit { "the unit does not pass it to the daemon" } else { "this command runs outside the unit" }
}
