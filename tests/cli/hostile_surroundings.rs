//! Hostile environments: odd variables, odd working directories, another user's home. `infra` works or
//! reports the reason, and uses no file from the working directory.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::odd_file_system::OddFileSystem;
use infra_harness::planted::planted;
use infra_harness::program::{Ran, RecordingBrowser, User, built, files_with_modes};
use infra_harness::provider::Provider;
use infra_harness::{peers, skip};

/// A user ID that is neither root nor a regular user.
const NOBODY: u32 = 65_534;

struct Scene {
    provider: Provider,
    daemon: Daemon,
    alice: User,
}

impl Scene {
    fn signed_in() -> Self {
        let provider = Provider::start();
        let daemon = Daemon::start(&provider);
        let scene = Self { provider, daemon, alice: User::new() };
        login::succeed(&scene.alice, &scene.daemon, &scene.provider);
        scene
    }

    fn browser(&self) -> RecordingBrowser {
        RecordingBrowser::signing_in("alice", &[self.provider.authority_file()])
    }
}

/// The value of a variable; `None` if unset.
type Value = Option<&'static [u8]>;

/// Variables, the exit code of `infra status` with them, and words that it must print.
struct Row(&'static [(&'static str, Value)], i32, &'static str);

const FINE: i32 = 0;

/// Each row is tested alone. `HOME`, `INFRA_HOME`, `PATH`, `LANG` and `TZ` are otherwise those of a signed-in
/// user.
#[rustfmt::skip]
const MATRIX: [Row; 52] = [
    Row(&[("HOME", None)], FINE, ""),
    Row(&[("HOME", Some(b""))], FINE, ""),
    Row(&[("HOME", Some(b"relative"))], FINE, ""),
    Row(&[("HOME", Some(b"/nonexistent"))], FINE, ""),
    Row(&[("HOME", Some(b"/dev/null"))], FINE, ""),
    Row(&[("HOME", Some(b"\xff\xfe"))], FINE, ""),
    Row(&[("INFRA_HOME", None)], FINE, ""),
    Row(&[("INFRA_HOME", Some(b""))], 2, "INFRA_HOME is set, but empty"),
    Row(&[("INFRA_HOME", Some(b"relative"))], 2, "INFRA_HOME must be an absolute path"),
    Row(&[("INFRA_HOME", None), ("HOME", Some(b"relative"))], 1, "your home directory is not known"),
    Row(&[("INFRA_HOME", Some(b"/dev/null"))], 1, "/dev/null is not a directory"),
    Row(&[("INFRA_HOME", Some(b"/dev/null/infra"))], 1, "Not a directory"),
    Row(&[("INFRA_HOME", Some(b"/nonexistent/\xff"))], 3, ""),
    Row(&[("PATH", None)], FINE, ""),
    Row(&[("PATH", Some(b""))], FINE, ""),
    Row(&[("PATH", Some(b"."))], FINE, ""),
    Row(&[("PATH", Some(b":::"))], FINE, ""),
    Row(&[("PATH", Some(b"\xff:/nonexistent"))], FINE, ""),
    Row(&[("LANG", None)], FINE, ""),
    Row(&[("LC_ALL", Some(b"C"))], FINE, ""),
    Row(&[("LC_ALL", Some(b"xx_YY.bogus@nowhere"))], FINE, ""),
    Row(&[("LC_ALL", Some(b"tr_TR.UTF-8"))], FINE, ""),
    Row(&[("LC_ALL", Some(b"\xff"))], FINE, ""),
    Row(&[("LANG", Some(b"../../etc/passwd"))], FINE, ""),
    Row(&[("TERM", None)], FINE, ""),
    Row(&[("TERM", Some(b""))], FINE, ""),
    Row(&[("TERM", Some(b"dumb"))], FINE, ""),
    Row(&[("TERM", Some(b"../../../etc/passwd"))], FINE, ""),
    Row(&[("TERM", Some(b"\x1b]0;x\x07"))], FINE, ""),
    Row(&[("TZ", None)], FINE, ""),
    Row(&[("TZ", Some(b""))], FINE, ""),
    Row(&[("TZ", Some(b"Nowhere/Town"))], FINE, ""),
    Row(&[("TZ", Some(b":localtime"))], FINE, ""),
    Row(&[("TZ", Some(b"../../../../etc/passwd"))], FINE, ""),
    Row(&[("TZ", Some(b"\xff"))], FINE, ""),
    Row(&[("COLUMNS", Some(b"0")), ("LINES", Some(b"-1"))], FINE, ""),
    Row(&[("COLUMNS", Some(b"99999999999999999999"))], FINE, ""),
    Row(&[("NO_COLOR", Some(b"")), ("CLICOLOR_FORCE", Some(b"x"))], FINE, ""),
    Row(&[("RUST_LOG", Some(b"trace")), ("RUST_BACKTRACE", Some(b"full"))], FINE, ""),
    Row(&[("TMPDIR", Some(b"/nonexistent"))], FINE, ""),
    Row(&[("XDG_RUNTIME_DIR", Some(b"relative")), ("XDG_CONFIG_HOME", Some(b"."))], FINE, ""),
    Row(&[("DBUS_SESSION_BUS_ADDRESS", Some(b"unix:path=bus"))], FINE, ""),
    Row(&[("SSL_CERT_FILE", Some(b"ca.pem")), ("SSL_CERT_DIR", Some(b"."))], FINE, ""),
    Row(&[("SSLKEYLOGFILE", Some(b"keys.log"))], FINE, ""),
    Row(&[("BROWSER", Some(b"./firefox"))], FINE, ""),
    Row(&[("BROWSER", Some(b"\xff"))], 2, "BROWSER is not valid UTF-8"),
    Row(&[("INFRA_SERVER", Some(b""))], 2, "INFRA_SERVER is set, but empty"),
    Row(&[("INFRA_SERVER", Some(b"http://x"))], 2, "INFRA_SERVER"),
    Row(&[("INFRA_FINGERPRINT", Some(b"junk"))], 2, "INFRA_FINGERPRINT"),
    Row(&[("INFRA_CA_FILE", Some(b"ca.pem"))], 2, "INFRA_CA_FILE must be an absolute path"),
    Row(&[("INFRA_TOKEN", Some(b"junk"))], 2, "INFRA_TOKEN"),
    Row(&[("HTTPS_PROXY", Some(b"http://\xff")), ("ALL_PROXY", Some(b"junk://"))], FINE, ""),
];

