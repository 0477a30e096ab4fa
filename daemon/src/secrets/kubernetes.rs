//! `kubernetes:OBJECT/KEY`: a key of a Secret object, read from the API server.

use std::env;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use infra_shared::http::authorities_from_pem;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::credential::{read_mounted, read_token};
use super::{ReadError, SecretBackend, Stored};
use crate::outbound::{Authorization, BackendError, Outbound, OutboundResponse};

/// A Secret has at most 1 MiB. Base64 adds a third.
const MAX_BYTES: usize = 2 * 1024 * 1024;
const MAX_FILE_BYTES: usize = 1024 * 1024;
/// Where a pod finds the credentials of its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The API server and service account. Unset values come from the pod that the daemon runs in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KubernetesSettings {
    pub server: Option<Url>,
    pub token_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub namespace: Option<String>,
    /// Whether to use `HTTPS_PROXY`. The API server is usually in or near the cluster.
    pub use_proxy: bool,
}

pub(super) struct Kubernetes {
    pub(super) settings: KubernetesSettings,
}

/// The parts of a Secret object that the daemon reads.
#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    data: std::collections::BTreeMap<String, SecretString>,
}

impl KubernetesSettings {
    /// Gets a path of the API server as the service account. Reads the token and CA on each call, because the cluster
    /// rotates them.
    pub async fn get(&self, path: &[&str], limit: usize) -> Result<OutboundResponse, ReadError> {
        let file = |path: &Option<PathBuf>, name| path.clone().unwrap_or_else(|| mounted(name));
        let server = self.server.clone().map_or_else(server_of_pod, Ok)?;
        let token = read_token(&file(&self.token_file, "token"), MAX_FILE_BYTES).await?;
        let authority_file = file(&self.ca_file, "ca.crt");
        let authorities = read_mounted(&authority_file, MAX_FILE_BYTES).await?;
        let authorities = authorities_from_pem(&authorities)
            .map_err(|error| ReadError::Credential(format!("{}: {error}", authority_file.display())))?;
        let build = if self.use_proxy { Outbound::new } else { Outbound::without_proxy };
        let outbound = build(Some(authorities))
            .map_err(|error| ReadError::Credential(format!("{}: {error}", authority_file.display())))?;
        let url = url(&server, path);
        Ok(outbound.get(&url, Authorization::Bearer(&token), limit).await.map_err(BackendError::from)?)
    }
}

impl Kubernetes {
    async fn read_key(&self, object: &str, key: &str) -> Result<Stored, ReadError> {
        let namespace = match &self.settings.namespace {
            Some(namespace) => namespace.clone(),
            None => read_token(&mounted("namespace"), MAX_FILE_BYTES).await?.expose_secret().to_owned(),
        };
        let path = ["api", "v1", "namespaces", &namespace, "secrets", object];
        let response = self.settings.get(&path, MAX_BYTES).await?;
        find(&response, &namespace, object, key)
    }
}

fn mounted(name: &str) -> PathBuf {
    Path::new(SERVICE_ACCOUNT).join(name)
}

/// Returns the API server from the variables that every pod has.
#[expect(clippy::disallowed_methods, reason = "a pod finds its API server in the environment")]
fn server_of_pod() -> Result<Url, ReadError> {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let (host, port) = (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT"));
    let (Some(host), Some(port)) = (host, port) else {
        return Err(ReadError::Credential(
            "infrad runs outside a pod (KUBERNETES_SERVICE_HOST is not set): declare a backend of kind `kubernetes` \
             with `config: {server, tokenFile, caFile, namespace}`"
                .to_owned(),
        ));
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    format!("https://{host}:{port}")
        .parse()
        .map_err(|_| ReadError::Credential("KUBERNETES_SERVICE_HOST and _PORT are not an address".to_owned()))
}

fn url(server: &Url, path: &[&str]) -> Url {
    let mut url = server.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url
}

fn find(response: &OutboundResponse, namespace: &str, object: &str, key: &str) -> Result<Stored, ReadError> {
    let name = format!("the Secret {object} in the namespace {namespace}");
    match response.status {
        200 => {}
        401 => {
            return Err(ReadError::Credential("the API server rejects the account's token (401)".to_owned()));
        }
        403 => {
            return Err(ReadError::NotAllowed(format!(
                "the account may not `get` {name}: bind it to a Role that allows this"
            )));
        }
        404 => return Err(ReadError::NotFound(format!("{name} does not exist"))),
        status @ (408 | 429 | 500..=599) => {
            return Err(ReadError::Unreachable(format!("the API server answered with status {status}")));
        }
        status => {
            return Err(ReadError::Unexpected(format!("the API server answered with status {status}")));
        }
    }
    let parsed: Object = serde_json::from_slice(&response.body)
        .map_err(|_| ReadError::Unexpected("the API server's response is not a Secret".to_owned()))?;
    let encoded =
        parsed.data.get(key).ok_or_else(|| ReadError::NotFound(format!("{name} has no key `{key}`")))?;
    let decoded = BASE64_STANDARD.decode(encoded.expose_secret()).map(Stored::new);
    decoded.map_err(|_| ReadError::Unexpected(format!("the key `{key}` of {name} is not Base64")))
}

#[async_trait]
impl SecretBackend for Kubernetes {
    fn check_name(&self, name: &str) -> Result<(), String> {
        // https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
        let is_object = |text: &str| {
            let plain =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
            (1..=253).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with(['-', '.'])
        };
        let is_key = |text: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            (1..=253).contains(&text.len()) && text.bytes().all(plain)
        };
        match name.split_once('/') {
            Some((object, key)) if is_object(object) && is_key(key) => Ok(()),
            _ => Err("for this backend, write the name of a Secret and a key in it, such as \
                      `infra-okta/clientSecret`"
                .to_owned()),
        }
    }

    async fn read(&self, name: &str) -> Result<Stored, ReadError> {
        let (object, key) = name.split_once('/').unwrap_or((name, ""));
        self.read_key(object, key).await
    }
}
