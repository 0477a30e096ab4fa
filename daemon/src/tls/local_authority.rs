//! The daemon's own CA: its leaf certificate, renewal and rollover.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use infra_shared::clock::Clock;
use infra_shared::pin::Pin;
use jiff::{SignedDuration, Timestamp};
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use tokio::sync::Mutex;

use super::TlsError;
use super::certificate_store::{CertificateStore, Next};
use super::issue::{Authority, Leaf};
use crate::keys::FieldSealer;
use crate::store::{Job, Lease, Store, StoreError};

/// How often a start looks for a CA that another member creates: for longer than a lease lasts.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_secs(1);

/// The daemon's own CA (P-256, key sealed in the store) and the leaf that it issued.
pub struct LocalAuthority {
    names: Vec<String>,
    certificate_store: CertificateStore,
    clock: Arc<dyn Clock>,
    current: RwLock<CurrentState>,
    changing: Mutex<()>,
}

struct CurrentState {
    authority: Arc<Authority>,
    leaf: Leaf,
    key: Arc<CertifiedKey>,
    next: Option<Next>,
}

/// What [`LocalAuthority::maintain`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maintenance {
    Nothing,
    RenewedLeaf,
    /// The next CA has taken over.
    TookOver,
}

impl LocalAuthority {
    /// Loads or creates the CA, and issues a leaf for `names` if there is no valid one. `names` are DNS names and IP
    /// addresses without brackets.
    pub async fn load_or_create(
        store: Store,
        sealer: FieldSealer,
        clock: Arc<dyn Clock>,
        names: Vec<String>,
    ) -> Result<Arc<Self>, TlsError> {
        let certificate_store = CertificateStore { store, sealer };
        let (authority, next) = load_or_create(&certificate_store, clock.now()).await?;
        let good = |leaf: &Leaf| !leaf.is_due(clock.now()) && leaf.is_for(&names);
        let leaf = match certificate_store.leaf().await?.filter(good) {
            Some(leaf) => leaf,
            None => issue_and_store(&authority, &names, clock.now(), &certificate_store).await?,
        };
        let key = certified(&authority, &leaf)?;
        let current = RwLock::new(CurrentState { authority: Arc::new(authority), leaf, key, next });
        let local = Self { names, certificate_store, clock, current, changing: Mutex::default() };
        // A takeover may have become due while the daemon was stopped.
        local.maintain().await?;
        Ok(Arc::new(local))
    }

    /// The SHA-256 of the CA's public key, which users pin.
    pub fn pin(&self) -> Pin {
        self.read(|current| current.authority.pin())
    }

    /// The next CA's pin, and when it takes over.
    pub fn next(&self) -> Option<(Pin, Timestamp)> {
        self.read(|current| current.next.as_ref().map(|next| (next.authority.pin(), next.takeover_at)))
    }

    /// The CA certificate as PEM, for `--ca-file`.
    pub fn certificate_pem(&self) -> String {
        self.read(|current| current.authority.certificate_pem())
    }

    pub fn next_certificate_pem(&self) -> Option<String> {
        self.read(|current| current.next.as_ref().map(|next| next.authority.certificate_pem()))
    }

    pub fn leaf_expires_at(&self) -> Timestamp {
        self.read(|current| current.leaf.expires_at())
    }

    pub fn leaf_issued_at(&self) -> Timestamp {
        self.read(|current| current.leaf.issued_at())
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn authority(&self) -> Arc<Authority> {
        self.read(|current| current.authority.clone())
    }

    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        self.read(|current| current.key.clone())
    }

    /// Does what is due: switches to the next CA, or renews the leaf after two thirds of its lifetime.
    pub async fn maintain(&self) -> Result<Maintenance, TlsError> {
        let now = self.clock.now();
        if self.next().is_some_and(|(_, takeover_at)| now >= takeover_at) {
            return Ok(if self.take_over().await? { Maintenance::TookOver } else { Maintenance::Nothing });
        }
        if self.read(|current| !current.leaf.is_due(now)) {
            return Ok(Maintenance::Nothing);
        }
        self.renew_leaf().await?;
        Ok(Maintenance::RenewedLeaf)
    }

    /// Issues a new leaf now.
    pub async fn renew_leaf(&self) -> Result<(), TlsError> {
        let _guard = self.changing.lock().await;
        let authority = self.authority();
        let leaf =
            issue_and_store(&authority, &self.names, self.clock.now(), &self.certificate_store).await?;
        let key = certified(&authority, &leaf)?;
        self.write(|current| (current.leaf, current.key) = (leaf, key));
        Ok(())
    }

    /// Creates a CA that takes over after `overlap`.
    ///
    /// With zero overlap it takes over at once, without an announcement to users who pinned the old CA. It replaces
    /// an announced CA only if `replaces` is set or `overlap` is zero.
    pub async fn rotate(&self, overlap: SignedDuration, replaces: bool) -> Result<(), TlsError> {
        let guard = self.changing.lock().await;
        let lease = self.certificate_store.store.expect_lease(Job::Authority).await?;
        let announced = self.announce_under(&lease, overlap, replaces).await;
        self.certificate_store.store.end_lease(lease).await;
        drop(guard);
        announced?;
        self.maintain().await.map(|_| ())
    }

