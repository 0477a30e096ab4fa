//! Reads the whole file, section by section.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use infra_shared::origin::Origin;
use jiff::SignedDuration;

use crate::identity::ProviderSettings;
use crate::keys::RootKeySettings;
use crate::logging::{LogFormat, LogLevel, LogSettings};
use crate::platform;
use crate::sessions::SessionLimits;

use super::changed_sections::Sections;
use super::directories::Directories;
use super::error::{Fault, FaultAt};
use super::reference::References;
use super::section::{Field, Section};
use super::tree::Node;
use super::{
    Config, admins, audit, backends, database, duration, https, jwt, limits, provider, remote, services,
    workloads,
};

const EVERYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), 443);
const LONGEST_LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Minimum of `sessions.revalidateEvery`.
const SHORTEST_ASKING: SignedDuration = SignedDuration::from_secs(10);
const SHORTEST: SignedDuration = SignedDuration::from_mins(1);

pub(super) fn read(tree: &Node, directories: &Directories) -> Result<Config, FaultAt> {
    let top = Section::top(tree)?;
    top.require("version", "version: 1")?.whole("1")?;
    let listen = top.find("listen").map_or(Ok(EVERYWHERE), |field| {
        let expected = "an address and a port, such as `\"[::]:443\"` or `127.0.0.1:8443`";
        field.parsed(expected, |text| text.parse().ok())
    })?;
    let public_urls = top.find("publicURLs").map_or(Ok(Vec::new()), |field| public_urls(&field))?;
    let data_dir = data_dir(&top, directories)?;
    let https = https::read(top.find("tls").as_ref(), &public_urls)?;
    let root_keys = root_keys(&top, &data_dir, directories)?;
    let default_rollback_guard_file = default_rollback_guard_file(&root_keys, directories);
    let rollback_guard_file = rollback_guard_file(&top, &data_dir, default_rollback_guard_file.as_deref())?;
    if https.redirect_http.is_some_and(|redirect| conflict(redirect, listen)) {
        let expected = "another address than `listen`".to_owned();
        let fault = Fault::Unacceptable { key: "tls.redirectHTTP".to_owned(), expected };
        return Err(FaultAt { place: top.place(), fault });
    }
    let taken = [Some(listen), https.redirect_http];
    let metrics = top.find("metrics").map_or(Ok(None), |field| metrics(&field, &taken))?;
    let sessions = top.find("sessions").map_or(Ok(SessionLimits::default()), |field| sessions(&field))?;
    let limits = top.find("limits").map_or(Ok(limits::Limits::default()), |field| limits::read(&field))?;
    let proxies = limits::proxies(&top)?;
    let audit = top.find("audit").map_or(Ok(None), |field| audit::read(&field))?;
    let log = top.find("log").map_or(Ok(LogSettings::default()), |field| log(&field))?;
    let backends = top.find("secrets").map_or(Ok(Vec::new()), |field| backends::read(&field))?;
    let (mut providers, mut references) = provider::read_all(&top, backends)?;
    if sessions.revalidate_every.is_some() {
        providers.iter_mut().for_each(ProviderSettings::request_refresh_tokens);
    }
    let admins = top.find("admins").map_or(Ok(Vec::new()), |field| admins::read(&field, &providers))?;
    let mut services = top.find("services").map_or(Ok(Vec::new()), |field| {
        services::read(&field, &providers, !public_urls.is_empty(), &mut references)
    })?;
    let jwt = jwt::read(&top, &public_urls, &services)?;
    let workloads = top
        .find("workloads")
        .map_or(Ok(Vec::new()), |field| workloads::read(&field, &providers, &mut services))?;
    let database = top.find("database").map(|field| database::read(&field, &mut references)).transpose()?;
    let (database, grace) = database.unzip();
    let References { backends, warnings, .. } = references;
    Ok(Config {
        listen,
        public_urls,
        data_dir,
        database,
        grace: grace.unwrap_or_default(),
        https,
        providers,
        root_keys,
        rollback_guard_file,
        default_rollback_guard_file,
        backends,
        metrics,
        sessions,
        limits,
        proxies,
        admins,
        services,
        jwt,
        workloads,
        audit,
        log,
        ca_files: tree.texts_of("caFile").into_iter().map(|(section, path)| (section, path.into())).collect(),
        warnings,
        digest: None,
        sections: Sections::from_tree(tree),
    })
}

fn public_urls(field: &Field<'_>) -> Result<Vec<Origin>, FaultAt> {
    let expected = "a list of https addresses without a path, such as `[https://infra.example.com]`";
    let mut origins: Vec<Origin> = Vec::new();
    for item in field.list(expected)? {
        let expected = "an https address without a path, such as `https://infra.example.com`";
        let origin = item.parsed(expected, |text| text.parse().ok())?;
        if origins.contains(&origin) {
            return Err(item.wrong("an address that the list does not contain yet"));
        }
        origins.push(origin);
    }
    Ok(origins)
}

