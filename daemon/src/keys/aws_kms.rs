//! A root key in AWS KMS. KMS returns data keys encrypted under it and decrypts them later; the root key never leaves
//! KMS.

use std::collections::BTreeMap;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::aead::AEADKey;
use super::{DataKey, KeyError, RootKey};
use crate::outbound::{AWSOperation, BackendError};
use crate::secrets::{AWSAccess, AWSSettings};

const GENERATE: AWSOperation = AWSOperation { service: "kms", target: "TrentService.GenerateDataKey" };
const DECRYPT: AWSOperation = AWSOperation { service: "kms", target: "TrentService.Decrypt" };

/// A symmetric KMS key. It wraps under a key from `GenerateDataKey`, so the daemon needs permission for only the two
/// operations above.
pub(super) struct KMSRootKey {
    access: AWSAccess,
    key_id: String,
}

impl KMSRootKey {
    pub(super) fn new(aws: AWSSettings, key_id: &str) -> Result<Self, KeyError> {
        let access = AWSAccess::new(aws).map_err(|error| KeyError::RootKeyRejected {
            id: format!("awskms:{key_id}"),
            cause: error.to_string(),
        })?;
        Ok(Self { access, key_id: key_id.to_owned() })
    }

    fn unexpected(&self) -> KeyError {
        KeyError::RootKeyRejected { id: self.id(), cause: "the response is not a KMS response".to_owned() }
    }

    /// Reads the key in `Plaintext` of a KMS response.
    fn plaintext(&self, answer: &Value) -> Result<AEADKey, KeyError> {
        let text = answer.get("Plaintext").and_then(Value::as_str);
        let bytes = text.and_then(|text| BASE64_STANDARD.decode(text).ok()).map(Zeroizing::new);
        let key: Option<Zeroizing<[u8; 32]>> =
            bytes.and_then(|bytes| Some(Zeroizing::new(bytes.as_slice().try_into().ok()?)));
        Ok(AEADKey::new(&*key.ok_or_else(|| self.unexpected())?))
    }
}

/// KMS logs the encryption context, and IAM policies can require it.
fn encryption_context(context: &str) -> Value {
    json!(BTreeMap::from([("infra", context)]))
}

#[async_trait]
impl RootKey for KMSRootKey {
    fn id(&self) -> String {
        format!("awskms:{}", self.key_id)
    }

    /// A KMS key has several names (id, alias, their ARNs), so only a call to KMS can decide.
    fn may_have_wrapped(&self, id: &str) -> bool {
        id.starts_with("awskms:")
    }

    async fn wrap(&self, data_key: &DataKey, context: &str) -> Result<Vec<u8>, KeyError> {
        let body = json!({
            "KeyId": self.key_id,
            "KeySpec": "AES_256",
            "EncryptionContext": encryption_context(context),
        });
        let answer = self
            .access
            .call(GENERATE, &body)
            .await
            .map_err(|error| KeyError::from_backend(self.id(), error))?;
        let encrypted = answer.get("CiphertextBlob").and_then(Value::as_str);
        let encrypted = encrypted.and_then(|text| BASE64_STANDARD.decode(text).ok());
        let encrypted = encrypted.ok_or_else(|| self.unexpected())?;
        let length = u16::try_from(encrypted.len()).map_err(|_| self.unexpected())?;
        let sealed = self.plaintext(&answer)?.seal(context.as_bytes(), data_key.0.as_slice());
        Ok([length.to_be_bytes().as_slice(), &encrypted, &sealed].concat())
    }

    async fn unwrap(&self, wrapped: &[u8], context: &str) -> Result<DataKey, KeyError> {
        let does_not_open = || KeyError::DoesNotUnwrap { id: self.id() };
        let (length, rest) = wrapped.split_first_chunk::<2>().ok_or_else(does_not_open)?;
        let (encrypted, sealed) =
            rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or_else(does_not_open)?;
        let body = json!({
            "KeyId": self.key_id,
            "CiphertextBlob": BASE64_STANDARD.encode(encrypted),
            "EncryptionContext": encryption_context(context),
        });
        let answer = self.access.call(DECRYPT, &body).await.map_err(|error| match error {
            // KMS did not encrypt it under this key or for this context.
            BackendError::Rejected(_) => does_not_open(),
            error => KeyError::from_backend(self.id(), error),
        })?;
        let opened = self.plaintext(&answer)?.open(context.as_bytes(), sealed);
        opened.and_then(|opened| DataKey::from_slice(&opened)).ok_or_else(does_not_open)
    }
}
