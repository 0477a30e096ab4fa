//! Access to a Vault or OpenBao server, and its key-value engine as a backend.

mod key_value;

use std::path::PathBuf;
use std::time::Duration;

use infra_shared::http::NoClient;
use reqwest::Method;
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::{Backends, PATIENCE, Reference, credential, unusable_credential};
use crate::outbound::{BackendError, VaultClient};

pub(super) use key_value::KeyValue;

/// A service account's token has a few kB.
const MAX_TOKEN_BYTES: usize = 64 * 1024;
/// How long to use a token without expiry before another login.
const LONGEST_USE: Duration = Duration::from_hours(1);

/// The address of a server and how the daemon authenticates to it.
#[derive(Debug, Clone)]
pub struct VaultSettings {
    pub address: Url,
    pub namespace: Option<String>,
    /// The server's certification authorities, if not those of the operating system.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    pub authentication: VaultAuthentication,
}

/// How the daemon authenticates to a server. References are to built-in backends.
#[derive(Debug, Clone)]
pub enum VaultAuthentication {
    /// A token. Read for each call, so that an agent may renew it.
    Token(Reference),
    AppRole {
        mount: String,
        role_id: Reference,
        secret_id: Reference,
    },
    /// A service account token. Read for each login.
    Kubernetes {
        mount: String,
        role: String,
        token_file: PathBuf,
    },
}

/// A server connection that logs in when needed.
#[derive(Debug)]
pub struct VaultAccess {
    client: VaultClient,
    authentication: VaultAuthentication,
    built_in: Backends,
    login: Mutex<Option<Login>>,
}

/// The token of a login, and when to stop using it.
#[derive(Debug)]
struct Login {
    token: SecretString,
    until: Instant,
}

impl VaultAccess {
    pub fn new(settings: VaultSettings) -> Result<Self, NoClient> {
        Ok(Self {
            client: VaultClient::new(settings.address, settings.namespace, settings.authorities)?,
            authentication: settings.authentication,
            built_in: Backends::built_in(),
            login: Mutex::new(None),
        })
    }

    pub fn address(&self) -> &Url {
        self.client.address()
    }

    /// Calls `/v1/PATH`. One timeout covers a login and the call.
    ///
    /// If the server rejects a token from an earlier login, retries once with a new one, because the token may have
    /// been revoked.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, BackendError> {
        let call = self.call_unbounded(method, path, body);
        tokio::time::timeout(PATIENCE, call).await.unwrap_or_else(|_| {
            let host = self.client.address().host_str().unwrap_or_default();
            Err(BackendError::Unreachable(format!("{host} did not answer within {} s", PATIENCE.as_secs())))
        })
    }

    async fn call_unbounded(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, BackendError> {
        let (token, is_from_before) = self.token().await?;
        match self.client.call(method.clone(), path, Some(&token), body).await {
            Err(BackendError::NotAllowed(_)) if is_from_before => {
                *self.login.lock().await = None;
                let (token, _) = self.token().await?;
                self.client.call(method, path, Some(&token), body).await
            }
            answered => answered,
        }
    }

    /// Returns a token, and whether it is from an earlier login.
    async fn token(&self) -> Result<(SecretString, bool), BackendError> {
        if let VaultAuthentication::Token(reference) = &self.authentication {
            return Ok((self.credential(reference).await?, false));
        }
        let mut login = self.login.lock().await;
        if let Some(login) = login.as_ref().filter(|login| Instant::now() < login.until) {
            return Ok((login.token.clone(), true));
        }
        let fresh = self.log_in().await?;
        let token = fresh.token.clone();
        *login = Some(fresh);
        Ok((token, false))
    }

    async fn log_in(&self) -> Result<Login, BackendError> {
        let (mount, body) = match &self.authentication {
            VaultAuthentication::Token(_) => {
                return Err(BackendError::Unexpected("a token needs no login".to_owned()));
            }
            VaultAuthentication::AppRole { mount, role_id, secret_id } => {
                let (role_id, secret_id) =
                    (self.credential(role_id).await?, self.credential(secret_id).await?);
                let body =
                    json!({ "role_id": role_id.expose_secret(), "secret_id": secret_id.expose_secret() });
                (mount, body)
            }
            VaultAuthentication::Kubernetes { mount, role, token_file } => {
                let token =
                    credential::read_token(token_file, MAX_TOKEN_BYTES).await.map_err(unusable_credential)?;
                (mount, json!({ "role": role, "jwt": token.expose_secret() }))
            }
        };
        let path = format!("auth/{mount}/login");
        let answer =
            self.client.call(Method::POST, &path, None, Some(&body)).await.map_err(|error| match error {
                // Vault returns 400 for a wrong role or secret, and 403 for an unknown mount.
                BackendError::Rejected(_) | BackendError::NotFound(_) | BackendError::NotAllowed(_) => {
                    BackendError::Credential(format!(
                        "{} rejects the login at {path}: the credentials are wrong, or the mount does not exist",
                        self.client.address().host_str().unwrap_or_default()
                    ))
                }
                error => error,
            })?;
        let auth = answer.get("auth");
        let token = auth.and_then(|auth| auth.get("client_token")).and_then(Value::as_str);
        let token = token
            .ok_or_else(|| BackendError::Unexpected(format!("the response to {path} contains no token")))?;
        let lease = auth.and_then(|auth| auth.get("lease_duration")).and_then(Value::as_u64);
        let lease = match lease {
            None | Some(0) => LONGEST_USE,
            // A safety margin, so that the token does not expire during a call.
            Some(seconds) => (Duration::from_secs(seconds) * 2 / 3).min(LONGEST_USE),
        };
        Ok(Login { token: token.into(), until: Instant::now() + lease })
    }

    async fn credential(&self, reference: &Reference) -> Result<SecretString, BackendError> {
        self.built_in.resolve(reference).await.map_err(unusable_credential)
    }
}
