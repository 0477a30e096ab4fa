//! `secrets`: backends under names of one's own.

use crate::secrets::{BackendSettings, Encoding};

use super::error::{Fault, FaultAt};
use super::section::{Field, Keys, Section};
use super::settings::absolute_path;

const BACKEND: Keys = Keys { now: &["name", "kind", "config"], later: &[] };
const CONFIG: Keys = Keys { now: &["base64", "base64UrlEncoded", "base64Raw"], later: &[] };
const FILE_CONFIG: Keys = Keys { now: &["base64", "base64UrlEncoded", "base64Raw", "path"], later: &[] };

/// The built-in kinds, which are backends by these names too.
pub(super) const BUILT_IN: [&str; 3] = ["env", "file", "plaintext"];
/// Kinds of later versions, and the names by which their references usually begin.
pub(super) const LATER: [&str; 6] = ["kubernetes", "vault", "awssecretsmanager", "awsssm", "awssm", "awskms"];

/// A declared backend and its name.
pub(super) type Declared = (String, BackendSettings);

pub(super) fn read(field: &Field<'_>) -> Result<Vec<Declared>, FaultAt> {
    let mut backends: Vec<Declared> = Vec::new();
    for item in field.list("a list such as `[{name: encoded, kind: env, config: {base64: true}}]`")? {
        let section = item.section(BACKEND)?;
        let name_field = section.require("name", "name: encoded")?;
        let name =
            name_field.parsed("a name of lower-case letters, digits and dashes, such as `encoded`", name)?;
        if BUILT_IN.contains(&name.as_str()) || backends.iter().any(|(other, _)| *other == name) {
            return Err(name_field.wrong("a name that no other backend has, built-in ones included"));
        }
        backends.push((name, settings(&section)?));
    }
    Ok(backends)
}

/// A name for people and references: lower-case letters, digits, dashes.
pub(super) fn name(text: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = (1..=32).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-');
    good.then(|| text.to_owned())
}

fn settings(section: &Section<'_>) -> Result<BackendSettings, FaultAt> {
    let kind = section.require("kind", "kind: env")?;
    let config = |keys| section.find("config").map(|config| config.section(keys)).transpose();
    match kind.text("`env`, `file` or `plaintext`")? {
        "env" => Ok(BackendSettings::Environment { encoding: encoding(config(CONFIG)?.as_ref())? }),
        "plaintext" => Ok(BackendSettings::Plaintext { encoding: encoding(config(CONFIG)?.as_ref())? }),
        "file" => {
            let config = config(FILE_CONFIG)?;
            let path = config.as_ref().and_then(|config| config.find("path"));
            Ok(BackendSettings::File {
                path: path.map(|path| absolute_path(&path, "/run/secrets")).transpose()?,
                encoding: encoding(config.as_ref())?,
            })
        }
        later if LATER.contains(&later) => Err(kind.fault(Fault::NotYet { what: format!("kind: {later}") })),
        _ => Err(kind.wrong("`env`, `file` or `plaintext`")),
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
            return Err(field.wrong("the only encoding: `base64`, `base64UrlEncoded` or `base64Raw`"));
        }
    }
    Ok(found)
}