#[test]
fn status_is_correct_or_explained_for_any_variables() {
    let scene = Scene::signed_in();
    let planted = planted();
    let before = files_with_modes(planted.path());
    for Row(variables, code, words) in &MATRIX {
        let mut call = scene.alice.infra(["status"]).in_directory(planted.path());
        for (name, value) in *variables {
            call = match value {
                Some(value) => call.env(name, OsStr::from_bytes(value)),
                None => call.without(name),
            };
        }
        let ran = call.run();
        assert_eq!(ran.code, Some(*code), "{variables:?}\n{ran}");
        assert!(ran.stderr.contains(words), "{variables:?} does not say {words:?}\n{ran}");
        assert_eq!(ran.stdout.contains("signed in to"), *code == FINE, "{variables:?}\n{ran}");
        assert!(!ran.to_string().contains("panicked"), "{variables:?}\n{ran}");
    }
    assert_eq!(files_with_modes(planted.path()), before, "something was left in the working directory");
}

#[test]
fn broken_browsers_open_nothing_and_end_the_login() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let alice = User::new();
    let planted = planted();
    let before = files_with_modes(planted.path());
    for named in [
        "false",
        "/nonexistent/browser",
        "true",
        ":::",
        "%s",
        "'",
        "; touch pwned",
        "$(touch pwned)",
        "`touch pwned`",
        "-e",
        "\u{1b}[31m",
    ] {
        let words = [
            "login",
            &daemon.origin(),
            "--fingerprint",
            &daemon.fingerprint(),
            "--no-keyring",
            "--timeout",
            // If the command fails, the login ends long before.
            if named == "true" { "1s" } else { "1m" },
        ];
        // `true` reports success, so `infra` cannot know that no browser opened.
        let code = if named == "true" { 6 } else { 2 };
        alice
            .infra(words)
            .env("BROWSER", named)
            .in_directory(planted.path())
            .run()
            .expect(code)
            .stdout_is_empty();
    }
    assert_eq!(files_with_modes(planted.path()), before, "a shell ran");
}

