//! Which key signs at a time, and which keys are published.
//!
//! A key is published for a day before it signs, so that services have it by then. A replaced key stays published until
//! its last token has expired everywhere.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use infra_shared::api::expose;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::signing_key::{Algorithm, SigningKey};

/// How long a key signs.
const PERIOD: SignedDuration = SignedDuration::from_hours(30 * 24);
/// How long a key is published before it signs.
const NOTICE: SignedDuration = SignedDuration::from_hours(24);
/// How long a key stays published after another one has replaced it: far longer than a token and the error of a clock.
const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// The keys in the order in which they sign. Never empty.
pub(super) struct KeySet {
    /// Grows with each change.
    number: i64,
    keys: Vec<Arc<ScheduledKey>>,
}

pub(super) struct ScheduledKey {
    pub(super) key: SigningKey,
    pub(super) created_at: Timestamp,
    pub(super) signs_from: Timestamp,
}

/// The contents of the sealed row.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredSet {
    number: i64,
    keys: Vec<StoredKey>,
}

/// Times are in seconds. The key is PKCS #8 in Base64.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredKey {
    algorithm: Algorithm,
    #[serde(serialize_with = "expose")]
    private_key: SecretString,
    created_at: i64,
    signs_from: i64,
}

impl KeySet {
    /// The first keys of a store. No service has earlier ones, so this one signs at once.
    pub(super) fn first(algorithm: Algorithm, now: Timestamp) -> Self {
        Self { number: next_number(0, now), keys: vec![ScheduledKey::create(algorithm, now, now)] }
    }

    /// Reads the contents of the row. `None` if infrad did not write them.
    pub(super) fn parse(contents: &[u8]) -> Option<Self> {
        let StoredSet { number, keys } = serde_json::from_slice(contents).ok()?;
        let keys: Vec<_> = keys.iter().map(ScheduledKey::read).collect::<Option<_>>()?;
        (!keys.is_empty() && keys.is_sorted_by_key(|key| key.signs_from)).then_some(Self { number, keys })
    }

    /// The contents of the row, to be sealed.
    pub(super) fn contents(&self) -> Zeroizing<Vec<u8>> {
        let keys = self.keys.iter().map(|key| key.written()).collect();
        let stored = StoredSet { number: self.number, keys };
        Zeroizing::new(serde_json::to_vec(&stored).expect("texts and numbers are JSON"))
    }

    pub(super) fn number(&self) -> i64 {
        self.number
    }

    /// The key that signs at `now`: the last whose time has come.
    pub(super) fn signing(&self, now: Timestamp) -> &ScheduledKey {
        let begun = self.keys.iter().rev().find(|key| key.signs_from <= now);
        begun.or(self.keys.first()).expect("there is always a key")
    }

    /// The key that is published and does not sign yet.
    pub(super) fn next(&self, now: Timestamp) -> Option<&ScheduledKey> {
        self.keys.iter().map(Arc::as_ref).find(|key| key.signs_from > now)
    }

    /// The keys whose tokens are valid at `now`, and the next one.
    pub(super) fn published(&self, now: Timestamp) -> impl Iterator<Item = &ScheduledKey> {
        self.kept(now).iter().map(Arc::as_ref)
    }

    fn kept(&self, now: Timestamp) -> &[Arc<ScheduledKey>] {
        let is_over = |key: &&Arc<ScheduledKey>| later(key.signs_from, KEPT) <= now;
        // Each key is over with the one that replaced it.
        let over = self.keys.iter().skip(1).take_while(is_over).count();
        self.keys.get(over..).unwrap_or_default()
    }

    /// The keys after the work that is due at `now`: without those that are over, and with the next one. `None` if nothing is
    /// due.
    pub(super) fn maintained(&self, algorithm: Algorithm, now: Timestamp) -> Option<Self> {
        let signing = self.signing(now);
        let is_due =
            signing.key.algorithm() != algorithm || later(signing.signs_from, PERIOD - NOTICE) <= now;
        if is_due && let Some(announced) = self.announced(algorithm, now) {
            return Some(announced);
        }
        let kept = self.kept(now);
        (kept.len() < self.keys.len()).then(|| self.changed(kept.to_vec(), now))
    }

    /// The keys with a new one that signs after the notice. `None` if there is a next one already.
    pub(super) fn announced(&self, algorithm: Algorithm, now: Timestamp) -> Option<Self> {
        if self.next(now).is_some() {
            return None;
        }
        let next = ScheduledKey::create(algorithm, now, later(now, NOTICE));
        let keys = self.kept(now).iter().cloned().chain([next]).collect();
        Some(self.changed(keys, now))
    }

    /// A new key alone, which signs at once. No earlier token is valid any longer.
    pub(super) fn replaced(&self, algorithm: Algorithm, now: Timestamp) -> Self {
        self.changed(vec![ScheduledKey::create(algorithm, now, now)], now)
    }

    fn changed(&self, keys: Vec<Arc<ScheduledKey>>, now: Timestamp) -> Self {
        Self { number: next_number(self.number, now), keys }
    }
}

impl ScheduledKey {
    fn create(algorithm: Algorithm, created_at: Timestamp, signs_from: Timestamp) -> Arc<Self> {
        // As the row has them.
        let [created_at, signs_from] = [created_at, signs_from].map(|moment| {
            Timestamp::from_second(moment.as_second()).expect("a time without its fraction is a time")
        });
        Arc::new(Self { key: SigningKey::generate(algorithm), created_at, signs_from })
    }

    fn read(stored: &StoredKey) -> Option<Arc<Self>> {
        let private_key = BASE64_STANDARD.decode(stored.private_key.expose_secret()).ok()?;
        let private_key = Zeroizing::new(private_key);
        Some(Arc::new(Self {
            key: SigningKey::from_pkcs8(stored.algorithm, &private_key)?,
            created_at: Timestamp::from_second(stored.created_at).ok()?,
            signs_from: Timestamp::from_second(stored.signs_from).ok()?,
        }))
    }

    fn written(&self) -> StoredKey {
        StoredKey {
            algorithm: self.key.algorithm(),
            private_key: BASE64_STANDARD.encode(self.key.private_key()).into(),
            created_at: self.created_at.as_second(),
            signs_from: self.signs_from.as_second(),
        }
    }
}

/// Higher than `before`, and at least the time in seconds, so that keys after a restored backup have a number of their own.
fn next_number(before: i64, now: Timestamp) -> i64 {
    before.saturating_add(1).max(now.as_second())
}

/// `moment` + `duration`, capped at the maximum timestamp.
fn later(moment: Timestamp, duration: SignedDuration) -> Timestamp {
    moment.checked_add(duration).unwrap_or(Timestamp::MAX)
}
