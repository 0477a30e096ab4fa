//! Finds what prevents a start, without creating anything. `serve` stops at the first problem; `infrad check` shows all.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use infra_shared::clock::{Clock, SystemClock};

use super::data_directory::{check_new_store, check_replaced, check_rollback};
use super::{AssemblyError, StartOverrides, expected_public_urls, no_control_socket};
use crate::audit::{Audit, AuditSettings};
use crate::config::Config;
use crate::control::ControlSocket;
use crate::keys::{self, Keys, RootKeySettings};
use crate::listener;
use crate::platform::{self, HandedSockets, PlatformError};
use crate::store::Store;
use crate::tls::{OtherSource, TlsError};
use crate::upkeep::RollbackGuardFile;

/// One reason why the daemon cannot start.
#[derive(Debug)]
pub struct StartProblem {
    /// The part of the daemon that it concerns.
    pub about: &'static str,
    pub what: String,
    pub error: AssemblyError,
}

/// Fails with the first problem, before the start creates a file or a directory.
pub(super) async fn expect_none(
    config: &Config,
    overrides: StartOverrides,
    handed: &HandedSockets,
) -> Result<(), AssemblyError> {
    check_addresses(config, handed.addresses())?;
    check_data_directory(&config.data_dir)?;
    platform::expect_unlocked(&config.data_dir)?;
    let is_open = |address| handed.addresses().any(|open| open == address);
    let first = find_start_problems(config, overrides, is_open).await.into_iter().next();
    first.map_or(Ok(()), |first| Err(first.error))
}

/// Finds the problems of a start by this user, in the order of the start. Does not contact AWS KMS or Vault.
///
/// `is_open` returns whether an address is already open for the daemon.
pub async fn find_start_problems(
    config: &Config,
    overrides: StartOverrides,
    is_open: impl Fn(SocketAddr) -> bool,
) -> Vec<StartProblem> {
    let mut found = Vec::new();
    let mut add = |about: &'static str, what: String, checked: Result<(), AssemblyError>| {
        found.extend(checked.err().map(|error| StartProblem { about, what, error }));
    };
    let (data_dir, shown) = (&config.data_dir, config.data_dir.display().to_string());
    let directory = check_data_directory(data_dir)
        .and_then(|()| platform::lock_holder(data_dir).map(drop).map_err(AssemblyError::from))
        .and_then(|()| ControlSocket::check(data_dir).map_err(|source| no_control_socket(data_dir, source)));
    if directory.is_ok() {
        let store = check_new_store(config, overrides).map(drop);
        let root_key = config.root_keys.first().map(RootKeySettings::describe).unwrap_or_default();
        // The keys of a shared database are rows.
        let opened = match config.database {
            Some(_) => Ok(()),
            None => keys::check(data_dir, &config.root_keys).await.map_err(AssemblyError::from),
        };
        let is_rejected = store.is_err();
        add("store", shown, store);
        if !is_rejected {
            add("root key", root_key, opened);
        }
    } else {
        add("data directory", shown, directory);
    }
    let rollback_guard_file = RollbackGuardFile::new(config.rollback_guard_file.clone());
    let path = rollback_guard_file.path().map(|path| path.display().to_string()).unwrap_or_default();
    add("rollback guard", path, rollback_guard_file.check_access().map_err(AssemblyError::from));
    if let Some(settings) = &config.audit {
        let what = match settings {
            AuditSettings::File { path, .. } => path.display().to_string(),
            AuditSettings::Journal => "journal".to_owned(),
        };
        let checked = if is_in_created_directory(settings, config) { Ok(()) } else { Audit::check(settings) };
        add("audit log", what, checked.map_err(AssemblyError::from));
    }
    if let OtherSource::Files(files) = &config.https.source {
        let host = expected_public_urls(config).first().map(|origin| origin.host().to_owned());
        let checked = files.check_certificate(&Vec::from_iter(host), SystemClock.now());
        let checked = checked.map(drop).map_err(|error| TlsError::from(error).into());
        add("https", files.certificate.display().to_string(), checked);
    }
    let others = config.metrics.into_iter().chain(config.https.redirect_http);
    for address in std::iter::once(config.listen).chain(others).filter(|address| !is_open(*address)) {
        let checked = listener::check_address(address);
        let checked = checked.map_err(|source| AssemblyError::Listen { address, source });
        add("address", address.to_string(), checked);
    }
    found
}

