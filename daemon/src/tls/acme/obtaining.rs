//! From an order to a served certificate. An order counts against the limit, and a certificate is stored before it is
//! checked.

use super::order::{self, Failure, Issued};
use super::renewal::RenewalTimes;
use super::{Acme, AcmeError, MOST_FAILED_ORDERS, WINDOW};
use crate::store::BegunOrder;
use crate::tls::TlsError;
use crate::tls::chain::CheckedChain;

impl Acme {
    /// Orders a certificate for `names`, stores it and serves it.
    pub(super) async fn obtain(&self, names: &[String]) -> Result<(), TlsError> {
        let (now, directory) = (self.clock.now(), self.settings.directory.to_string());
        let id = match self.certificate_store.store.begin_order(now, MOST_FAILED_ORDERS, WINDOW).await? {
            BegunOrder::Begun(id) => id,
            BegunOrder::Spent { until } => return Err(AcmeError::Spent(until).into()),
            BegunOrder::Paused { until } => return Err(AcmeError::Paused(until).into()),
        };
        tracing::info!(names = names.join(" "), directory, "ordering a certificate");
        let ordered = self.order(names).await;
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
                    self.certificate_store.store.forget_acme_account(directory).await?;
                }
                return Err(failure.error);
            }
        }
        self.certificate_store.store.settle_orders(directory, self.clock.now()).await?;
        self.activate_issued().await
    }

    async fn order(&self, names: &[String]) -> Result<Issued, Failure> {
        let account = self.account().await?;
        let served = self.resolver.chain().filter(|_| self.times().is_supported());
        let replaced = served.as_deref().and_then(CheckedChain::identifier);
        let ordered = order::order(&account, names, replaced, &self.resolver).await?;
        Ok(Issued { obtained_at: Some(self.clock.now()), ..ordered })
    }

    /// Stores and serves the issued certificate. On failure, keeps it for the next check, because orders are limited.
    pub(super) async fn activate_issued(&self) -> Result<(), TlsError> {
        let Some(issued) = self.issued().take() else { return Ok(()) };
        match self.store_and_check(&issued).await {
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

    async fn store_and_check(&self, issued: &Issued) -> Result<CheckedChain, TlsError> {
        let directory = self.settings.directory.as_str();
        self.certificate_store.save_acme(directory, issued.chain_pem.clone(), &issued.private_key).await?;
        Ok(issued.check(self.clock.now())?)
    }
}