#[test]
fn odd_streams_limits_and_directories_do_not_matter() {
    let scene = Scene::signed_in();
    for (script, words, code) in [
        ("exec \"$@\" <&-", "", 0),
        ("exec \"$@\" >&- 2>&-", "", 0),
        ("exec \"$@\" >/dev/full", "cannot write to standard output", 1),
        ("ulimit -n 16; exec \"$@\"", "", 0),
        ("umask 000; exec \"$@\"", "", 0),
        ("umask 277; exec \"$@\"", "", 0),
        ("mkdir gone && cd gone && rmdir ../gone && exec \"$@\"", "", 0),
        ("mkdir shut && cd shut && chmod 000 . && exec \"$@\"", "", 0),
        ("trap '' PIPE HUP TERM; exec \"$@\"", "", 0),
        ("exec -a '' \"$@\"", "", 0),
    ] {
        let ran = scene.alice.infra(["status"]).under(["bash", "-c", script, "bash"]).run().expect(code);
        assert!(ran.stderr.contains(words), "{script}\n{ran}");
    }
    let browser = scene.browser();
    for umask in ["000", "077"] {
        let script = format!("umask {umask}; exec \"$@\"");
        let bob = User::new();
        let call = login::call(&bob, &scene.daemon).under(["bash", "-c", &script, "bash"]);
        call.browser(&browser).run().expect(0);
        let files = bob.files();
        assert!(
            !files.lines().any(|line| !line.starts_with("0700 directory") && !line.starts_with("0600 file")),
            "{files}"
        );
    }
}

#[test]
fn home_of_another_user_stays_unchanged() {
    let scene = Scene::signed_in();
    // Like `sudo` with `HOME` preserved: another user's home and root's rights.
    let bob = User::new();
    if chown(bob.home(), Some(NOBODY), None).is_err() {
        return skip::report("only root can give files away");
    }
    let browser = scene.browser();
    let attempt = |words: &[&str]| {
        let (origin, fingerprint) = (scene.daemon.origin(), scene.daemon.fingerprint());
        let mut words: Vec<&str> = words.to_vec();
        if words[0] == "login" {
            words.extend([origin.as_str(), "--fingerprint", &fingerprint]);
        }
        bob.infra(words).without("INFRA_HOME").browser(&browser).run()
    };
    let refused = |ran: Ran| {
        let ran = ran.expect(1).stdout_is_empty();
        assert!(
            ran.stderr.contains("another user (uid 65534)") && ran.stderr.contains("without `sudo`"),
            "{ran}"
        );
    };
    refused(attempt(&["login"]));
    assert_eq!(browser.opened(), Vec::<String>::new(), "it was found out too late");
    let doctor = attempt(&["doctor"]).expect(1);
    assert!(doctor.stdout.contains("failed files") && doctor.stdout.contains("another user"), "{doctor}");
    assert_eq!(files_with_modes(bob.home()).lines().count(), 1, "{}", files_with_modes(bob.home()));

    // Also with an existing directory.
    fs::create_dir(bob.infra_home()).expect("a directory");
    fs::set_permissions(bob.infra_home(), Permissions::from_mode(0o755)).expect("root may");
    chown(bob.infra_home(), Some(NOBODY), None).expect("root may");
    for words in [&["login"][..], &["status"], &["token"], &["logout"]] {
        refused(attempt(words));
    }
    assert_eq!(files_with_modes(&bob.infra_home()), "0755 directory .\n", "it was changed");
    assert_eq!(fs::metadata(bob.infra_home()).expect("it is there").uid(), NOBODY);
}