fn data_dir(top: &Section<'_>, directories: &Directories) -> Result<PathBuf, FaultAt> {
    if let Some(field) = top.find("dataDir") {
        return absolute_path(&field, "/var/lib/infrad");
    }
    // Without a home directory there is no default.
    directories.data.clone().ok_or_else(|| top.missing("dataDir", "dataDir: /var/lib/infrad"))
}

fn root_keys(
    top: &Section<'_>,
    data_dir: &Path,
    directories: &Directories,
) -> Result<Vec<RootKeySettings>, FaultAt> {
    const EXAMPLE: &str = "keys: [{kind: native, config: {path: /etc/infra/root.key}}]";
    let Some(field) = top.find("keys") else {
        let path = directories.root_key.clone().ok_or_else(|| top.missing("keys", EXAMPLE))?;
        return Ok(vec![native_key(path, data_dir, |fault| FaultAt { place: top.place(), fault })?]);
    };
    let items = field.list(&format!("a list with at least one key, such as `{EXAMPLE}`"))?;
    items.iter().map(|item| root_key(item, data_dir, directories)).collect()
}

fn root_key(
    item: &Field<'_>,
    data_dir: &Path,
    directories: &Directories,
) -> Result<RootKeySettings, FaultAt> {
    let section = item.section("rootKey")?;
    let kind = section.require("kind", "kind: native")?;
    let config = |keys| section.find("config").map(|config| config.section(keys)).transpose();
    match kind.text("`native`, `awskms` or `vault`")? {
        "native" => {
            let written = config("nativeKey")?.and_then(|config| config.find("path"));
            let path = match (&written, &directories.root_key) {
                (Some(path), _) => absolute_path(path, "/etc/infra/root.key")?,
                (None, Some(path)) => path.clone(),
                (None, None) => {
                    return Err(
                        item.wrong("a key with a path, such as `config: {path: /etc/infra/root.key}`")
                    );
                }
            };
            native_key(path, data_dir, |fault| written.as_ref().unwrap_or(item).fault(fault))
        }
        "vault" => {
            const EXAMPLE: &str = "config: {address: https://vault.example.com:8200, token: file:/run/secrets/vault-token, key: infrad}";
            let config = section.require("config", EXAMPLE)?.section("vaultKey")?;
            let transit_mount = config.find("transitMount").map_or(Ok("transit".to_owned()), |field| {
                remote::mount_path(&field, "the path of a transit engine, such as `/transit`")
            })?;
            let key = config.require("key", "key: infrad")?;
            let key = key.parsed("the name of a key of the transit engine, such as `infrad`", |text| {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                (text.bytes().all(plain) && !text.starts_with('.')).then(|| text.to_owned())
            })?;
            Ok(RootKeySettings::Vault { server: remote::vault(&config)?, transit_mount, key })
        }
        #[cfg(feature = "aws")]
        "awskms" => {
            let config = section.require("config", "config: {keyID: alias/infrad}")?.section("awsKey")?;
            let key_id = config.require("keyID", "keyID: alias/infrad")?;
            let key_id =
                key_id.text("the id, the alias or the ARN of a symmetric key, such as `alias/infrad`")?;
            Ok(RootKeySettings::AWSKMS { aws: remote::aws(Some(&config))?, key_id: key_id.to_owned() })
        }
        #[cfg(not(feature = "aws"))]
        "awskms" => Err(kind.wrong("a kind other than AWS: this infrad was built without AWS support")),
        _ => Err(kind.wrong("`native`, `awskms` or `vault`")),
    }
}

/// Rejects a key inside the data directory, because a thief of the data would get the key.
fn native_key(
    path: PathBuf,
    data_dir: &Path,
    fault: impl FnOnce(Fault) -> FaultAt,
) -> Result<RootKeySettings, FaultAt> {
    if path.starts_with(data_dir) {
        let expected =
            "a file outside `dataDir`, so that a copy of the data does not include its key".to_owned();
        return Err(fault(Fault::Unacceptable { key: "keys: path".to_owned(), expected }));
    }
    Ok(RootKeySettings::Native { path })
}

/// Next to the root key, unless that is a credential of systemd: those are read-only, and removed with the service.
fn default_rollback_guard_file(root_keys: &[RootKeySettings], directories: &Directories) -> Option<PathBuf> {
    let native = root_keys.iter().find_map(|root_key| match root_key {
        RootKeySettings::Native { path } => Some(path),
        _ => None,
    });
    let beside = native.or(directories.root_key.as_ref())?.parent()?;
    (!platform::is_credential(beside)).then(|| beside.join("infrad.rollback-guard"))
}

