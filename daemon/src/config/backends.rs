//! `secrets`: backends that the operator declares, by name.

use infra_shared::names::is_name;

use crate::secrets::{BackendSettings, Encoding};

use super::error::FaultAt;
use super::remote;
use super::section::{Field, Section, words};
use super::settings::absolute_path;

/// Kinds that are also built-in backends of the same name.
pub(super) const BUILT_IN: [&str; 4] = ["env", "file", "plaintext", "kubernetes"];
const KINDS: [&str; 7] = ["env", "file", "plaintext", "kubernetes", "vault", "awssecretsmanager", "awsssm"];

pub(super) type Declared = (String, BackendSettings);

pub(super) fn read(field: &Field<'_>) -> Result<Vec<Declared>, FaultAt> {
    let mut backends: Vec<Declared> = Vec::new();
    for item in field.list("a list such as `[{name: encoded, kind: env, config: {base64: true}}]`")? {
        let section = item.section("backend")?;
        let name_field = section.require("name", "name: encoded")?;
        let name =
            name_field.parsed("a name of lower-case letters, digits and dashes, such as `encoded`", name)?;
        if BUILT_IN.contains(&name.as_str()) || backends.iter().any(|(other, _)| *other == name) {
            return Err(name_field.wrong("a name that no other backend has, including the built-in ones"));
        }
        backends.push((name, settings(&section)?));
    }
    Ok(backends)
}

/// Parses a name: lower-case letters, digits, dashes.
pub(super) fn name(text: &str) -> Option<String> {
    is_name(text).then(|| text.to_owned())
}

fn settings(section: &Section<'_>) -> Result<BackendSettings, FaultAt> {
    let expected = format!("one of {}", words(KINDS.into_iter()));
    let kind = section.require("kind", "kind: vault")?;
    let find_config = |keys| section.find("config").map(|config| config.section(keys)).transpose();
    match kind.text(&expected)? {
        "env" => Ok(BackendSettings::Environment { encoding: encoding(find_config("encoded")?.as_ref())? }),
        "plaintext" => {
            Ok(BackendSettings::Plaintext { encoding: encoding(find_config("encoded")?.as_ref())? })
        }
        "file" => {
            let config = find_config("encodedFiles")?;
            let path = config.as_ref().and_then(|config| config.find("path"));
            Ok(BackendSettings::File {
                path: path.map(|path| absolute_path(&path, "/run/secrets")).transpose()?,
                encoding: encoding(config.as_ref())?,
            })
        }
        "kubernetes" => {
            let config = find_config("kubernetes")?;
            Ok(BackendSettings::Kubernetes(remote::kubernetes(config.as_ref())?))
        }
        "vault" => {
            const EXAMPLE: &str =
                "config: {address: https://vault.example.com:8200, token: file:/run/secrets/vault-token}";
            let config = section.require("config", EXAMPLE)?.section("vaultSecrets")?;
            let secret_mount = config.find("secretMount").map_or(Ok("secret".to_owned()), |field| {
                remote::mount_path(&field, "the path of a key-value engine, such as `/secret`")
            })?;
            Ok(BackendSettings::Vault { server: remote::vault(&config)?, secret_mount })
        }
        #[cfg(feature = "aws")]
        "awssecretsmanager" => {
            let config = find_config("awsSecretsManager")?;
            let version_stage = config.as_ref().and_then(|config| config.find("versionStage"));
            let version_stage = version_stage
                .map(|field| field.text("a staging label, such as `AWSCURRENT`").map(str::to_owned))
                .transpose()?;
            Ok(BackendSettings::AWSSecretsManager { aws: remote::aws(config.as_ref())?, version_stage })
        }
        #[cfg(feature = "aws")]
        "awsssm" => {
            Ok(BackendSettings::AWSParameterStore(remote::aws(find_config("awsParameterStore")?.as_ref())?))
        }
        #[cfg(not(feature = "aws"))]
        "awssecretsmanager" | "awsssm" => {
            Err(kind.wrong("a kind other than AWS: this infrad was built without AWS support"))
        }
        _ => Err(kind.wrong(expected)),
    }
}

fn encoding(config: Option<&Section<'_>>) -> Result<Option<Encoding>, FaultAt> {
    const ENCODINGS: [(&str, Encoding); 3] = [
        ("base64", Encoding::Base64),
        ("base64UrlEncoded", Encoding::Base64UrlEncoded),
        ("base64Raw", Encoding::Base64Raw),
    ];
    let mut found = None;
    for (key, encoding) in ENCODINGS {
        let Some(field) = config.and_then(|config| config.find(key)) else { continue };
        if field.boolean()? && found.replace(encoding).is_some() {
            return Err(field.wrong("`false`, because only one encoding can be `true`"));
        }
    }
    Ok(found)
}
