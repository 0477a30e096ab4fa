//! Settings of Vault, AWS and Kubernetes, for secrets and root keys.

use std::path::PathBuf;

use infra_shared::http::authorities_from_pem;
use infra_shared::plain_url;
use rustls::pki_types::CertificateDer;
use url::{Host, Url};

#[cfg(feature = "aws")]
use crate::secrets::{AWSAccessKey, AWSSettings};
use crate::secrets::{Backends, KubernetesSettings, Reference, VaultAuthentication, VaultSettings};

use super::error::{Fault, FaultAt};
use super::reference::BackendNames;
use super::section::{Field, Section};
use super::settings::absolute_path;

const LARGEST_CA_FILE: u64 = 1024 * 1024;
const SERVICE_ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Reads address and credentials of a Vault server.
pub(super) fn vault(section: &Section<'_>) -> Result<VaultSettings, FaultAt> {
    let address = section.require("address", "address: https://vault.example.com:8200")?;
    let address = server_address(&address, "https://vault.example.com:8200")?;
    let namespace = section
        .find_unless_empty("namespace")
        .map(|field| field.text("the name of a namespace, such as `platform/infra`").map(str::to_owned))
        .transpose()?;
    let authorities = section.find("caFile").map(|field| authorities(&field)).transpose()?;
    Ok(VaultSettings { address, namespace, authorities, authentication: vault_authentication(section)? })
}

fn vault_authentication(section: &Section<'_>) -> Result<VaultAuthentication, FaultAt> {
    let mount = |section: &Section<'_>, default: &str| {
        let expected = format!("the path of an authentication method, such as `{default}`");
        section.find("mount").map_or(Ok(default.to_owned()), |field| mount_path(&field, &expected))
    };
    let ways = ["token", "appRole", "kubernetes"].map(|key| section.find(key));
    match &ways {
        [Some(token), None, None] => Ok(VaultAuthentication::Token(credential(token)?)),
        [None, Some(field), None] => {
            let section = field.section("appRole")?;
            let role_id = section.require("roleID", "roleID: file:/etc/infra/vault-role-id")?;
            let secret_id = section.require("secretID", "secretID: file:/etc/infra/vault-secret-id")?;
            Ok(VaultAuthentication::AppRole {
                mount: mount(&section, "approle")?,
                role_id: credential(&role_id)?,
                secret_id: credential(&secret_id)?,
            })
        }
        [None, None, Some(field)] => {
            let section = field.section("kubernetesLogin")?;
            let role =
                section.require("role", "role: infrad")?.text("the name of a role, such as `infrad`")?;
            let token_file = section.find("tokenFile").map_or(Ok(SERVICE_ACCOUNT_TOKEN.into()), |field| {
                absolute_path(&field, SERVICE_ACCOUNT_TOKEN)
            })?;
            let mount = mount(&section, "kubernetes")?;
            Ok(VaultAuthentication::Kubernetes { mount, role: role.to_owned(), token_file })
        }
        [None, None, None] => Err(section.missing("token", "token: file:/run/secrets/vault-token")),
        [first, second, third] => {
            let extra = third.as_ref().or(second.as_ref()).or(first.as_ref()).expect("two methods are set");
            Err(extra.wrong("absent, because only one of `token`, `appRole` and `kubernetes` is allowed"))
        }
    }
}

/// Reads a mount path and removes slashes at both ends.
pub(super) fn mount_path(field: &Field<'_>, expected: &str) -> Result<String, FaultAt> {
    field.parsed(expected, |text| {
        let path = text.trim_matches('/');
        let is_segment = |segment: &str| !matches!(segment, "" | "." | "..");
        (path.split('/').all(is_segment) && !path.chars().any(char::is_control)).then(|| path.to_owned())
    })
}

