//! The ACME account: created once and stored sealed.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::authority::AuthorityError;
use super::nonces::with_nonces;
use super::order::Failure;
use super::{Acme, AcmeError, ExternalAccount};
use crate::keys::Place;
use crate::secrets::Backends;
use crate::store::Lease;
use crate::tls::TlsError;

/// The sealed content.
#[derive(Serialize, Deserialize)]
struct StoredAccount {
    credentials: AccountCredentials,
    contact: Vec<String>,
    /// The external account that it is bound to.
    external_account: Option<String>,
}

impl Acme {
    /// Returns the account and creates it if needed. Agrees to the authority's terms of service, as the README and
    /// `docs/https.md` state.
    pub(super) async fn account(&self, lease: &Lease) -> Result<Account, Failure> {
        let external = self.settings.external_account.as_ref();
        match self.load_account().await? {
            Some(kept) if kept.external_account.as_ref() == external.map(|external| &external.key_id) => {
                let is_contact_new = kept.contact != self.settings.contact;
                let builder = Account::builder_with_http(self.directory.transport());
                let account = builder.from_credentials(kept.credentials).await.map_err(unordered)?;
                if is_contact_new {
                    self.change_contact(&account, lease).await?;
                }
                Ok(account)
            }
            _ => self.create_account(external, lease).await,
        }
    }

    /// A creation that may have succeeded counts as a failed order, because authorities limit new accounts.
    async fn create_account(
        &self,
        external: Option<&ExternalAccount>,
        lease: &Lease,
    ) -> Result<Account, Failure> {
        let contact: Vec<&str> = self.settings.contact.iter().map(String::as_str).collect();
        let account =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let key = match external {
            Some(external) => Some(external_key(external).await?),
            None => None,
        };
        let directory = self.settings.directory.to_string();
        let builder = || Account::builder_with_http(self.directory.transport());
        let (account, credentials) =
            with_nonces!(builder().create(&account, directory.clone(), key.as_ref())).map_err(|error| {
                let error = AuthorityError::from(error);
                let is_without_order = error.was_never_sent();
                let error = AcmeError::from(error).into();
                Failure { error, is_without_order, is_without_account: false }
            })?;
        self.keep_account(credentials, lease).await?;
        tracing::info!(directory = %self.settings.directory, "created an ACME account");
        Ok(account)
    }

    async fn change_contact(&self, account: &Account, lease: &Lease) -> Result<(), Failure> {
        let contact: Vec<&str> = self.settings.contact.iter().map(String::as_str).collect();
        with_nonces!(account.update_contacts(&contact)).map_err(unordered)?;
        if let Some(kept) = self.load_account().await? {
            self.keep_account(kept.credentials, lease).await?;
        }
        Ok(())
    }

    async fn load_account(&self) -> Result<Option<StoredAccount>, TlsError> {
        let directory = self.settings.directory.as_str();
        let Some(sealed) = self.certificate_store.store.find_acme_account(directory).await? else {
            return Ok(None);
        };
        let opened = self
            .certificate_store
            .sealer
            .open(place(directory), &sealed)
            .map_err(|_| TlsError::KeyDecryption(ACCOUNT))?;
        serde_json::from_slice(&opened).map(Some).map_err(|_| TlsError::Unreadable(ACCOUNT))
    }

    async fn keep_account(&self, credentials: AccountCredentials, lease: &Lease) -> Result<(), TlsError> {
        let external_account =
            self.settings.external_account.as_ref().map(|external| external.key_id.clone());
        let kept = StoredAccount { credentials, contact: self.settings.contact.clone(), external_account };
        let text = Zeroizing::new(serde_json::to_vec(&kept).expect("an account is plain JSON"));
        let directory = self.settings.directory.to_string();
        let sealed = self.certificate_store.sealer.seal(place(&directory), &text);
        Ok(self.certificate_store.store.save_acme_account(directory, sealed, lease).await?)
    }
}

pub(super) async fn external_key(external: &ExternalAccount) -> Result<ExternalAccountKey, TlsError> {
    let failed = |cause: String| AcmeError::ExternalAccount(cause);
    let text =
        Backends::built_in().resolve(&external.hmac_key).await.map_err(|error| failed(error.to_string()))?;
    // Authorities issue the key with and without padding.
    let text = text.expose_secret().trim_end_matches('=');
    let key = BASE64_URL_SAFE_NO_PAD.decode(text).map(Zeroizing::new);
    let key = key.map_err(|_| failed("it is not base64url".to_owned()))?;
    Ok(ExternalAccountKey::new(external.key_id.clone(), &key))
}

/// The failure of a request that created neither order nor account.
fn unordered(error: instant_acme::Error) -> Failure {
    let error = AcmeError::from(AuthorityError::from(error)).into();
    Failure { error, is_without_order: true, is_without_account: false }
}

const ACCOUNT: &str = "ACME account's";

fn place(directory: &str) -> Place<'_> {
    Place { table: "acme_accounts", row: directory, column: "credentials", version: 1 }
}
