//! `vault:PATH#FIELD`: a field of a secret in a key-value engine, version 1 or 2.

use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use reqwest::Method;
use serde_json::Value;

use super::VaultAccess;
use crate::outbound::BackendError;
use crate::secrets::{ReadError, SecretBackend, Stored, split_field, text_field};

/// The field for references without one.
const DEFAULT_FIELD: &str = "value";

pub(in crate::secrets) struct KeyValue {
    access: VaultAccess,
    mount: String,
    /// The engine's version; 0 means unknown. Detected at the first read and after a miss, because an engine can be
    /// upgraded.
    version: AtomicU8,
}

impl KeyValue {
    pub(in crate::secrets) fn new(access: VaultAccess, mount: &str) -> Self {
        Self { access, mount: mount.trim_matches('/').to_owned(), version: AtomicU8::new(0) }
    }

    /// Detects the engine's version from its mount, as the Vault command line does.
    async fn find_version(&self, path: &str) -> Result<u8, BackendError> {
        let question = format!("sys/internal/ui/mounts/{}/{path}", self.mount);
        let answer = self.access.call(Method::GET, &question, None).await?;
        let version = answer.pointer("/data/options/version").and_then(Value::as_str);
        let version = if version == Some("2") { 2 } else { 1 };
        self.version.store(version, Ordering::Relaxed);
        Ok(version)
    }

    async fn fetch(&self, path: &str, version: u8) -> Result<Value, BackendError> {
        let (path, place) = match version {
            2 => (format!("{}/data/{path}", self.mount), "/data/data"),
            _ => (format!("{}/{path}", self.mount), "/data"),
        };
        let mut answer = self.access.call(Method::GET, &path, None).await?;
        match answer.pointer_mut(place).map(Value::take) {
            Some(data @ Value::Object(_)) => Ok(data),
            _ => Err(BackendError::Unexpected(format!("the response to {path} contains no secret"))),
        }
    }
}

#[async_trait]
impl SecretBackend for KeyValue {
    fn check_name(&self, name: &str) -> Result<(), String> {
        let (path, field) = split_field(name);
        let is_segment = |segment: &str| !matches!(segment, "" | "." | "..");
        let good = path.split('/').all(is_segment)
            && !path.chars().any(char::is_control)
            && field.is_none_or(|field| !field.is_empty());
        if good {
            Ok(())
        } else {
            Err("for this backend, write a path below its `secretMount` and a field, such as \
                 `infra-okta#clientSecret`"
                .to_owned())
        }
    }

    async fn read(&self, name: &str) -> Result<Stored, ReadError> {
        let (path, field) = split_field(name);
        let version = match self.version.load(Ordering::Relaxed) {
            0 => self.find_version(path).await?,
            version => version,
        };
        let data = match self.fetch(path, version).await {
            Err(BackendError::NotFound(cause)) => {
                self.version.store(0, Ordering::Relaxed);
                return Err(ReadError::NotFound(cause));
            }
            data => data?,
        };
        text_field(&data, field.unwrap_or(DEFAULT_FIELD), path)
    }
}
