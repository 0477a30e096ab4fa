//! The keys in the store, which all members share: created, rotated, and followed by each member.
//!
//! The row has a number that grows with each change. A member that finds an earlier row than it has seen stores its own again:
//! an attacker with write access to the table may have put it back, or the database has lost commits.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use infra_shared::clock::Clock;
use infra_shared::token_text::SignedToken;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::claims::{self, NewToken, VerifiedToken};
use super::key_set::{KeySet, ScheduledKey};
use super::{Algorithm, JwtSettings};
use crate::audit::{Audit, Event};
use crate::keys::FieldSealer;
use crate::store::{Job, Lease, Store, StoreError};

/// How often a start looks for the keys that another member creates: for longer than a lease lasts.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_secs(1);

/// Names in the audit log.
const ANNOUNCE: &str = "announce_token_key";
const REPLACE: &str = "replace_token_keys";

/// The keys that sign audience tokens. A start creates the first one.
pub struct TokenKeys {
    settings: JwtSettings,
    stored: StoredKeys,
    clock: Arc<dyn Clock>,
    audit: Audit,
    current: RwLock<Arc<KeySet>>,
    changing: Mutex<()>,
}

/// A key for operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenKeyState {
    /// The `kid`.
    pub id: String,
    pub algorithm: Algorithm,
    pub created_at: Timestamp,
    pub signs_from: Timestamp,
    /// Whether it signs now. The keys after it are the next ones, those before it are published for their last tokens.
    pub is_signing: bool,
}

struct StoredKeys {
    store: Store,
    sealer: FieldSealer,
}

/// The row in the store.
enum StoredRow {
    Missing,
    /// infrad did not write it like this.
    Changed,
    Keys(KeySet),
}

impl TokenKeys {
    /// Loads the keys, or creates the first one.
    pub async fn open(
        settings: JwtSettings,
        store: Store,
        sealer: FieldSealer,
        clock: Arc<dyn Clock>,
        audit: Audit,
    ) -> Result<Arc<Self>, StoreError> {
        let stored = StoredKeys { store, sealer };
        let current = RwLock::new(Arc::new(stored.load_or_create(settings.algorithm, &*clock).await?));
        Ok(Arc::new(Self { settings, stored, clock, audit, current, changing: Mutex::default() }))
    }

    /// Signs a token with the key of this time.
    pub fn sign(&self, new: &NewToken<'_>) -> SignedToken {
        let keys = self.current();
        claims::sign(&keys.signing(self.clock.now()).key, &self.settings.issuer, new)
    }

    /// Verifies the signature and the issuer of a token. Its audience, its expiry and its session are for the caller to check.
    pub fn verify(&self, text: &str) -> Option<VerifiedToken> {
        let keys = self.current();
        let published = keys.published(self.clock.now()).map(|scheduled| &scheduled.key);
        claims::verify(text, &self.settings.issuer, published)
    }

    pub fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    /// The public keys as a JSON Web Key Set (RFC 7517 §5).
    pub fn public_keys(&self) -> Value {
        let keys = self.current();
        let published = keys.published(self.clock.now()).map(|scheduled| scheduled.key.public().clone());
        json!({ "keys": published.collect::<Vec<_>>() })
    }