#[test]
fn home_comes_from_account_and_missing_one_is_reported() {
    let Some(setpriv) = peers::find_program("setpriv") else { return };
    if !is_root() {
        return skip::report("only root can become another user");
    }
    let alice = User::new();
    fs::set_permissions(alice.home(), Permissions::from_mode(0o755)).expect("our own");
    let nobody = |words: &[&str]| {
        let setpriv: [OsString; 4] = [
            setpriv.clone().into(),
            format!("--reuid={NOBODY}").into(),
            format!("--regid={NOBODY}").into(),
            "--clear-groups".into(),
        ];
        alice.infra(words).without("INFRA_HOME").under(setpriv)
    };
    // The home of the account `nobody` is /nonexistent.
    nobody(&["status"]).without("HOME").run().expect(3);
    let words = ["login", "127.0.0.1:1", "--fingerprint", &format!("sha256:{}", "0".repeat(64))];
    let ran = nobody(&words).without("HOME").run().expect(1);
    assert!(ran.stderr.contains("Permission denied"), "{ran}");
    let ran = nobody(&words).run().expect(1);
    assert!(ran.stderr.contains("Permission denied"), "{ran}");
    assert_eq!(alice.files(), "");
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

#[test]
fn quiet_status_explains_failures_in_one_line() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let alice = User::new();
    let line = |user: &User, words: &[&str], code: i32, expected: &str| {
        let ran = user.infra([&["status", "--quiet"], words].concat()).run().expect(code).stdout_is_empty();
        assert_eq!(
            (ran.stderr.lines().count(), ran.stderr.contains(expected)),
            (1, true),
            "{expected}\n{ran}"
        );
    };
    line(&alice, &[], 3, "no server is known here: `infra login SERVER`");
    line(&alice, &["--all"], 3, "no server is known here");
    login::succeed(&alice, &daemon, &provider);
    for words in [&["status", "--quiet"][..], &["status", "--quiet", "--all"]] {
        let ran = alice.infra(words).run().expect(0);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    }
    daemon.stop();
    line(&alice, &[], 4, "cannot check the session at");
    line(&alice, &["--all"], 4, "cannot check the session at");
    alice.infra(["logout"]).run().expect(7);
    line(&alice, &[], 3, "you are not signed in");
}

/// Runs a command after the reader of its standard output is gone.
const CLOSED_PIPE: &str = "exec 3> >(:); wait $!; exec \"$@\" >&3";

#[test]
fn closed_pipe_is_not_an_error() {
    let scene = Scene::signed_in();
    for words in [
        &["status"][..],
        &["status", "--json"],
        &["status", "--all"],
        &["token"],
        &["sessions"],
        &["doctor"],
        &["doctor", "--json"],
        &["completions", "bash"],
        &["--help"],
        &["login", "--help"],
        &["--version"],
    ] {
        let ran = scene.alice.infra(words).under(["bash", "-c", CLOSED_PIPE, "bash"]).run().expect(141);
        assert_eq!(ran.stderr, "", "{words:?}");
    }
    for words in [&["completions", "zsh"][..], &["--help"], &["key", "status", "--help"], &["--version"]] {
        let ran = Command::new("bash")
            .args(["-c", CLOSED_PIPE, "bash"])
            .arg(built("infrad"))
            .args(words)
            .output()
            .expect("bash starts");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!((ran.status.code(), said.as_str()), (Some(141), ""), "{words:?}");
    }
}