/// Checks that the data can be kept there. Advises no change of owner or mode to a directory that holds something else.
fn check_data_directory(data_dir: &Path) -> Result<(), AssemblyError> {
    platform::check_private_directory(data_dir).map_err(|error| {
        let cause = match &error {
            PlatformError::TooOpen { .. } => "others may read it",
            PlatformError::OtherOwner { .. } => "another user owns it",
            _ => return error.into(),
        };
        if holds_other_files(data_dir) {
            return AssemblyError::OtherFiles { data_dir: data_dir.display().to_string(), cause };
        }
        error.into()
    })
}

/// Whether `directory` was made for something else: it holds files and no store. `false` if this user cannot see them.
pub fn holds_other_files(directory: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else { return false };
    let names: Vec<std::ffi::OsString> = entries.flatten().map(|entry| entry.file_name()).collect();
    let ours = ["keys.json", "lock", "control.sock", "infrad.db"];
    !names.is_empty() && !names.iter().any(|name| ours.iter().any(|our| name == our))
}

/// Whether an earlier step of the start creates the audit log's directory: with the data directory or the root key.
fn is_in_created_directory(settings: &AuditSettings, config: &Config) -> bool {
    let AuditSettings::File { path, .. } = settings else { return false };
    let Some(directory) = path.parent().filter(|directory| matches!(directory.try_exists(), Ok(false)))
    else {
        return false;
    };
    let of_root_key = match config.root_keys.first() {
        Some(RootKeySettings::Native { path }) => path.parent(),
        _ => None,
    };
    let made = [Some(config.data_dir.as_path()), of_root_key];
    made.into_iter().flatten().any(|made| made.starts_with(directory))
}

/// Rejects a passed socket that nothing serves, because connections to it would hang.
pub fn check_addresses(
    config: &Config,
    handed: impl IntoIterator<Item = SocketAddr>,
) -> Result<(), AssemblyError> {
    let others = config.https.redirect_http.iter().chain(&config.metrics);
    let expected: Vec<SocketAddr> = others.copied().chain([config.listen]).collect();
    let unknown = handed.into_iter().find(|address| !expected.contains(address));
    unknown.map_or(Ok(()), |address| Err(AssemblyError::Handed { address }))
}

/// Tries to open a copy of the existing store, so that the data directory does not change. Returns an I/O error if it
/// cannot be copied.
pub async fn find_store_problem(config: &Config) -> std::io::Result<Option<StartProblem>> {
    let is_native = |root_key: &RootKeySettings| matches!(root_key, RootKeySettings::Native { .. });
    if config.database.is_some() || !config.root_keys.iter().all(is_native) {
        return Ok(None);
    }
    // `find_start_problems` reports keys that do not open.
    let Ok(Some(keys)) = Keys::open(&config.data_dir, &config.root_keys).await else { return Ok(None) };
    let directory = platform::temporary_directory("infrad-check-")?;
    let database = keys.database_file();
    for companion in ["", "-wal"] {
        let name = format!("{database}{companion}");
        copy_if_there(&config.data_dir.join(&name), &directory.path().join(&name))?;
    }
    let checked = check_store(config, &keys, directory.path().join(&database)).await;
    // A daemon that started meanwhile may have written to the files during the copy.
    if !matches!(platform::lock_holder(&config.data_dir), Ok(None)) {
        return Ok(None);
    }
    let what = config.data_dir.join(&database).display().to_string();
    Ok(checked.err().map(|error| StartProblem { about: "store", what, error }))
}

fn copy_if_there(from: &Path, to: &Path) -> std::io::Result<()> {
    match std::fs::copy(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        copied => copied.map(drop),
    }
}

async fn check_store(config: &Config, keys: &Keys, copy: PathBuf) -> Result<(), AssemblyError> {
    let store = Store::open(copy, keys.database_key()).await?;
    let rollback_guard_file = RollbackGuardFile::new(config.rollback_guard_file.clone());
    if let Some(error) = check_replaced(&store, keys.moved(), config).await? {
        return Err(error);
    }
    check_rollback(&store, &rollback_guard_file, &keys.status().store)?.expect_current(config)
}
