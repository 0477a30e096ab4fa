//! A working directory full of files that a careless program would read or run.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

/// Files that a careless program would read or run from its working directory.
const PLANTED: [&str; 20] = [
    ".infra/config.json",
    "config.json",
    "infra.toml",
    ".env",
    ".netrc",
    "infra",
    "infrad",
    "xdg-open",
    "firefox",
    "sh",
    "gio",
    "UTC",
    "localtime",
    "ca.pem",
    "resolv.conf",
    "hosts",
    "nsswitch.conf",
    "libc.so.6",
    "openssl.cnf",
    "bus",
];

/// Creates the directory.
pub fn planted() -> TempDir {
    let directory = TempDir::with_prefix("infra-planted-").expect("a temporary directory");
    for name in PLANTED {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, "#!/bin/sh\ntouch pwned\n").expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("our own");
    }
    directory
}
