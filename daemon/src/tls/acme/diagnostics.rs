//! Tests what an order needs without making one: the directory, the external account's key, the names.

use std::sync::Arc;

use super::account::external_key;
use super::authority::Directory;
use super::{AcmeSettings, self_check};
use crate::tls::TlsError;

/// A test and its result.
pub struct AcmeCheck {
    pub what: String,
    pub outcome: Result<(), TlsError>,
}

impl AcmeSettings {
    /// Fetches the directory, reads the external account's key, and resolves the names.
    pub async fn diagnose(&self) -> Vec<AcmeCheck> {
        let mut checks = Vec::new();
        let directory = Directory::new(self).map_err(super::AcmeError::from);
        let outcome = match directory {
            Ok(directory) => Arc::new(directory).fetch().await.map_err(TlsError::from),
            Err(error) => Err(error.into()),
        };
        checks.push(AcmeCheck { what: format!("ACME directory {}", self.directory), outcome });
        if let Some(external) = &self.external_account {
            let outcome = external_key(external).await.map(drop);
            checks.push(AcmeCheck { what: "external account's key".to_owned(), outcome });
        }
        for domain in &self.domains {
            let outcome = self_check::addresses_of(domain, self.validation_port).await.map(drop);
            let outcome =
                outcome.map_err(|cause| super::AcmeError::NotReached(format!("{domain}: {cause}")).into());
            checks.push(AcmeCheck { what: format!("DNS of {domain}"), outcome });
        }
        checks
    }
}
