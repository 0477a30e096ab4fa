//! From an order to a served certificate. An order counts against the limit, and a certificate is stored before it is
//! checked.

use super::order::{self, Failure, Issued};
use super::renewal::RenewalTimes;
use super::{Acme, AcmeError, MOST_FAILED_ORDERS, Stored, WINDOW};
use crate::store::{BegunOrder, Lease};
use crate::tls::TlsError;
use crate::tls::chain::{CheckedChain, covers};

impl Acme {
    /// Serves the stored certificate, unless it is in use already. Keeps one that is not valid by the clock for the next check.
    pub(in crate::tls) async fn serve_stored(&self) -> Result<Stored, TlsError> {
        let (store, directory) = (&self.certificate_store, self.settings.directory.as_str());
        let Some((chain_pem, private_key)) = store.acme(directory).await? else {
            return Ok(Stored::NothingNew);
        };
        let obtained_at = store.store.find_obtained_at(directory).await?;
        let stored = Issued { names: Vec::new(), chain_pem, private_key, obtained_at };
        match stored.check(self.clock.now()) {
            Ok(chain) if self.resolver.chain().is_some_and(|served| served.key.cert == chain.key.cert) => {
                Ok(Stored::NothingNew)
            }
            Ok(chain) if self.settings.domains.iter().any(|domain| covers(&chain.names, domain)) => {
                self.resolver.serve_chain(chain);
                *self.times() = RenewalTimes::default();
                // Another member was faster.
                self.issued().take_if(|issued| issued.obtained_at < obtained_at);
                Ok(Stored::New)
            }
            Ok(_) => Ok(Stored::ForOtherNames),
            Err(error) => {
                if self.issued().is_none() {
                    tracing::warn!(%error, "the stored ACME certificate cannot be used");
                    *self.issued() = Some(stored);
                }
                Ok(Stored::Unusable)
            }
        }
    }

    /// Orders a certificate for `names`, stores it and serves it.
    pub(super) async fn obtain(&self, names: &[String], lease: &Lease) -> Result<(), TlsError> {
        let (now, directory) = (self.clock.now(), self.settings.directory.to_string());
        let begun = self.certificate_store.store.begin_order(now, MOST_FAILED_ORDERS, WINDOW, lease);
        let id = match begun.await? {
            BegunOrder::Begun(id) => id,
            BegunOrder::Spent { until } => return Err(AcmeError::Spent(until).into()),
            BegunOrder::Paused { until } => return Err(AcmeError::Paused(until).into()),
        };
        tracing::info!(names = names.join(" "), directory, "ordering a certificate");
        let ordered = self.order(names, lease).await;
        // Keep it in memory first, so that a later failure cannot lose it.
        let ordered = ordered.map(|issued| *self.issued() = Some(issued));
        if let Some(until) = self.directory.take_retry_after(self.clock.now()) {
            self.certificate_store.store.pause_orders(until).await?;
        }
        match ordered {
            Ok(()) => {}
            Err(failure) => {
                if failure.is_without_order {
                    self.certificate_store.store.release_order(id).await?;
                }
                if failure.is_without_account {
                    self.certificate_store.store.forget_acme_account(directory, lease).await?;
                }
                return Err(failure.error);
            }
        }
        self.certificate_store.store.settle_orders(directory, self.clock.now(), lease).await?;
        self.activate_issued(lease).await
    }

    async fn order(&self, names: &[String], lease: &Lease) -> Result<Issued, Failure> {
        let account = self.account(lease).await?;
        let served = self.resolver.chain().filter(|_| self.times().is_supported());
        let replaced = served.as_deref().and_then(CheckedChain::identifier);
        let ordered = order::order(&account, names, replaced, &self.resolver, lease).await?;
        Ok(Issued { obtained_at: Some(self.clock.now()), ..ordered })
    }

    /// Stores and serves the issued certificate. On failure, keeps it for the next check, because orders are limited.
    pub(super) async fn activate_issued(&self, lease: &Lease) -> Result<(), TlsError> {
        let Some(issued) = self.issued().take() else { return Ok(()) };
        match self.store_and_check(&issued, lease).await {
            Ok(chain) => {
                let (names, until) = (chain.names.join(" "), chain.not_after);
                self.resolver.serve_chain(chain);
                *self.times() = RenewalTimes::default();
                self.history.succeeded();
                tracing::info!(names, %until, "obtained a certificate");
                Ok(())
            }
            Err(error) => {
                *self.issued() = Some(issued);
                Err(error)
            }
        }
    }

    async fn store_and_check(&self, issued: &Issued, lease: &Lease) -> Result<CheckedChain, TlsError> {
        let (directory, pem) = (self.settings.directory.as_str(), issued.chain_pem.clone());
        self.certificate_store.save_acme(directory, pem, &issued.private_key, lease).await?;
        Ok(issued.check(self.clock.now())?)
    }
}