    /// The algorithms of the published keys.
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let keys = self.current();
        let mut algorithms = Vec::new();
        for scheduled in keys.published(self.clock.now()) {
            if !algorithms.contains(&scheduled.key.algorithm()) {
                algorithms.push(scheduled.key.algorithm());
            }
        }
        algorithms
    }

    /// The published keys, in the order in which they sign.
    pub fn states(&self) -> Vec<TokenKeyState> {
        let (keys, now) = (self.current(), self.clock.now());
        let signing = keys.signing(now).key.id();
        let state = |ScheduledKey { key, created_at, signs_from }: &ScheduledKey| TokenKeyState {
            id: key.id().to_owned(),
            algorithm: key.algorithm(),
            created_at: *created_at,
            signs_from: *signs_from,
            is_signing: key.id() == signing,
        };
        keys.published(now).map(state).collect()
    }

    /// Follows what other members changed, and does what is due: announces the next key, and drops those that are over.
    pub async fn maintain(&self) -> Result<(), StoreError> {
        let _guard = self.changing.lock().await;
        self.follow().await?;
        if self.maintained().is_none() {
            return Ok(());
        }
        // Another member that holds the lease does the same.
        let Some(lease) = self.stored.store.take_lease(Job::TokenKeys).await? else { return Ok(()) };
        let changed = self.maintain_under(&lease).await;
        self.stored.store.end_lease(lease).await;
        changed
    }

    async fn maintain_under(&self, lease: &Lease) -> Result<(), StoreError> {
        // Another member may have done it meanwhile.
        self.follow_under(lease).await?;
        let Some(keys) = self.maintained() else { return Ok(()) };
        let is_announced = keys.next(self.clock.now()).is_some() && !self.has_next();
        self.save(keys, lease).await?;
        if is_announced {
            self.record(ANNOUNCE, true);
            tracing::info!("published the next key that signs audience tokens");
        }
        Ok(())
    }

    /// Publishes a key that signs after a day. Does nothing if there is a next key already.
    pub async fn announce(&self) -> Result<(), StoreError> {
        let announced = |keys: &KeySet| keys.announced(self.settings.algorithm, self.clock.now());
        self.change(ANNOUNCE, announced).await
    }

    /// Replaces all keys by one that signs at once. No earlier token is valid any longer.
    pub async fn replace(&self) -> Result<(), StoreError> {
        let replaced = |keys: &KeySet| Some(keys.replaced(self.settings.algorithm, self.clock.now()));
        self.change(REPLACE, replaced).await
    }

    async fn change(
        &self,
        operation: &str,
        change: impl Fn(&KeySet) -> Option<KeySet> + Send + Sync,
    ) -> Result<(), StoreError> {
        let _guard = self.changing.lock().await;
        let lease = self.stored.store.expect_lease(Job::TokenKeys).await?;
        let changed = self.change_under(&lease, change).await;
        self.stored.store.end_lease(lease).await;
        if !matches!(changed, Ok(false)) {
            self.record(operation, changed.is_ok());
        }
        changed.map(drop)
    }

    /// Returns whether anything changed.
    async fn change_under(
        &self,
        lease: &Lease,
        change: impl Fn(&KeySet) -> Option<KeySet> + Send + Sync,
    ) -> Result<bool, StoreError> {
        self.follow_under(lease).await?;
        let Some(keys) = change(&self.current()) else { return Ok(false) };
        self.save(keys, lease).await?;
        Ok(true)
    }

    /// Reads the row. The caller holds the lock.
    async fn follow(&self) -> Result<(), StoreError> {
        if self.adopt_stored().await? {
            return Ok(());
        }
        let Some(lease) = self.stored.store.take_lease(Job::TokenKeys).await? else { return Ok(()) };
        let followed = self.follow_under(&lease).await;
        self.stored.store.end_lease(lease).await;
        followed
    }

    /// Reads the row, and stores the keys of this member again if it is missing or an earlier one.
    async fn follow_under(&self, lease: &Lease) -> Result<(), StoreError> {
        if self.adopt_stored().await? {
            return Ok(());
        }
        tracing::error!(
            "the row of the keys that sign audience tokens was deleted, changed or replaced by an earlier one: storing it again"
        );
        self.stored.save(&self.current(), lease).await
    }

    /// Returns whether the row may follow what this member knows.
    async fn adopt_stored(&self) -> Result<bool, StoreError> {
        match self.stored.read().await? {
            StoredRow::Keys(found) if found.number() > self.current().number() => {
                self.adopt(found);
                Ok(true)
            }
            StoredRow::Keys(found) => Ok(found.number() == self.current().number()),
            StoredRow::Missing | StoredRow::Changed => Ok(false),
        }
    }

    async fn save(&self, keys: KeySet, lease: &Lease) -> Result<(), StoreError> {
        self.stored.save(&keys, lease).await?;
        self.adopt(keys);
        Ok(())
    }

    fn maintained(&self) -> Option<KeySet> {
        self.current().maintained(self.settings.algorithm, self.clock.now())
    }

    fn has_next(&self) -> bool {
        self.current().next(self.clock.now()).is_some()
    }

    fn adopt(&self, keys: KeySet) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    fn current(&self) -> Arc<KeySet> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record(&self, operation: &str, succeeded: bool) {
        let outcome = if succeeded { "succeeded" } else { "failed" };
        self.audit.record(&Event::KeyOperation { operation, outcome });
    }
}

impl StoredKeys {
    async fn read(&self) -> Result<StoredRow, StoreError> {
        match self.store.find_token_keys(&self.sealer).await {
            Ok(Some(contents)) => Ok(KeySet::parse(&contents).map_or(StoredRow::Changed, StoredRow::Keys)),
            Ok(None) => Ok(StoredRow::Missing),
            Err(StoreError::UnexpectedRow(_)) => Ok(StoredRow::Changed),
            Err(error) => Err(error),
        }
    }

    async fn save(&self, keys: &KeySet, lease: &Lease) -> Result<(), StoreError> {
        self.store.save_token_keys(&keys.contents(), &self.sealer, lease).await
    }

    /// Loads the keys. Creates the first one, or waits until a member that starts at the same time has created it.
    async fn load_or_create(&self, algorithm: Algorithm, clock: &dyn Clock) -> Result<KeySet, StoreError> {
        for _ in 0..ATTEMPTS {
            if let StoredRow::Keys(keys) = self.read().await? {
                return Ok(keys);
            }
            if let Some(lease) = self.store.take_lease(Job::TokenKeys).await? {
                let created = self.create_under(&lease, algorithm, clock).await;
                self.store.end_lease(lease).await;
                return created;
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(StoreError::Busy)
    }

    async fn create_under(
        &self,
        lease: &Lease,
        algorithm: Algorithm,
        clock: &dyn Clock,
    ) -> Result<KeySet, StoreError> {
        let found = match self.read().await? {
            StoredRow::Keys(keys) => return Ok(keys),
            found => found,
        };
        let keys = KeySet::first(algorithm, clock.now());
        self.save(&keys, lease).await?;
        if matches!(found, StoredRow::Changed) {
            tracing::warn!(
                "the row of the keys that sign audience tokens was changed: created another key, and earlier signed tokens are \
                 invalid"
            );
        } else {
            tracing::info!("created the first key that signs audience tokens");
        }
        Ok(keys)
    }
}