/// Reads the path of the rollback guard's file. `none` disables the guard.
fn rollback_guard_file(
    top: &Section<'_>,
    data_dir: &Path,
    default: Option<&Path>,
) -> Result<Option<PathBuf>, FaultAt> {
    let field = top.find("rollbackGuardFile");
    // This host is not the only one that changes a shared database.
    if top.find("database").is_some() {
        return match field {
            Some(field) if !field.is_text() || field.text("a path")? != "none" => {
                Err(field.wrong("`none` or absent, because `database` is shared with other daemons"))
            }
            _ => Ok(None),
        };
    }
    let Some(field) = field else {
        let default = default.ok_or_else(|| {
            top.missing(
                "rollbackGuardFile",
                "rollbackGuardFile: /var/lib/infrad-rollback-guard/infrad.rollback-guard",
            )
        })?;
        return Ok(Some(default.to_owned()));
    };
    if field.is_text() && field.text("a path")? == "none" {
        return Ok(None);
    }
    let path = absolute_path(&field, "/etc/infra/infrad.rollback-guard")?;
    if path.starts_with(data_dir) {
        return Err(
            field.wrong("a file outside `dataDir`, so that restoring old data leaves it as it is, or `none`")
        );
    }
    Ok(Some(path))
}

fn metrics(field: &Field<'_>, taken: &[Option<SocketAddr>]) -> Result<Option<SocketAddr>, FaultAt> {
    let Some(field) = field.section("metrics")?.find("listen") else { return Ok(None) };
    let expected = "an address and a port, such as `127.0.0.1:9464`";
    let address = field.parsed(expected, |text| text.parse().ok())?;
    if taken.iter().flatten().any(|other| conflict(address, *other)) {
        return Err(field.wrong("another address than `listen` and `tls.redirectHTTP`"));
    }
    Ok(Some(address))
}

/// Whether the daemon cannot listen on both addresses. `[::]` includes every address of IPv4.
fn conflict(one: SocketAddr, other: SocketAddr) -> bool {
    let includes = |one: SocketAddr, other: SocketAddr| {
        one.ip() == other.ip() || one.ip().is_unspecified() && (one.is_ipv6() || other.is_ipv4())
    };
    one.port() != 0 && one.port() == other.port() && (includes(one, other) || includes(other, one))
}

fn sessions(field: &Field<'_>) -> Result<SessionLimits, FaultAt> {
    let section = field.section("sessions")?;
    let default = SessionLimits::default();
    let span = |field: &Field<'_>, example, longest: SignedDuration, longest_text: &str| {
        let expected = format!("a duration from 1m to {longest_text}, such as `{example}` or `1h30m`");
        field.parsed(&expected, |text| {
            duration::parse(text).filter(|span| (SHORTEST..=longest).contains(span))
        })
    };
    let lifetime = section
        .find("lifetime")
        .map_or(Ok(default.lifetime), |field| span(&field, "12h", LONGEST_LIFETIME, "30d"))?;
    let inactivity_timeout =
        section.find("inactivityTimeout").map_or(Ok(default.inactivity_timeout.min(lifetime)), |field| {
            span(&field, "4h", lifetime, "the `lifetime` of sessions")
        })?;
    let max_per_user =
        section.find("maxPerUser").map_or(Ok(default.max_per_user), |field| field.whole("48"))?;
    let record_addresses = section.flag("recordAddresses")?;
    let revalidate_every = section
        .find("revalidateEvery")
        .map(|field| {
            let expected = "a duration from 10s to the `lifetime` of sessions, such as `15m`, or `null`";
            field.parsed(expected, |text| {
                duration::parse(text).filter(|every| (SHORTEST_ASKING..=lifetime).contains(every))
            })
        })
        .transpose()?;
    Ok(SessionLimits { lifetime, inactivity_timeout, max_per_user, record_addresses, revalidate_every })
}

fn log(field: &Field<'_>) -> Result<LogSettings, FaultAt> {
    const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    const LEVELS: [(&str, LogLevel); 5] = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let section = field.section("log")?;
    let default = LogSettings::default();
    Ok(LogSettings {
        format: section.find("format").map_or(Ok(default.format), |field| field.choice(&FORMATS))?,
        level: section.find("level").map_or(Ok(default.level), |field| field.choice(&LEVELS))?,
    })
}

/// Reads an absolute path without `..`, so that it does not depend on the working directory.
pub(super) fn absolute_path(field: &Field<'_>, example: &str) -> Result<PathBuf, FaultAt> {
    field.parsed(&format!("an absolute path without `..`, such as `{example}`"), |text| {
        let path = Path::new(text);
        let plain = path.components().all(|component| component != Component::ParentDir);
        (path.is_absolute() && plain).then(|| path.to_owned())
    })
}
