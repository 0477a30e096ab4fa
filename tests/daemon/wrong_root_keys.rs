//! `keys` names another file than the root key: every command asks for the path first, and none has advice that would move,
//! remove or overwrite that file.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use infra_harness::daemon::Daemon;
use infra_harness::program::{Running, built};
use infra_harness::provider::Provider;
use infra_harness::wait;
use infra_peers::root_keys::native;
use rustix::fs::{CWD, Mode, mkfifoat};

const LIMIT: Duration = Duration::from_mins(1);
/// The daemon waits for a file system before it calls it hanging.
const HANG: Duration = Duration::from_mins(1);
/// What would harm a file of another program.
const HARM: [&str; 6] = ["mv ", "rm ", "remove the file", "install -o", "`shred", "urandom"];

fn use_key(daemon: &mut Daemon, path: &Path) {
    daemon.change(|configuration| configuration.root_keys = Some(format!("[{}]", native(path))));
}

fn write_private(path: &Path, contents: &[u8]) {
    std::fs::write(path, contents).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o400)).expect("a mode");
}

/// Runs each command, whose output has to ask for the path. Returns all output.
fn asked(daemon: &Daemon, commands: &[&[&str]]) -> String {
    let mut all = String::new();
    for words in commands {
        let ran = daemon.infrad_slice_with_input(words, "").wait().expect(1);
        let output = format!("{}{}", ran.stdout, ran.stderr);
        let asks = ["path in `keys`", "paths in `keys`"].iter().any(|words| output.contains(words));
        assert!(asks, "{words:?}: {output}");
        all.push_str(&output);
    }
    all
}

#[test]
fn advice_for_wrong_root_key_touches_no_file() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let (secret, other) = (daemon.directory().join("other.secret"), daemon.directory().join("other.key"));
    write_private(&secret, b"another program's file");
    write_private(&other, &[7; 32]);
    for (path, running) in [(&secret, &[&["check"][..], &["key", "rewrap"]][..]), (&other, &[&["check"][..]])]
    {
        use_key(&mut daemon, path);
        let advice = asked(&daemon, running);
        assert!(advice.contains("keep infrad running"), "{advice}");
        assert!(!HARM.iter().any(|harm| advice.contains(harm)), "{advice}");
    }
    daemon.stop();
    for path in [&secret, &other] {
        use_key(&mut daemon, path);
        let advice = asked(&daemon, &[&["check"], &["serve"], &["key", "status"], &["key", "rewrap"]]);
        assert!(!HARM.iter().any(|harm| advice.contains(harm)), "{advice}");
    }
}

/// The usual cause is a copy with a line break, which may be the last one.
#[test]
fn restore_with_key_of_other_length_touches_no_file() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    daemon.infrad(["backup", "kept"]).wait().expect(0);
    daemon.stop();
    let (root_key, data) = (daemon.root_key(), daemon.data_dir());
    let mut copied = std::fs::read(&root_key).expect("the root key");
    copied.push(b'\n');
    std::fs::remove_file(&root_key).expect("a file");
    write_private(&root_key, &copied);
    std::fs::rename(&data, data.with_extension("lost")).expect("a directory");
    let ran = daemon.infrad(["restore", "kept"]).wait().expect(1);
    assert!(ran.stderr.contains("copy it again as bytes"), "{ran}");
    assert!(!HARM.iter().any(|harm| ran.stderr.contains(harm)), "{ran}");
}

#[test]
fn open_root_key_of_running_daemon_needs_chmod_alone() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let root_key = daemon.root_key();
    std::fs::set_permissions(&root_key, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    let checked = daemon.infrad(["check"]).wait().expect(1).stdout;
    assert!(checked.contains("chmod 600"), "{checked}");
    assert!(!HARM.iter().any(|harm| checked.contains(harm)), "{checked}");
}

