//! A root key in the transit engine of Vault or OpenBao. The engine wraps and unwraps; the key never leaves it.

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{DataKey, KeyError, RootKey};
use crate::outbound::BackendError;
use crate::secrets::{VaultAccess, VaultSettings};

pub(super) struct TransitRootKey {
    access: VaultAccess,
    mount: String,
    key: String,
}

impl TransitRootKey {
    pub(super) fn new(server: VaultSettings, mount: &str, key: &str) -> Result<Self, KeyError> {
        let id = format!("vault:{}{mount}/{key}", server.address);
        let access = VaultAccess::new(server)
            .map_err(|error| KeyError::RootKeyRejected { id, cause: error.to_string() })?;
        Ok(Self { access, mount: mount.to_owned(), key: key.to_owned() })
    }

    /// Calls `operation` on the key and binds it to `context` in both ways the engine supports: as associated data,
    /// and as the derivation context. The engine ignores the latter for keys without derivation.
    async fn call(
        &self,
        operation: &str,
        context: &str,
        name: &str,
        value: &str,
    ) -> Result<Value, BackendError> {
        let context = BASE64_STANDARD.encode(context);
        let body = json!({ name: value, "context": context, "associated_data": context });
        let path = format!("{}/{operation}/{}", self.mount, self.key);
        self.access.call(Method::POST, &path, Some(&body)).await
    }

    fn unexpected(&self) -> KeyError {
        KeyError::RootKeyRejected {
            id: self.id(),
            cause: "the response is not from a transit engine".to_owned(),
        }
    }
}

#[async_trait]
impl RootKey for TransitRootKey {
    fn id(&self) -> String {
        format!("vault:{}{}/{}", self.access.address(), self.mount, self.key)
    }

    /// The server's address may have changed, so only a call can decide.
    fn may_have_wrapped(&self, id: &str) -> bool {
        id.starts_with("vault:")
    }

    async fn wrap(&self, data_key: &DataKey, context: &str) -> Result<Vec<u8>, KeyError> {
        let plaintext = Zeroizing::new(BASE64_STANDARD.encode(data_key.0.as_slice()));
        let answer = self
            .call("encrypt", context, "plaintext", &plaintext)
            .await
            .map_err(|error| KeyError::from_backend(self.id(), error))?;
        let ciphertext = answer.pointer("/data/ciphertext").and_then(Value::as_str);
        Ok(ciphertext.ok_or_else(|| self.unexpected())?.as_bytes().to_vec())
    }

    async fn unwrap(&self, wrapped: &[u8], context: &str) -> Result<DataKey, KeyError> {
        let does_not_open = || KeyError::DoesNotUnwrap { id: self.id() };
        let ciphertext = std::str::from_utf8(wrapped).map_err(|_| does_not_open())?;
        let answer =
            self.call("decrypt", context, "ciphertext", ciphertext).await.map_err(|error| match error {
                // The engine did not encrypt it under this key or for this context.
                BackendError::Rejected(_) => does_not_open(),
                error => KeyError::from_backend(self.id(), error),
            })?;
        let plaintext = answer.pointer("/data/plaintext").and_then(Value::as_str);
        let bytes = plaintext.and_then(|text| BASE64_STANDARD.decode(text).ok()).map(Zeroizing::new);
        bytes.and_then(|bytes| DataKey::from_slice(&bytes)).ok_or_else(|| self.unexpected())
    }
}
