//! `infrad dev -- COMMAND`: a complete setup on loopback for one command, removed afterwards.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use infra_harness::program::{Ran, RecordingBrowser, Running, built, files_with_modes};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_mins(1);

#[test]
fn command_gets_environment_and_its_exit_code_is_returned() {
    let home = tempfile::tempdir().expect("a home");
    let script = r#"echo "home=$INFRA_HOME"; echo "server=$INFRA_SERVER"; echo "pin=$INFRA_FINGERPRINT"
        test -s "$INFRA_DEV_CA_FILE" && test -s "$INFRA_DEV_CREDENTIAL_FILE" || exit 8
        command -v infra; test -d "$INFRA_HOME" || test -d "$(dirname "$INFRA_HOME")" || exit 9; exit 7"#;
    let ran = dev(home.path(), &["sh", "-c", script]).expect(7);

    let said = |name: &str| ran.stdout.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let infra_home = said("home=");
    assert!(!infra_home.is_empty(), "{ran}");
    assert!(said("server=").starts_with("https://"), "{ran}");
    assert!(said("pin=").starts_with("sha256:"), "{ran}");
    let folder = built("infrad").parent().expect("a folder").to_owned();
    let infra = folder.join("infra");
    assert!(
        ran.stdout.lines().any(|line| Path::new(line) == infra),
        "its folder is not first in PATH\n{ran}"
    );
    assert!(!Path::new(infra_home).exists(), "{infra_home} was left behind");
}

#[test]
fn dev_says_that_it_is_for_development() {
    let home = tempfile::tempdir().expect("a home");
    let ran = dev(home.path(), &["true"]).expect(0).stderr_contains(&["development"]).stdout_is_empty();
    assert!(ran.stderr.contains("alice"), "{ran}");
}

#[test]
fn configuration_file_is_ignored_with_a_warning() {
    let home = tempfile::tempdir().expect("a home");
    let mut command = command(home.path(), &["true"]);
    command.env("INFRAD_CONFIG", "/nowhere/infrad.yaml");
    let ran = Running::start(command, "infrad dev".to_owned(), None, LIMIT).wait().expect(0);
    ran.stderr_contains(&["has a configuration of its own and ignores /nowhere/infrad.yaml"]);
    let ran = dev(home.path(), &["true"]).expect(0);
    assert!(!ran.stderr.contains("ignores"), "{ran}");
}

#[test]
fn closed_terminal_stops_dev_and_leaves_no_files() {
    let home = tempfile::tempdir().expect("a home");
    std::fs::create_dir(home.path().join("tmp")).expect("a place for throw-away directories");
    let before = files_with_modes(home.path());
    let alone = command(home.path(), &[]);
    for dev in [alone, command(home.path(), &["sh", "-c", "echo infra login; exec sleep 60"])] {
        let mut running = Running::start(dev, "infrad dev".to_owned(), None, LIMIT);
        running.wait_for("how to sign in", |stdout, _| stdout.contains("infra login").then_some(()));
        running.signal(Signal::HUP);
        let ran = running.wait();
        assert!([Some(0), Some(129)].contains(&ran.code), "{ran}");
        // It would store this daemon in the user's own home.
        assert!(!ran.stdout.contains("users sign in with"), "{ran}");
        assert_eq!(files_with_modes(home.path()), before);
    }
}

#[test]
fn directory_of_dev_is_private() {
    let home = tempfile::tempdir().expect("a home");
    let script = r#"stat --format %a "$(dirname "$INFRA_DEV_CREDENTIAL_FILE")""#;
    assert_eq!(dev(home.path(), &["sh", "-c", script]).expect(0).stdout, "700\n");
}

#[test]
fn dev_leaves_no_files() {
    let home = tempfile::tempdir().expect("a home");
    std::fs::create_dir(home.path().join("tmp")).expect("a place for throw-away directories");
    let before = files_with_modes(home.path());
    dev(home.path(), &["true"]).expect(0);
    dev(home.path(), &["false"]).expect(1);
    assert_eq!(files_with_modes(home.path()), before);
}

#[test]
fn dev_starts_signed_out() {
    let home = tempfile::tempdir().expect("a home");
    let status = dev(home.path(), &["infra", "status", "--json"]).expect(3);
    assert_eq!(status.json()["state"], "logged_out", "{status}");
}

#[test]
fn dev_runs_login_to_logout_in_one_command() {
    let home = tempfile::tempdir().expect("a home");
    let script = "infra login && infra status --json && infra logout && infra status --quiet";
    let browser = RecordingBrowser::signing_in("alice", &[]);
    let mut command = command(home.path(), &["sh", "-c", script]);
    browser.prepare(&mut command);
    let ran = Running::start(command, "infrad dev -- sh -c …".to_owned(), None, LIMIT).wait().expect(3);
    assert_eq!(ran.json()["user"]["provider"].as_str().map(str::is_empty), Some(false), "{ran}");
}

#[test]
fn dev_shows_a_wrong_audience_and_a_user_who_is_not_admitted() {
    let home = tempfile::tempdir().expect("a home");
    let asked = r#"infra login && infra token --audience demo >demo && infra token --audience reports >reports
        echo "code=$?"
        for service in demo reports; do
            printf 'Authorization: Bearer %s\n' "$(cat demo)" |
                curl --silent --output /dev/null --write-out "$service=%{http_code}\n" --cacert "$INFRA_DEV_CA_FILE" \
                    --header @- "$INFRA_SERVER/v1/verify/$service"
        done"#;
    for (user, code) in [("alice", "code=0"), ("bob", "code=1")] {
        let browser = RecordingBrowser::signing_in(user, &[]);
        let mut command = command(home.path(), &["sh", "-c", asked]);
        browser.prepare(&mut command);
        let ran = Running::start(command, format!("infrad dev as {user}"), None, LIMIT).wait().expect(0);
        for words in [code, "demo=200", "reports=401"] {
            assert!(ran.stdout.contains(words), "{user}: no {words}\n{ran}");
        }
        assert_eq!(ran.stderr.contains("does not admit you"), user == "bob", "{ran}");
    }
}

#[test]
fn missing_command_fails_and_leaves_nothing() {
    let home = tempfile::tempdir().expect("a home");
    std::fs::create_dir(home.path().join("tmp")).expect("a place for throw-away directories");
    let before = files_with_modes(home.path());
    let ran = dev(home.path(), &["infra-no-such-command"]).stderr_contains(&["infra-no-such-command"]);
    assert_ne!(ran.code, Some(0), "{ran}");
    assert_eq!(files_with_modes(home.path()), before);
}

fn dev(home: &Path, arguments: &[&str]) -> Ran {
    let name = format!("infrad dev -- {}", arguments.join(" "));
    Running::start(command(home, arguments), name, None, LIMIT).wait()
}

fn command(home: &Path, arguments: &[&str]) -> Command {
    let temporary = home.join("tmp");
    std::fs::create_dir_all(&temporary).expect("a place for throw-away directories");
    let mut command = Command::new(built("infrad"));
    command
        .arg("dev")
        .args(arguments.first().map(|_| "--"))
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", home)
        .env("TMPDIR", &temporary)
        .env("LANG", "C.UTF-8")
        .env("TZ", "UTC")
        .current_dir(home)
        .stdin(Stdio::null());
    command
}