#[test]
fn missing_root_key_is_named_by_id_if_path_is_mistyped() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let status = daemon.infrad(["key", "status", "--json"]).wait().expect(0).json();
    let id = status["rootKey"].as_str().expect("an id").to_owned();
    daemon.stop();
    let mistyped = daemon.directory().join("keys/rot.key");
    use_key(&mut daemon, &mistyped);
    for words in [&["check"][..], &["serve"], &["key", "status"], &["key", "rewrap"]] {
        let ran = daemon.infrad_slice_with_input(words, "").wait().expect(1);
        let output = format!("{}{}", ran.stdout, ran.stderr);
        for expected in [&format!("needs the root key {id}: check its path in `keys`"), "is mounted"] {
            assert!(output.contains(expected), "{words:?}: {expected}: {output}");
        }
    }
}

/// Opening a pipe without a writer blocks, as a file of a network that is gone does.
#[test]
fn status_is_degraded_while_configuration_hangs() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let (path, sound) = (daemon.configuration_file(), daemon.directory().join("sound.yaml"));
    let becomes = |daemon: &Daemon, words: &str| {
        // The command reads another file, and would hang otherwise.
        let shown = || {
            let mut command = Command::new(built("infrad"));
            command.args(["status", "--config"]).arg(&sound);
            let status = Running::start(command, "infrad status".to_owned(), None, LIMIT).wait();
            status.expect(0).stdout.contains(words).then_some(())
        };
        assert!(wait::until(HANG, shown).is_some(), "{words}: {}", daemon.log());
    };
    let hang = || {
        std::fs::copy(&path, &sound).expect("a copy");
        std::fs::remove_file(&path).expect("the configuration");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("a pipe");
    };
    let release = || {
        let writer = std::fs::File::options().read(true).write(true).open(&path).expect("its reader waits");
        std::fs::rename(&sound, &path).expect("a file");
        std::fs::copy(&path, &sound).expect("a copy");
        drop(writer);
    };
    hang();
    let hanging = format!("{} cannot be read: its file system does not respond", path.display());
    becomes(
        &daemon,
        &format!("state         degraded: {hanging}; infrad cannot start again: keep it running"),
    );
    release();
    becomes(&daemon, "state         ready\n");
    // It ends although a look at the files hangs.
    hang();
    becomes(&daemon, &hanging);
    daemon.stop();
    let said = daemon.complete_log().matches("this daemon cannot start again").count();
    assert_eq!(said, 2, "once for each time it hung: {}", daemon.log());
}

#[test]
fn status_is_degraded_unless_root_key_opens_store() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let path = daemon.root_key();
    let copy = daemon.directory().join("copy");
    std::fs::copy(&path, &copy).expect("a copy");
    let becomes = |daemon: &Daemon, words: &str| {
        let shown =
            || Some(daemon.infrad(["status"]).wait().expect(0).stdout).filter(|it| it.contains(words));
        let shown = wait::until(LIMIT, shown).unwrap_or_else(|| panic!("{words}: {}", daemon.log()));
        assert!(words.contains("ready") || shown.contains("cannot start again: keep it running"), "{shown}");
    };
    let replace = |contents: &[u8], mode| {
        std::fs::remove_file(&path).expect("the root key");
        std::fs::write(&path, contents).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    };
    let key = std::fs::read(&copy).expect("the copy");
    for (contents, mode, words, role) in [
        (&[7; 20][..], 0o400, "has 20 bytes, but a root key has 32", "(unusable: "),
        (&[7; 32], 0o400, "needs the root key native:", "(does not open the store: check its path"),
        (&key, 0o644, "other users can read", "(unusable: "),
    ] {
        replace(contents, mode);
        becomes(&daemon, words);
        let roles = daemon.infrad(["key", "status"]).wait().expect(0).stdout;
        assert!(roles.contains(role), "{role}: {roles}");
        replace(&key, 0o400);
        becomes(&daemon, "state         ready\n");
    }
    // The path on disk is mistyped, and the key is where it was.
    let mistyped = daemon.directory().join("keys/rot.key");
    use_key(&mut daemon, &mistyped);
    becomes(&daemon, &format!("{} is missing", mistyped.display()));
    becomes(&daemon, &format!("(the running infrad opened its data with {})", path.display()));
    use_key(&mut daemon, &path);
    becomes(&daemon, "state         ready\n");
}
