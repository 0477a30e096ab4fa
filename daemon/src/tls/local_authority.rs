//! The daemon's own CA: its leaf certificate, renewal and rollover.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use infra_shared::clock::Clock;
use infra_shared::pin::Pin;
use jiff::{SignedDuration, Timestamp};
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use tokio::sync::Mutex;

use super::TlsError;
use super::issue::{Authority, Leaf};
use super::keep::{Keep, Next};
use crate::keys::FieldSealer;
use crate::store::Store;

/// The daemon's own CA (P-256, key sealed in the store) and the leaf that it issued.
pub struct LocalAuthority {
    names: Vec<String>,
    keep: Keep,
    clock: Arc<dyn Clock>,
    standing: RwLock<Standing>,
    /// Serialises changes.
    changing: Mutex<()>,
}

struct Standing {
    authority: Arc<Authority>,
    leaf: Leaf,
    key: Arc<CertifiedKey>,
    next: Option<Next>,
}

/// What [`LocalAuthority::tend`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tended {
    Nothing,
    RenewedLeaf,
    /// The next CA has taken over.
    Succeeded,
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
        let keep = Keep { store, sealer };
        let authority = if let Some(authority) = keep.authority()? {
            authority
        } else {
            let authority = Authority::create(clock.now())?;
            keep.save_authority(&authority).await?;
            authority
        };
        let good = |leaf: &Leaf| !leaf.is_due(clock.now()) && leaf.is_for(&names);
        let leaf = match keep.leaf()?.filter(good) {
            Some(leaf) => leaf,
            None => issue_and_keep(&authority, &names, clock.now(), &keep).await?,
        };
        let key = certified(&authority, &leaf)?;
        let next = keep.next()?;
        let standing = RwLock::new(Standing { authority: Arc::new(authority), leaf, key, next });
        let local = Self { names, keep, clock, standing, changing: Mutex::default() };
        // A takeover may have become due while the daemon was stopped.
        local.tend().await?;
        Ok(Arc::new(local))
    }

    /// The SHA-256 of the CA's public key, which users pin.
    pub fn pin(&self) -> Pin {
        self.read(|standing| standing.authority.pin())
    }

    /// The next CA's pin, and when it takes over.
    pub fn next(&self) -> Option<(Pin, Timestamp)> {
        self.read(|standing| standing.next.as_ref().map(|next| (next.authority.pin(), next.takeover_at)))
    }

    /// The CA certificate as PEM, for `--ca-file`.
    pub fn certificate_pem(&self) -> String {
        self.read(|standing| standing.authority.certificate_pem())
    }

    pub fn next_certificate_pem(&self) -> Option<String> {
        self.read(|standing| standing.next.as_ref().map(|next| next.authority.certificate_pem()))
    }

    pub fn leaf_expires_at(&self) -> Timestamp {
        self.read(|standing| standing.leaf.expires_at())
    }

    pub fn leaf_issued_at(&self) -> Timestamp {
        self.read(|standing| standing.leaf.issued_at())
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn authority(&self) -> Arc<Authority> {
        self.read(|standing| standing.authority.clone())
    }

    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        self.read(|standing| standing.key.clone())
    }

    /// Does what is due: switches to the next CA, or renews the leaf after two thirds of its lifetime.
    pub async fn tend(&self) -> Result<Tended, TlsError> {
        let now = self.clock.now();
        if self.next().is_some_and(|(_, takeover_at)| now >= takeover_at) {
            return Ok(if self.succeed().await? { Tended::Succeeded } else { Tended::Nothing });
        }
        if self.read(|standing| !standing.leaf.is_due(now)) {
            return Ok(Tended::Nothing);
        }
        self.renew_leaf().await?;
        Ok(Tended::RenewedLeaf)
    }

    /// Issues a new leaf now.
    pub async fn renew_leaf(&self) -> Result<(), TlsError> {
        let _turn = self.changing.lock().await;
        let authority = self.authority();
        let leaf = issue_and_keep(&authority, &self.names, self.clock.now(), &self.keep).await?;
        let key = certified(&authority, &leaf)?;
        self.write(|standing| (standing.leaf, standing.key) = (leaf, key));
        Ok(())
    }

    /// Creates a CA that takes over after `overlap`.
    ///
    /// With zero overlap it takes over at once, without an announcement to users who pinned the old CA. It replaces
    /// an announced CA only if `replaces` is set or `overlap` is zero.
    pub async fn rotate(&self, overlap: SignedDuration, replaces: bool) -> Result<(), TlsError> {
        let turn = self.changing.lock().await;
        if let Some((pin, takeover_at)) = self.next().filter(|_| !replaces && !overlap.is_zero()) {
            return Err(TlsError::AlreadyAnnounced { pin, takeover_at });
        }
        let authority = Authority::create(self.clock.now())?;
        let takeover_at = self.clock.now().checked_add(overlap).unwrap_or(Timestamp::MAX);
        self.keep.save_next(&authority, takeover_at).await?;
        self.write(|standing| standing.next = Some(Next { authority, takeover_at }));
        drop(turn);
        self.tend().await.map(|_| ())
    }

    /// Returns whether the next CA took over.
    async fn succeed(&self) -> Result<bool, TlsError> {
        let _turn = self.changing.lock().await;
        // Another CA with another takeover time may have been announced while this waited for the lock.
        let due = |next: &Next| self.clock.now() >= next.takeover_at;
        let Some(next) = self.keep.next()?.filter(due) else { return Ok(false) };
        let leaf = next.authority.issue(&self.names, self.clock.now())?;
        let key = certified(&next.authority, &leaf)?;
        self.keep.replace_authority(&next.authority, &leaf).await?;
        self.write(|standing| {
            *standing = Standing { authority: Arc::new(next.authority), leaf, key, next: None };
        });
        Ok(true)
    }

    fn read<T>(&self, look: impl FnOnce(&Standing) -> T) -> T {
        look(&self.standing.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Stores the leaf before it is used, so that a restart continues with it.
async fn issue_and_keep(
    authority: &Authority,
    names: &[String],
    now: Timestamp,
    keep: &Keep,
) -> Result<Leaf, TlsError> {
    let leaf = authority.issue(names, now)?;
    keep.save_leaf(&leaf).await?;
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
