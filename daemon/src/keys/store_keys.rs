//! The keys of a store, whichever place it has: a data directory of its own, or a database that daemons share.

use std::path::Path;

use jiff::Timestamp;

use super::{
    BackupKeys, FieldSealer, KeyError, KeyStatus, Keys, MovedStore, RootKeySettings, SharedKeys, TicketKey,
};

pub enum StoreKeys {
    /// In `keys.json`, next to the database file.
    File(Keys),
    /// In rows of the database.
    Shared(SharedKeys),
}

impl StoreKeys {
    /// The keys of a data directory, for operations that change its files.
    pub fn in_file(&self) -> Result<&Keys, KeyError> {
        match self {
            Self::File(keys) => Ok(keys),
            Self::Shared(_) => Err(KeyError::Shared),
        }
    }

    /// The keys in rows of a shared database.
    pub fn shared(&self) -> Option<&SharedKeys> {
        match self {
            Self::File(_) => None,
            Self::Shared(keys) => Some(keys),
        }
    }

    pub fn ticket_key(&self) -> TicketKey {
        match self {
            Self::File(keys) => keys.ticket_key(),
            Self::Shared(keys) => keys.ticket_key(),
        }
    }

    pub fn field_sealer(&self) -> FieldSealer {
        match self {
            Self::File(keys) => keys.field_sealer(),
            Self::Shared(keys) => keys.field_sealer(),
        }
    }

    /// Which shared database replaces a store in a file. A shared database has its own record.
    pub fn moved(&self) -> Option<MovedStore> {
        match self {
            Self::File(keys) => keys.moved(),
            Self::Shared(_) => None,
        }
    }

    /// Lets daemons use a file that was moved away. Revoke its sessions first.
    pub fn use_again(&self) -> Result<(), KeyError> {
        match self {
            Self::File(keys) => keys.set_moved(None),
            Self::Shared(_) => Ok(()),
        }
    }

    /// The keys of a backup that is made now.
    pub async fn backup_keys(&self, data_dir: &Path) -> Result<BackupKeys, KeyError> {
        match self {
            Self::File(keys) => Ok(keys.backup_keys()),
            Self::Shared(keys) => keys.backup_keys(data_dir).await,
        }
    }

    pub fn status(&self) -> KeyStatus {
        match self {
            Self::File(keys) => keys.status(),
            Self::Shared(keys) => keys.status(),
        }
    }

    /// Where the root key is that wraps the data key.
    pub fn root_key(&self) -> RootKeySettings {
        match self {
            Self::File(keys) => keys.root_key(),
            Self::Shared(keys) => keys.root_key(),
        }
    }

    /// Deletes the previous ticket key once all tickets sealed with it have expired. Returns `true` if it did. A shared
    /// database keeps it with the data key of its version.
    pub fn forget_previous_ticket_key(&self, now: Timestamp) -> Result<bool, KeyError> {
        match self {
            Self::File(keys) => keys.forget_previous_ticket_key(now),
            Self::Shared(_) => Ok(false),
        }
    }

    /// Whether a start with these root keys could open the keys, as far as that can be decided without a network.
    pub async fn check(&self, data_dir: &Path, root_keys: &[RootKeySettings]) -> Result<(), KeyError> {
        match self {
            Self::File(_) => super::check(data_dir, root_keys).await,
            Self::Shared(keys) => keys.check(data_dir, root_keys),
        }
    }
}
