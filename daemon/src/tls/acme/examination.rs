//! Tests what an order needs without making one: the directory, the external account's key, the names.

use std::sync::Arc;

use super::account::external_key;
use super::authority::Directory;
use super::{AcmeSettings, self_check};
use crate::tls::TlsError;

/// A test and its result.
pub struct Examined {
    pub what: String,
    pub outcome: Result<(), TlsError>,
}

impl AcmeSettings {
    /// Fetches the directory, reads the external account's key, and resolves the names.
    pub async fn examine(&self) -> Vec<Examined> {
        let mut examined = Vec::new();
        let directory = Directory::new(self).map_err(super::AcmeError::from);
        let outcome = match directory {
            Ok(directory) => Arc::new(directory).fetch().await.map_err(TlsError::from),
            Err(error) => Err(error.into()),
        };
        examined.push(Examined { what: format!("ACME directory {}", self.directory), outcome });
        if let Some(external) = &self.external_account {
            let outcome = external_key(external).await.map(drop);
            examined.push(Examined { what: "external account's key".to_owned(), outcome });
        }
        for domain in &self.domains {
            let outcome = self_check::addresses_of(domain, self.validation_port).await.map(drop);
            let outcome =
                outcome.map_err(|cause| super::AcmeError::NotReached(format!("{domain}: {cause}")).into());
            examined.push(Examined { what: format!("DNS of {domain}"), outcome });
        }
        examined
    }
}
