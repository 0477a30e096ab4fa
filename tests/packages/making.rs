//! What `deploy/packages` refuses to build, and which files a new version has to change.

use std::process::{Command, Stdio};
use std::time::Duration;

use infra_harness::program::Running;
use tempfile::TempDir;

use super::debian::workspace;

const BOUND: Duration = Duration::from_mins(1);

#[test]
fn files_on_release_page_contain_version() {
    let page = std::fs::read_to_string(workspace().join("docs/releasing.md")).expect("the page");
    let (_, list) = page.split_once("Write the same version into").expect("a list of files");
    let (list, _) = list.split_once("generate the manual pages").expect("its end");
    let files: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
    assert!(files.len() >= 8, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(workspace().join(file)).unwrap_or_else(|_| panic!("no {file}"));
        assert!(text.contains(env!("CARGO_PKG_VERSION")), "{file}");
    }
}

#[test]
fn packaging_refuses_vendored_libcrypto() {
    let folder = TempDir::with_prefix("infra-making-").expect("a temporary directory");
    let tool = |name: &str, script: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a program");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a program");
    };
    let built = folder.path().join("built");
    tool("cargo", &format!("touch {}; exit 1", built.display()));
    tool("cargo-deb", "exit 1");
    // Simulates a machine without libcrypto's headers.
    tool("pkg-config", "exit 1");
    #[expect(clippy::disallowed_methods, reason = "the other programs are the machine's")]
    let path = std::env::var("PATH").expect("a path");
    let mut command = Command::new(workspace().join("deploy/packages"));
    command
        .env("PATH", format!("{}:{path}", folder.path().display()))
        .env("INFRA_PEERS", folder.path())
        .env("CARGO_TARGET_DIR", folder.path().join("target"))
        .env("CC", "false")
        .env_remove("OPENSSL_DIR")
        .stdin(Stdio::null());
    let ran = Running::start(command, "deploy/packages".to_owned(), None, BOUND).wait();
    ran.expect(1).stderr_contains(&["libcrypto's headers are not installed", "apt install libssl-dev"]);
    assert!(!built.exists(), "something was built");
}