#[test]
fn home_without_modes_is_reported_once() {
    let scene = Scene::signed_in();
    let Some(odd) = OddFileSystem::build() else { return };
    for what in ["no-modes", "no-chmod"] {
        for (path, mode) in [("", 0o777), ("config.json", 0o666), ("sessions.json", 0o666)] {
            let path = scene.alice.infra_home().join(path);
            fs::set_permissions(path, Permissions::from_mode(mode)).expect("the user's own file");
        }
        let ran = odd.without(what, scene.alice.infra(["status"])).run().expect(0);
        let notices = (ran.stderr.matches("cannot be made private").count(), ran.stderr.contains("only you"));
        assert_eq!(notices, (1, false), "{what}\n{ran}");
        assert!(ran.stderr.contains("INFRA_HOME"), "{ran}");
    }
    let home = scene.alice.infra_home();
    scene
        .alice
        .infra(["status"])
        .run()
        .expect(1)
        .stderr_contains(&["other users can write to", "chmod go-w"]);
    fs::set_permissions(&home, Permissions::from_mode(0o755)).expect("the user's own directory");
    let ran = scene.alice.infra(["status"]).run().expect(0);
    assert_eq!(ran.stderr.matches("now only you have access").count(), 2, "{ran}");
}

#[test]
fn home_without_locks_or_directory_sync_works() {
    let Some(odd) = OddFileSystem::build() else { return };
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    let what = "no-locks no-directory-sync";
    let ran = odd.without(what, login::call(&alice, &daemon)).browser(&browser).run().expect(0);
    assert!(ran.stderr.contains("one `infra login` at a time"), "{ran}");
    // Concurrent changes keep the files intact.
    let running: Vec<_> = (0..8)
        .map(|number| {
            let origin = daemon.origin();
            let words = if number % 2 == 0 { vec!["status"] } else { vec!["use", &origin] };
            odd.without(what, alice.infra(words)).start()
        })
        .collect();
    for running in running {
        running.wait().expect(0);
    }
    alice.infra(["status"]).run().expect(0);
    let files = alice.files();
    assert!(!files.contains("held") && !files.contains("damaged"), "{files}");
    odd.without(what, alice.infra(["logout"])).run().expect(0);
}

#[test]
fn failed_home_creation_suggests_infra_home() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    // No user can create directories there.
    let ran = login::call(&alice, &daemon).env("INFRA_HOME", "/sys/infra").run().expect(1);
    assert!(ran.stderr.contains("/sys/infra") && ran.stderr.contains("set `INFRA_HOME` to"), "{ran}");
    if !rustix::process::geteuid().is_root() {
        return skip::report("only root can be another user");
    }
    // Like the volume of a pod: owned by root, writable by its group.
    let volume = tempfile::tempdir().expect("a directory");
    let (place, program) = (volume.path().join("volume"), volume.path().join("infra"));
    fs::copy(built("infra"), &program).expect("a copy");
    fs::set_permissions(volume.path(), Permissions::from_mode(0o755)).expect("our own directory");
    fs::create_dir(&place).expect("a directory");
    chown(&place, None, Some(NOBODY)).expect("root may");
    fs::set_permissions(&place, Permissions::from_mode(0o2775)).expect("our own directory");
    let nobody = NOBODY.to_string();
    let attempt = |home: &Path| {
        let ran = Command::new("setpriv")
            .args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups"])
            .arg(&program)
            .args(["login", &daemon.origin(), "--fingerprint", &daemon.fingerprint(), "--no-keyring"])
            .args(["--no-browser", "--timeout", "1s"])
            .env_clear()
            .env("HOME", "/")
            .env("INFRA_HOME", home)
            .output()
            .expect("setpriv starts");
        (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
    };
    let (code, said) = attempt(&place);
    assert!(
        code == Some(1) && said.contains(&format!("{}/infra: `infra` creates it", place.display())),
        "{said}"
    );
    let (code, said) = attempt(&place.join("infra"));
    assert_eq!(code, Some(6), "{said}");
}