    async fn announce_under(
        &self,
        lease: &Lease,
        overlap: SignedDuration,
        replaces: bool,
    ) -> Result<(), TlsError> {
        // Another member may have announced a CA.
        match self.read_again().await {
            // Stores the CA of this member, too.
            Err(error) if error.is_lost_authority() => {
                tracing::error!(%error, "storing this daemon's CA again");
            }
            read => {
                read?;
            }
        }
        if let Some((pin, takeover_at)) = self.next().filter(|_| !replaces && !overlap.is_zero()) {
            return Err(TlsError::AlreadyAnnounced { pin, takeover_at });
        }
        let authority = Authority::create(self.clock.now())?;
        let takeover_at = self.clock.now().checked_add(overlap).unwrap_or(Timestamp::MAX);
        // The store keeps milliseconds, and every member must have the same time.
        let takeover_at = Timestamp::from_millisecond(takeover_at.as_millisecond()).unwrap_or(takeover_at);
        let next = Next { authority, takeover_at };
        let rows =
            self.read(|current| self.certificate_store.authority_rows(&current.authority, Some(&next)));
        self.certificate_store.save_authorities(rows, None, lease).await?;
        self.write(|current| current.next = Some(next));
        Ok(())
    }

    /// Returns whether another CA is in use now.
    async fn take_over(&self) -> Result<bool, TlsError> {
        let _guard = self.changing.lock().await;
        // Another member that holds the lease does the same.
        let Some(lease) = self.certificate_store.store.take_lease(Job::Authority).await? else {
            return Ok(false);
        };
        let taken_over = self.take_over_under(&lease).await;
        self.certificate_store.store.end_lease(lease).await;
        taken_over
    }

    async fn take_over_under(&self, lease: &Lease) -> Result<bool, TlsError> {
        // Another CA with another takeover time may have been announced while this waited for the lock, or another member may
        // have switched to the next CA.
        let due = |next: &Next| self.clock.now() >= next.takeover_at;
        let (_, next) = self.certificate_store.authorities().await?;
        let Some(next) = next.filter(due) else { return self.read_again().await };
        let leaf = next.authority.issue(&self.names, self.clock.now())?;
        let key = certified(&next.authority, &leaf)?;
        let rows = self.certificate_store.authority_rows(&next.authority, None);
        self.certificate_store.save_authorities(rows, Some(&leaf), lease).await?;
        self.write(|current| {
            *current = CurrentState { authority: Arc::new(next.authority), leaf, key, next: None };
        });
        Ok(true)
    }

    /// Reads the CAs from the store, because another member may have changed them. Returns whether anything changed. Stores
    /// those of this member again if the store has lost them, and fails all the same.
    pub(super) async fn reload(&self) -> Result<bool, TlsError> {
        let _guard = self.changing.lock().await;
        let before = self.next();
        let read = self.read_again().await;
        if read.as_ref().is_err_and(TlsError::is_lost_authority) {
            self.put_back().await?;
        }
        Ok(read? || self.next() != before)
    }

    /// The caller holds the lock. Does nothing while another member changes the CAs.
    async fn put_back(&self) -> Result<(), TlsError> {
        let store = &self.certificate_store.store;
        let Some(lease) = store.take_lease(Job::Authority).await? else { return Ok(()) };
        let put_back = store.put_back_authorities(&lease).await;
        store.end_lease(lease).await;
        Ok(put_back?)
    }

    /// Returns whether another CA is in use now. The caller holds the lock.
    async fn read_again(&self) -> Result<bool, TlsError> {
        let (stored, next) = self.certificate_store.authorities().await?;
        let Some(authority) = stored.filter(|stored| stored.pin() != self.pin()) else {
            self.write(|current| current.next = next);
            return Ok(false);
        };
        let leaf = authority.issue(&self.names, self.clock.now())?;
        let key = certified(&authority, &leaf)?;
        self.certificate_store.save_leaf(&leaf).await?;
        self.write(|current| *current = CurrentState { authority: Arc::new(authority), leaf, key, next });
        Ok(true)
    }

    fn read<T>(&self, look: impl FnOnce(&CurrentState) -> T) -> T {
        look(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut CurrentState)) {
        change(&mut self.current.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Loads the CA and the next one. Creates the CA, or waits until a member that starts at the same time has created it.
async fn load_or_create(
    certificate_store: &CertificateStore,
    now: Timestamp,
) -> Result<(Authority, Option<Next>), TlsError> {
    for _ in 0..ATTEMPTS {
        if let (Some(authority), next) = certificate_store.authorities().await? {
            return Ok((authority, next));
        }
        if let Some(lease) = certificate_store.store.take_lease(Job::Authority).await? {
            let created = create_under(&lease, certificate_store, now).await;
            certificate_store.store.end_lease(lease).await;
            return created;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(StoreError::Busy.into())
}

async fn create_under(
    lease: &Lease,
    certificate_store: &CertificateStore,
    now: Timestamp,
) -> Result<(Authority, Option<Next>), TlsError> {
    if let (Some(authority), next) = certificate_store.authorities().await? {
        return Ok((authority, next));
    }
    let authority = Authority::create(now)?;
    let rows = certificate_store.authority_rows(&authority, None);
    certificate_store.save_authorities(rows, None, lease).await?;
    Ok((authority, None))
}

async fn issue_and_store(
    authority: &Authority,
    names: &[String],
    now: Timestamp,
    certificate_store: &CertificateStore,
) -> Result<Leaf, TlsError> {
    let leaf = authority.issue(names, now)?;
    certificate_store.save_leaf(&leaf).await?;
    Ok(leaf)
}

/// The chain includes the CA certificate, because clients pin it.
fn certified(authority: &Authority, leaf: &Leaf) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = vec![leaf.certificate().clone(), authority.certificate().clone()];
    Ok(Arc::new(CertifiedKey::from_der(chain, leaf.private_key(), &aws_lc_rs::default_provider())?))
}

impl fmt::Debug for LocalAuthority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LocalAuthority").field("pin", &self.pin()).finish_non_exhaustive()
    }
}
