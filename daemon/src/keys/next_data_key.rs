//! Switches to a new data key, for rotation and restore. Replacing the header commits either one.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::header::{self, Bytes, Header, PreviousTicketKey};
use super::sealed::{FieldSealer, Place, Sealed};
use super::{
    DataKey, DatabaseKey, KeyError, Keys, RecoveryKey, RecoveryPublicKey, RootKeySettings, SharedKeys,
    derivation, recovery, root,
};

/// How long a login may take from start to finish. The key of its ticket is kept as long.
pub const TICKET_LIFETIME: SignedDuration = SignedDuration::from_secs(300);
const PREVIOUS_TICKET_KEY: Place<'static> =
    Place { table: "keys.json", row: "previousTicketKey", column: "sealed", version: 1 };

/// A new data key of a store, wrapped and ready. It takes effect when its header is committed.
pub struct NextDataKey {
    data_dir: PathBuf,
    data_key: DataKey,
    header: Header,
    /// Wraps the data key.
    root_key: RootKeySettings,
}

/// What unwraps the data key of a backup.
#[derive(Clone, Copy)]
pub enum Opener<'a> {
    RootKeys(&'a [RootKeySettings]),
    Recovery(&'a RecoveryKey),
}

/// The keys of a backup, from the time it was made.
pub struct BackupKeys {
    pub(super) data_key: DataKey,
    pub(super) header: Header,
}

impl Keys {
    /// Creates the next data key, wrapped under the first of `root_keys` and for the recovery key.
    pub async fn begin_rotation(
        &self,
        root_keys: &[RootKeySettings],
        now: Timestamp,
    ) -> Result<NextDataKey, KeyError> {
        let (header, data_key) = self.copy();
        let mut next =
            NextDataKey::begin(&header, header.data_key_version + 1, root_keys, &self.data_dir).await?;
        let ticket_key = derivation::ticket_key(&data_key);
        next.header.previous_ticket_key = Some(PreviousTicketKey {
            sealed: Bytes(
                next.field_sealer().seal(PREVIOUS_TICKET_KEY, ticket_key.as_slice()).as_bytes().to_vec(),
            ),
            until: now.checked_add(TICKET_LIFETIME).unwrap_or(Timestamp::MAX),
        });
        Ok(next)
    }

    /// Switches to the next data key, first on disk, then in memory.
    pub fn activate(&self, next: NextDataKey) -> Result<(), KeyError> {
        let mut state = self.state();
        let next = next.commit()?;
        let (sealing, tickets) =
            (derivation::sealed_field_key(&next.data_key), derivation::ticket_key(&next.data_key));
        self.field_sealer.replace(&sealing);
        let previous = previous_ticket_key(&next.header, &self.field_sealer);
        self.ticket_key.replace(&tickets, previous.as_deref());
        state.data_key = next.data_key;
        state.header = next.header;
        state.root_key = next.root_key;
        Ok(())
    }

    /// Deletes the previous ticket key once all tickets sealed with it have expired. Returns `true` if it did.
    pub fn forget_previous_ticket_key(&self, now: Timestamp) -> Result<bool, KeyError> {
        let is_over = |previous: &PreviousTicketKey| previous.until <= now;
        // Hold the lock to the end: a rotation in between would lose the ticket key that it has just stored.
        let mut state = self.state();
        if !state.header.previous_ticket_key.as_ref().is_some_and(is_over) {
            return Ok(false);
        }
        self.change_header_of(&mut state, |header| header.previous_ticket_key = None)?;
        self.ticket_key.replace(&derivation::ticket_key(&state.data_key), None);
        Ok(true)
    }

    pub fn backup_keys(&self) -> BackupKeys {
        let (mut header, data_key) = self.copy();
        header.moved = None;
        header.sign(&data_key);
        BackupKeys { data_key, header }
    }
}

impl NextDataKey {
    async fn begin(
        from: &Header,
        data_key_version: u64,
        root_keys: &[RootKeySettings],
        data_dir: &Path,
    ) -> Result<Self, KeyError> {
        let (data_key, mut header) = (DataKey::random(), from.with_data_key_version(data_key_version));
        root::wrap(&mut header, &data_key, root_keys, data_dir).await?;
        header.recovery = from
            .recovery
            .as_ref()
            .map(|wrapping| RecoveryPublicKey::of(wrapping).wrap(&data_key, &header.context()));
        let root_key = root::first(root_keys).clone();
        Ok(Self { data_dir: data_dir.to_owned(), data_key, header, root_key })
    }

    /// Begins a data key for a copy of the store `from` in `data_dir`, which must be empty or hold the same store.
    async fn begin_copy(
        from: &Header,
        root_keys: &[RootKeySettings],
        data_dir: &Path,
    ) -> Result<Self, KeyError> {
        let present = match Header::read(data_dir) {
            Ok(present) => present,
            // A copy replaces a damaged header.
            Err(KeyError::HeaderDamaged { .. }) => None,
            Err(error) => return Err(error),
        };
        if present.as_ref().is_some_and(|present| present.store != from.store) {
            return Err(KeyError::OtherStore { data_dir: data_dir.display().to_string() });
        }
        // Use a version above all existing ones, so that no file is overwritten before the header is replaced.
        let mut version = present.map_or(0, |present| present.data_key_version).max(from.data_key_version);
        let databases = header::find_databases(data_dir)?;
        while databases.contains(&header::database_of(version + 1)) {
            version += 1;
        }
        Self::begin(from, version + 1, root_keys, data_dir).await
    }

    /// Begins a data key for a file that replaces a shared database. The recovery key of the database opens it too, or that
    /// of `present`, an earlier file of the same store.
    pub async fn begin_file(
        shared: &SharedKeys,
        present: Option<&Keys>,
        root_keys: &[RootKeySettings],
        data_dir: &Path,
    ) -> Result<Self, KeyError> {
        let status = shared.status();
        let mut header = Header::of_store(status.store, status.data_key_version);
        // Only its public key counts: the next data key is wrapped for it.
        let of_shared =
            shared.recovery_public_key().map(|key| key.wrap(&DataKey::random(), &header.context()));
        header.recovery =
            of_shared.or_else(|| present.and_then(|present| present.state().header.recovery.clone()));
        Self::begin_copy(&header, root_keys, data_dir).await
    }

    /// Identifies the header that [`Self::commit`] writes, as [`Keys::check_value`] does.
    pub fn check_value(&mut self) -> String {
        self.header.sign(&self.data_key);
        self.header.check().to_owned()
    }

    pub fn database_path(&self) -> PathBuf {
        self.data_dir.join(&self.header.database)
    }

    pub fn database_key(&self) -> DatabaseKey {
        DatabaseKey::of(&self.data_key)
    }

    pub fn store(&self) -> &str {
        &self.header.store
    }

    pub fn field_sealer(&self) -> FieldSealer {
        FieldSealer::new(&derivation::sealed_field_key(&self.data_key))
    }

    /// Replaces the header on disk. From then on, the new data key is in use.
    pub fn commit(mut self) -> Result<Self, KeyError> {
        self.header.sign(&self.data_key);
        self.header.replace(&self.data_dir)?;
        Ok(self)
    }
}

impl BackupKeys {
    /// Opens the header of a backup. `header_path` names its source in errors.
    pub async fn open(
        contents: &[u8],
        header_path: &str,
        opener: Opener<'_>,
        data_dir: &Path,
    ) -> Result<Self, KeyError> {
        let header = Header::parse(contents, header_path)?;
        let data_key = match opener {
            Opener::RootKeys(root_keys) => root::unwrap(&header, header_path, root_keys, data_dir).await?.0,
            Opener::Recovery(key) => recovery::open(&header, header_path, key)?,
        };
        Ok(Self { data_key, header })
    }

    pub fn header(&self) -> Vec<u8> {
        self.header.to_json()
    }

    pub fn database_key(&self) -> DatabaseKey {
        DatabaseKey::of_backup(&self.data_key)
    }

    /// Returns the sealer that was in use when the backup was made.
    pub fn field_sealer(&self) -> FieldSealer {
        FieldSealer::new(&derivation::sealed_field_key(&self.data_key))
    }

    /// The MAC of everything before the database in a backup.
    pub fn check(&self, text: &[u8]) -> [u8; 32] {
        derivation::backup_check(&self.data_key, text)
    }

    pub fn is_checked(&self, text: &[u8], check: &[u8]) -> bool {
        self.check(text).as_slice().ct_eq(check).into()
    }

    /// Creates a new data key for the backup's store in `data_dir`, which must be empty or hold the same store. Older
    /// tickets no longer open.
    pub async fn begin_restore(
        &self,
        data_dir: &Path,
        root_keys: &[RootKeySettings],
    ) -> Result<NextDataKey, KeyError> {
        NextDataKey::begin_copy(&self.header, root_keys, data_dir).await
    }

    pub fn store(&self) -> &str {
        &self.header.store
    }

    /// The recovery key's public part at the time of the backup.
    pub fn recovery_public_key(&self) -> Option<RecoveryPublicKey> {
        self.header.recovery.as_ref().map(RecoveryPublicKey::of)
    }
}

pub(super) fn previous_ticket_key(header: &Header, sealer: &FieldSealer) -> Option<Zeroizing<[u8; 32]>> {
    let previous = header.previous_ticket_key.as_ref()?;
    let opened = sealer.open(PREVIOUS_TICKET_KEY, &Sealed::from_store(previous.sealed.0.clone())).ok()?;
    Some(Zeroizing::new(opened.as_slice().try_into().ok()?))
}
