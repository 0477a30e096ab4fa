//! Findings of TLS scanners at a port of 127.0.0.1.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use infra_harness::peers;
use infra_harness::program::{Ran, Running};

/// Time limit of a scan on a busy machine.
const PATIENCE: Duration = Duration::from_mins(5);

/// Returns the violations of Mozilla's modern profile that sslyze finds. Fails the test unless the chain is
/// in order and leads to the CA in this file.
///
/// Returns `None` and reports a skip if sslyze is not installed.
#[track_caller]
pub fn find_with_sslyze(port: u16, name: &str, authority: &Path) -> Option<Vec<String>> {
    let program = peers::find("sslyze", "bin/sslyze")?.join("bin/sslyze");
    let mut command = Command::new(program);
    command
        .args(["--mozilla_config=modern", "--certinfo_ca_file"])
        .arg(authority)
        .arg(format!("{name}:{port}{{127.0.0.1}}"));
    let ran = run(command, "sslyze");
    for good in ["OK - Certificate is trusted", "OK - Order is valid"] {
        assert!(ran.stdout.contains(good), "{good:?} is not found\n{ran}");
    }
    // Control: the scan reached a verdict.
    let Some((_, judgement)) =
        ran.stdout.split_once("Checking results against Mozilla's \"modern\" configuration")
    else {
        panic!("it did not judge\n{ran}");
    };
    let found: Vec<String> =
        judgement.lines().filter_map(|line| line.trim().strip_prefix("* ")).map(str::to_owned).collect();
    assert_eq!(ran.code, Some(i32::from(!found.is_empty())), "{ran}");
    assert_eq!(judgement.contains("OK - Compliant."), found.is_empty(), "{ran}");
    Some(found)
}

/// Returns testssl.sh's findings above `LOW` as `id: finding`, with the CA in this file as a root.
///
/// Returns `None` and reports a skip if testssl.sh is not installed.
#[track_caller]
pub fn find_with_testssl(port: u16, name: &str, authority: &Path) -> Option<Vec<String>> {
    let program = peers::find_program("testssl")?;
    let directory = TempDir::with_prefix("infra-testssl-").expect("a temporary directory");
    let file = directory.path().join("findings.json");
    let mut command = Command::new(program);
    command
        .args(["--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1", "-n", "none", "--add-ca"])
        .arg(authority)
        .arg("--jsonfile")
        .arg(&file)
        .arg(format!("https://{name}:{port}/v1/server"))
        .current_dir(directory.path());
    // The exit code counts findings of every severity.
    let ran = run(command, "testssl");
    let findings = std::fs::read(&file).unwrap_or_default();
    let findings: Vec<Value> =
        serde_json::from_slice(&findings).unwrap_or_else(|error| panic!("no findings: {error}\n{ran}"));
    let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
    // Control: the scan completed, without giving up on the server.
    for id in ["TLS1_3", "cert_chain_of_trust", "LUCKY13"] {
        let is_found = findings.iter().any(|finding| finding["id"] == id && finding["severity"] == "OK");
        assert!(is_found, "{id} is not found to be good\n{ran}");
    }
    let is_harmless = |finding: &&Value| match text(finding, "severity").as_str() {
        "OK" | "INFO" | "LOW" => true,
        // testssl.sh disconnects immediately, so it may miss the ticket, which TLS 1.3 sends after the
        // handshake.
        "WARN" => finding["id"] == "sessionresumption_ticket",
        _ => false,
    };
    let found = findings.iter().filter(|finding| !is_harmless(finding));
    Some(found.map(|finding| format!("{}: {}", text(finding, "id"), text(finding, "finding"))).collect())
}

fn run(mut command: Command, name: &str) -> Ran {
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LANG", "C.UTF-8")
        .env("TERM", "dumb");
    command.stdin(Stdio::null());
    Running::start(command, name.to_owned(), None, PATIENCE).wait()
}
