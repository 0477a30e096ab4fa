//! Hostile surroundings: odd variables, odd working directories, somebody else's home. The program does what it should or
//! says why not, and takes nothing from where it happens to be run.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::planted::planted;
use infra_harness::program::{Ran, RecordingBrowser, User, files_with_modes};
use infra_harness::provider::Provider;
use infra_harness::{peers, skip};

/// A user that is neither root nor anybody who works here.
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

/// A value of a variable; `None` where it is not set.
type Value = Option<&'static [u8]>;

/// A surrounding, the exit code of `infra status` in it, and words that it then says.
struct Row(&'static [(&'static str, Value)], i32, &'static str);

const FINE: i32 = 0;

/// Each is tried alone. `HOME`, `INFRA_HOME`, `PATH`, `LANG` and `TZ` are those of a user who is signed in otherwise.
#[rustfmt::skip]
const MATRIX: [Row; 52] = [
    Row(&[("HOME", None)], FINE, ""),
    Row(&[("HOME", Some(b""))], FINE, ""),
    Row(&[("HOME", Some(b"relative"))], FINE, ""),
    Row(&[("HOME", Some(b"/nonexistent"))], FINE, ""),
    Row(&[("HOME", Some(b"/dev/null"))], FINE, ""),
    Row(&[("HOME", Some(b"\xff\xfe"))], FINE, ""),
    Row(&[("INFRA_HOME", None)], FINE, ""),
    Row(&[("INFRA_HOME", Some(b""))], FINE, ""),
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
    Row(&[("BROWSER", Some(b"\xff"))], 2, "BROWSER is not text"),
    Row(&[("INFRA_SERVER", Some(b""))], FINE, ""),
    Row(&[("INFRA_SERVER", Some(b"http://x"))], 2, "INFRA_SERVER"),
    Row(&[("INFRA_FINGERPRINT", Some(b"junk"))], 2, "INFRA_FINGERPRINT"),
    Row(&[("INFRA_CA_FILE", Some(b"ca.pem"))], 2, "INFRA_CA_FILE must be an absolute path"),
    Row(&[("INFRA_TOKEN", Some(b"junk"))], 2, "INFRA_TOKEN"),
    Row(&[("HTTPS_PROXY", Some(b"http://\xff")), ("ALL_PROXY", Some(b"junk://"))], FINE, ""),
];

#[test]
fn whatever_the_variables_hold_the_status_is_true_or_says_why_not() {
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
fn odd_browsers_open_nothing_and_the_address_is_printed() {
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
            "1s",
        ];
        let ran =
            alice.infra(words).env("BROWSER", named).in_directory(planted.path()).run().expect(6).silent();
        // `true` says that it opened it: nobody can know better.
        assert_eq!(ran.stderr.contains(provider.issuer()), named != "true", "{named}\n{ran}");
    }
    assert_eq!(files_with_modes(planted.path()), before, "a shell ran");
}

#[test]
fn odd_streams_limits_and_directories_stop_nothing() {
    let scene = Scene::signed_in();
    for (script, words, code) in [
        ("exec \"$@\" <&-", "", 0),
        ("exec \"$@\" >&- 2>&-", "", 0),
        ("exec \"$@\" >/dev/full", "standard output cannot be written", 1),
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
fn nothing_is_left_in_the_home_of_another_user() {
    let scene = Scene::signed_in();
    // As `sudo` does that keeps `HOME`: another user's home, and root's rights.
    let bob = User::new();
    if chown(bob.home(), Some(NOBODY), None).is_err() {
        return skip::told("only root can give files away");
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
        let ran = ran.expect(1).silent();
        assert!(
            ran.stderr.contains("another user (uid 65534)") && ran.stderr.contains("without `sudo`"),
            "{ran}"
        );
    };
    refused(attempt(&["login"]));
    assert_eq!(browser.opened(), Vec::<String>::new(), "it was found out too late");
    let doctor = attempt(&["doctor"]).expect(1);
    assert!(doctor.stdout.contains("wrong  files") && doctor.stdout.contains("another user"), "{doctor}");
    assert_eq!(files_with_modes(bob.home()).lines().count(), 1, "{}", files_with_modes(bob.home()));

    // And where there is one already.
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
fn a_user_without_a_home_is_told_so_and_without_a_variable_it_is_the_account_that_counts() {
    let Some(setpriv) = peers::find_program("setpriv") else { return };
    if !is_root() {
        return skip::told("only root can become another user");
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