/// Reads endpoint and credentials of AWS.
#[cfg(feature = "aws")]
pub(super) fn aws(section: Option<&Section<'_>>) -> Result<AWSSettings, FaultAt> {
    let Some(section) = section else { return Ok(AWSSettings::default()) };
    let text = |key, expected: &str| {
        section.find(key).map(|field| field.text(expected).map(str::to_owned)).transpose()
    };
    let access_key = match ["accessKeyID", "secretAccessKey", "sessionToken"].map(|key| section.find(key)) {
        [None, None, None] => None,
        [Some(access_key_id), Some(secret_access_key), session_token] => Some(AWSAccessKey {
            access_key_id: credential(&access_key_id)?,
            secret_access_key: credential(&secret_access_key)?,
            session_token: session_token.map(|field| credential(&field)).transpose()?,
        }),
        [None, ..] => return Err(section.missing("accessKeyID", "accessKeyID: env:AWS_KEY_OF_INFRAD")),
        [_, None, _] => {
            return Err(section.missing("secretAccessKey", "secretAccessKey: file:/etc/infra/aws-secret-key"));
        }
    };
    Ok(AWSSettings {
        region: text("region", "the name of a region, such as `us-west-2`")?,
        endpoint: section
            .find("endpoint")
            .map(|field| server_address(&field, "https://vpce-1.kms.us-west-2.vpce.amazonaws.com"))
            .transpose()?,
        profile: text("profile", "the name of a profile, such as `infrad`")?,
        authorities: section.find("caFile").map(|field| authorities(&field)).transpose()?,
        access_key,
    })
}

/// Reads the settings of an API server. Defaults to the pod's.
pub(super) fn kubernetes(section: Option<&Section<'_>>) -> Result<KubernetesSettings, FaultAt> {
    let Some(section) = section else { return Ok(KubernetesSettings::default()) };
    let path = |key, example| section.find(key).map(|field| absolute_path(&field, example)).transpose();
    let namespace = section.find("namespace").map(|field| {
        field.parsed("the name of a namespace, such as `infra`", |text| {
            // RFC 1123 §2.1, as Kubernetes requires for namespaces.
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            ((1..=63).contains(&text.len()) && text.bytes().all(plain)).then(|| text.to_owned())
        })
    });
    let server = section.find("server").map(|field| server_address(&field, "https://10.0.0.1:6443"));
    Ok(KubernetesSettings {
        server: server.transpose()?,
        token_file: path("tokenFile", SERVICE_ACCOUNT_TOKEN)?,
        ca_file: path("caFile", "/etc/infra/cluster-ca.pem")?,
        namespace: namespace.transpose()?,
        use_proxy: section.flag("useProxy")?,
    })
}

/// Parses a reference to a credential of the daemon. Only built-in backends, so that no backend depends on another.
pub(super) fn credential(field: &Field<'_>) -> Result<Reference, FaultAt> {
    let names = BackendNames::new(&[]);
    names.check(field)?;
    names.parse(field, &Backends::built_in())
}

/// Reads an https address, or an http address on loopback for a local agent or proxy.
fn server_address(field: &Field<'_>, example: &str) -> Result<Url, FaultAt> {
    let expected = format!(
        "an https address without user, `?` or `#`, such as `{example}` (`http` only to 127.0.0.1 or [::1])"
    );
    field.parsed(&expected, |text| {
        let url = plain_url::parse(text)?;
        let is_bare = url.username().is_empty() && url.password().is_none() && !text.contains(['?', '#']);
        let is_private = match url.host()? {
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
            Host::Domain(_) => false,
        };
        let is_safe = url.scheme() == "https" || (url.scheme() == "http" && is_private);
        (is_bare && is_safe).then_some(url)
    })
}

/// Reads the certificates of a `caFile`.
pub(super) fn authorities(field: &Field<'_>) -> Result<Vec<CertificateDer<'static>>, FaultAt> {
    let path: PathBuf = absolute_path(field, "/etc/infra/ca.pem")?;
    let fault =
        |cause: String| field.fault(Fault::File { key: field.path().to_owned(), path: path.clone(), cause });
    let pem = super::file::read_bounded(&path, LARGEST_CA_FILE).map_err(|error| fault(error.to_string()))?;
    authorities_from_pem(&pem).map_err(|error| fault(error.to_string()))
}
