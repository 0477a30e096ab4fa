//! What operators see: the output and exit codes of `infrad`, compared with `tests/transcripts`.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use infra_harness::daemon::{Configuration, Daemon, ProviderEntry};
use infra_harness::peers;
use infra_harness::program::{Ran, Transcript};
use infra_harness::provider::{CLIENT_SECRET, Provider};
use infra_harness::services::write_private;

fn transcript_of(provider: &Provider, daemon: &Daemon) -> Transcript {
    let mut transcript = Transcript::new();
    transcript.replace(daemon.origin(), "SERVER");
    transcript.replace(format!("127.0.0.1:{}", daemon.port()), "ADDRESS");
    transcript.replace(format!("sport = :{}", daemon.port()), "sport = :PORT");
    transcript.replace(provider.issuer(), "ISSUER");
    transcript.replace(provider.issuer().trim_start_matches("https://"), "ISSUER-HOST");
    for port in daemon.redirect_ports() {
        transcript.replace(format!("127.0.0.1:{port}"), "127.0.0.1:PORT");
    }
    transcript.replace(daemon.directory().display().to_string(), "DIRECTORY");
    transcript.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    transcript
}

#[track_caller]
fn run<const N: usize>(daemon: &Daemon, arguments: [&str; N], code: i32) -> Ran {
    let ran = daemon.infrad(arguments).wait().expect(code);
    assert!(!ran.to_string().contains(CLIENT_SECRET), "a secret is shown\n{ran}");
    ran
}

#[test]
fn check_matches_transcript() {
    let provider = Provider::start();
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    let mut transcript = transcript_of(&provider, &daemon);
    transcript.add(&run(&daemon, ["check"], 0));
    let sound = std::fs::read_to_string(daemon.configuration_file()).expect("the configuration");
    for (from, to) in [
        ("    clientID: ", "    clientld: "),
        ("    issuer: https://", "    issuer: http://"),
        ("    kind: oidc", "    kind: ldap"),
        ("clientSecret: file:", "clientSecret: fil:"),
        ("clientSecret: file:", "clientSecret: not-a-reference-"),
        ("clientSecret: file:", "clientSecret: plaintext:"),
        ("version: 1", "version: 2"),
        ("version: 1", "version: [one]"),
        ("keys:\n", "keys: {\n"),
        ("    allow: everyone\n", ""),
        ("    redirectPorts: [", "    redirectPorts: [80, "),
        ("version: 1", "version: 1\nsessions: {lifetime: 10s}"),
        ("version: 1", "version: 1\nsessions: {lifetime: 1h, inactivityTimeout: 2h}"),
        ("version: 1", "version: 1\nmetrics: {listen: \"127.0.0.1:9464\"}"),
    ] {
        assert!(sound.contains(from), "nothing to break: {from}");
        let broken = sound.replacen(from, to, 1);
        daemon.change(|configuration| configuration.verbatim = Some(broken));
        transcript.note(&format!("{from:?} became {to:?}"));
        let ran = daemon.infrad(["check"]).wait();
        assert!(!ran.to_string().contains(CLIENT_SECRET), "a secret is shown\n{ran}");
        transcript.add(&ran);
    }
    std::fs::remove_file(daemon.configuration_file()).expect("the configuration");
    transcript.note("there is no configuration");
    transcript.add(&run(&daemon, ["check"], 2));
    transcript.compare("infrad-check");
}

#[test]
fn check_names_unusable_secret() {
    let provider = Provider::start();
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    let configuration = std::fs::read_to_string(daemon.configuration_file()).expect("the configuration");
    let (_, secret) = configuration.split_once("clientSecret: file:").expect("a secret in a file");
    let secret = Path::new(secret.lines().next().expect("a path"));
    std::fs::set_permissions(secret, Permissions::from_mode(0o644)).expect("a mode");
    let ran = run(&daemon, ["check"], 1);
    for words in ["failed   provider ", "other users can read ", "mode 0644", "try: `chmod 0400 "] {
        assert!(ran.stdout.contains(words), "{words}: {ran}");
    }
    assert!(!ran.stdout.contains("configuration is valid;"), "{ran}");
    let ran = run(&daemon, ["check", "--json"], 1).json();
    assert_eq!(ran.pointer("/problems/0/status").and_then(|status| status.as_str()), Some("failed"), "{ran}");

    std::fs::remove_file(secret).expect("the secret");
    let ran = run(&daemon, ["check"], 1);
    assert!(ran.stdout.contains("is missing") && ran.stdout.contains("try: "), "{ran}");
    // Without its directory, the configuration may be for another machine.
    let elsewhere = configuration.replace(&secret.display().to_string(), "/nowhere/okta.secret");
    daemon.change(|configuration| configuration.verbatim = Some(elsewhere));
    let ran = run(&daemon, ["check"], 0);
    assert!(ran.stdout.contains("is missing on this host") && ran.stdout.contains("as far as"), "{ran}");
}

#[test]
fn read_only_commands_make_nothing_where_there_is_no_store() {
    let provider = Provider::start();
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    audit(&mut daemon, "audit.jsonl");
    let before = daemon.files();
    for command in [
        "fingerprint",
        "ca print",
        "ca rotate",
        "key status",
        "key rewrap",
        "key recovery test",
        "status",
        "sessions list",
        "certificate renew",
        "backup infra.backup",
        "audit verify",
        "check",
        "check --live",
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        let ran = daemon.infrad_slice_with_input(&words, RECOVERY_KEY).wait();
        assert_eq!(daemon.files(), before, "{ran}");
        assert_eq!(ran.code, Some(i32::from(!command.starts_with("check"))), "{ran}");
    }
}

#[test]
fn serve_and_fingerprint_match_transcript() {
    let provider = Provider::start();
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    let mut transcript = transcript_of(&provider, &daemon);
    transcript.note("before the first start");
    transcript.add(&run(&daemon, ["fingerprint"], 1));
    daemon.start_again();
    transcript.replace(daemon.fingerprint(), "FINGERPRINT");
    transcript.replace(daemon.process().to_string(), "PROCESS");
    let keys = run(&daemon, ["key", "status", "--json"], 0).json();
    transcript.replace(keys["rootKey"].as_str().unwrap_or_default().to_owned(), "ROOT-KEY");
    transcript.note("while it runs");
    transcript.add(&run(&daemon, ["fingerprint"], 0));
    transcript.add(&run(&daemon, ["serve"], 1));
    daemon.stop();
    let root_key = daemon.root_key();
    let aside = root_key.with_extension("aside");
    std::fs::rename(&root_key, &aside).expect("the root key");
    transcript.note("the root key is gone");
    transcript.add(&run(&daemon, ["serve"], 1));
    std::fs::rename(&aside, &root_key).expect("the root key");
    let listener = std::net::TcpListener::bind(("127.0.0.1", daemon.port())).expect("its port is free");
    transcript.note("another program uses its port");
    transcript.add(&run(&daemon, ["serve"], 1));
    drop(listener);
    transcript.note("the data directory is open to others");
    open_to_others(&daemon.data_dir());
    transcript.add(&run(&daemon, ["serve"], 1));
    transcript.compare("infrad-serve");
}

#[test]
fn keys_and_backups_match_transcript() {
    let provider = Provider::start();
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    let mut transcript = transcript_of(&provider, &daemon);
    transcript.note("before the first start");
    for command in ["status", "rotate"] {
        transcript.add(&run(&daemon, ["key", command], 1));
    }
    transcript.add(&run(&daemon, ["status"], 1));
    transcript.add(&run(&daemon, ["check", "--live"], 0));
    daemon.start_again();
    let status = run(&daemon, ["key", "status", "--json"], 0).json();
    let text = |name: &str| status.get(name).and_then(|text| text.as_str()).unwrap_or_default().to_owned();
    transcript.replace(text("store"), "STORE");
    transcript.replace(text("rootKey"), "ROOT-KEY");
    transcript.replace(daemon.fingerprint(), "FINGERPRINT");
    transcript.replace(daemon.process().to_string(), "PROCESS");
    transcript.note("while it runs");
    transcript.add(&run(&daemon, ["status"], 0));
    transcript.add(&run(&daemon, ["key", "status"], 0));
    transcript.add(&run(&daemon, ["key", "rewrap"], 0));
    transcript.add(&run(&daemon, ["key", "rotate"], 0));
    transcript.add(&run_with_input(&daemon, ["key", "recovery", "test"], &"0".repeat(56), 2));
    transcript.add(&run_with_input(&daemon, ["key", "recovery", "test"], RECOVERY_KEY, 1));
    let created = run(&daemon, ["key", "recovery", "create"], 0);
    let key = created.stdout.trim().to_owned();
    transcript.replace(key.clone(), "RECOVERY-KEY");
    transcript.add(&created);
    transcript.add(&run_with_input(&daemon, ["key", "recovery", "test"], &key, 0));
    transcript.add(&run_with_input(&daemon, ["key", "recovery", "test"], RECOVERY_KEY, 1));
    transcript.add(&run(&daemon, ["key", "status"], 0));
    transcript.add(&run(&daemon, ["backup", "infra.backup"], 0));
    transcript.add(&run(&daemon, ["backup", "infra.backup"], 2));
    transcript.add(&run(&daemon, ["backup", "verify", "infra.backup"], 0));
    transcript.add(&run(&daemon, ["backup", "verify", "infrad.yaml"], 1));
    let restore = run(&daemon, ["restore", "infra.backup"], 1);
    transcript.add(&restore);
    daemon.stop();
    transcript.note("while it does not run");
    transcript.add(&run(&daemon, ["status"], 1));
    transcript.add(&run(&daemon, ["key", "rotate"], 0));
    transcript.add(&run(&daemon, ["restore", "infra.backup"], 0));
    transcript.add(&run_with_input(&daemon, ["restore", "infra.backup", "--recovery"], &key, 0));
    transcript.note("without its root key");
    std::fs::remove_file(daemon.root_key()).expect("a root key");
    transcript.add(&run(&daemon, ["key", "rewrap"], 1));
    transcript.add(&run(&daemon, ["backup", "verify", "infra.backup"], 1));
    transcript.add(&run_with_input(&daemon, ["key", "rewrap", "--recovery"], &key, 1));
    write_private(&daemon.root_key(), "the 32 bytes of another root key");
    let rewrapped = run_with_input(&daemon, ["key", "rewrap", "--recovery"], &key, 0);
    let status = run(&daemon, ["key", "status", "--json"], 0).json();
    transcript.replace(status["rootKey"].as_str().unwrap_or_default().to_owned(), "NEW-ROOT-KEY");
    transcript.add(&rewrapped);
    transcript.compare("infrad-keys");
}

/// A recovery key of another store.
const RECOVERY_KEY: &str = "0000-0000-0000-0000-0000-0000-0000-0000-0000-0000-0000-0000-000B-6N6S";

#[track_caller]
fn run_with_input<const N: usize>(daemon: &Daemon, arguments: [&str; N], input: &str, code: i32) -> Ran {
    daemon.infrad_with_input(arguments, input).wait().expect(code)
}

#[test]
fn help_matches_transcript() {
    let provider = Provider::start();
    let daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    let mut transcript = transcript_of(&provider, &daemon);
    transcript.add(&run(&daemon, ["--version"], 0));
    transcript.add(&run(&daemon, ["--help"], 0));
    for command in
        ["serve", "check", "status", "key", "backup", "restore", "dev", "fingerprint", "completions"]
    {
        transcript.add(&run(&daemon, [command, "--help"], 0));
    }
    for command in ["status", "rewrap", "rotate", "recovery"] {
        transcript.add(&run(&daemon, ["key", command, "--help"], 0));
    }
    transcript.add(&run(&daemon, ["sreve"], 2));
    transcript.compare("infrad-help");
}

fn open_to_others(directory: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;

    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777)).expect("chmod");
}

/// How a set-up is broken, and what has to live meanwhile.
type Break = fn(&mut Daemon) -> Option<TcpListener>;

/// A user that is not root.
const OTHER_USER: u32 = 65_534;

/// Set-ups before the first start.
const BEFORE: &[(&str, Break)] = &[
    ("nothing is broken", |_| None),
    ("the root key lies in the data directory", |daemon| {
        let path = daemon.data_dir().join("root.key");
        changed(daemon, |configuration| configuration.root_key = path)
    }),
    ("the root key lies below a file", |daemon| {
        below_a_file(daemon, |configuration, path| configuration.root_key = path)
    }),
    ("the data directory lies below a file", |daemon| {
        below_a_file(daemon, |configuration, path| configuration.data_dir = path)
    }),
    ("the directory of the data directory is missing", |daemon| {
        let path = daemon.directory().join("one/two/three");
        changed(daemon, |configuration| configuration.data_dir = path)
    }),
    ("the audit log's directory is missing", |daemon| audit(daemon, "none/audit.jsonl")),
    ("the audit log is made", |daemon| audit(daemon, "audit.jsonl")),
    ("the audit log lies in the data directory", |daemon| audit(daemon, "data/audit.jsonl")),
    ("the audit log lies next to a data directory that is not there", |daemon| {
        let path = daemon.directory().join("one/two/data");
        daemon.change(|configuration| configuration.data_dir = path);
        audit(daemon, "one/audit.jsonl")
    }),
    ("the audit log is a link", |daemon| {
        std::fs::write(daemon.directory().join("real"), "").expect("a file");
        symlink("real", daemon.directory().join("audit.jsonl")).expect("a link");
        audit(daemon, "audit.jsonl")
    }),
    ("the audit log is a directory", |daemon| {
        std::fs::create_dir(daemon.directory().join("audit.jsonl")).expect("a directory");
        audit(daemon, "audit.jsonl")
    }),
    ("the audit log lies below a file", |daemon| {
        std::fs::write(daemon.directory().join("file"), "").expect("a file");
        audit(daemon, "file/audit.jsonl")
    }),
    ("the audit log goes to the journal", |daemon| more(daemon, "audit: {journal: true}\n")),
    ("the rollback guard's directory is made", |daemon| guard_file(daemon, "none/infrad.rollback-guard")),
    ("the rollback guard lies below a file", |daemon| {
        std::fs::write(daemon.directory().join("file"), "").expect("a file");
        guard_file(daemon, "file/infrad.rollback-guard")
    }),
    ("the port is in use", |daemon| Some(TcpListener::bind(("127.0.0.1", daemon.port())).expect("a port"))),
    ("the port for metrics is in use", |daemon| {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address");
        more(daemon, &format!("metrics: {{listen: \"{address}\"}}\n"));
        Some(taken)
    }),
    ("no interface has the address", |daemon| {
        changed(daemon, |configuration| "192.0.2.1:8443".clone_into(&mut configuration.listen))
    }),
    ("the certificate is missing", |daemon| {
        more(daemon, "tls: {files: {certificate: /nowhere/tls.crt, privateKey: /nowhere/tls.key}}\n")
    }),
];

/// Set-ups with a store.
const AFTER: &[(&str, Break)] = &[
    ("nothing is broken", |_| None),
    ("the root key is missing", |daemon| removed(&daemon.root_key())),
    ("the root key is another one", |daemon| replaced(&daemon.root_key(), &[7; 32], 0o400)),
    ("the root key is too short", |daemon| replaced(&daemon.root_key(), &[7; 31], 0o400)),
    ("others can read the root key", |daemon| with_mode(&daemon.root_key(), 0o444)),
    ("the root key is a link", |daemon| linked(&daemon.root_key())),
    ("the data directory is missing", |daemon| moved(&daemon.data_dir())),
    ("the data directory is empty", |daemon| {
        moved(&daemon.data_dir());
        std::fs::DirBuilder::new().mode(0o700).create(daemon.data_dir()).expect("a directory");
        None
    }),
    ("another data directory is named", |daemon| {
        let path = daemon.directory().join("other");
        changed(daemon, |configuration| configuration.data_dir = path)
    }),
    ("others can enter the data directory", |daemon| with_mode(&daemon.data_dir(), 0o755)),
    ("the data directory is a link", |daemon| linked(&daemon.data_dir())),
    ("the data directory is a file", |daemon| {
        moved(&daemon.data_dir());
        replaced(&daemon.data_dir(), b"", 0o600)
    }),
    ("the header is missing", |daemon| removed(&daemon.data_dir().join("keys.json"))),
    ("the header is damaged", |daemon| replaced(&daemon.data_dir().join("keys.json"), b"{}", 0o600)),
    ("others can read the header", |daemon| with_mode(&daemon.data_dir().join("keys.json"), 0o644)),
    ("the database is missing", |daemon| removed(&daemon.data_dir().join("infrad.db"))),
    ("the database is damaged", |daemon| {
        let path = daemon.data_dir().join("infrad.db");
        let mut contents = std::fs::read(&path).expect("the database");
        contents.iter_mut().skip(100).take(5000).for_each(|byte| *byte ^= 1);
        replaced(&path, &contents, 0o600)
    }),
    ("the database is a link", |daemon| linked(&daemon.data_dir().join("infrad.db"))),
    ("the database is older", |daemon| {
        let path = daemon.data_dir().join("infrad.db");
        let before = std::fs::read(&path).expect("the database");
        daemon.start_again();
        daemon.stop();
        replaced(&path, &before, 0o600)
    }),
    ("the last run was killed", |daemon| {
        daemon.start_again();
        daemon.kill();
        None
    }),
    ("the lock is a link", |daemon| linked(&daemon.data_dir().join("lock"))),
    ("the control socket is a directory", |daemon| {
        std::fs::create_dir(daemon.data_dir().join("control.sock")).expect("a directory");
        None
    }),
    ("the rollback guard is missing", |daemon| removed(&rollback_guard_file(daemon))),
    ("the rollback guard is damaged", |daemon| replaced(&rollback_guard_file(daemon), b"[", 0o600)),
    ("the rollback guard is a link", |daemon| linked(&rollback_guard_file(daemon))),
    ("others can read the rollback guard", |daemon| with_mode(&rollback_guard_file(daemon), 0o644)),
];

/// Set-ups of another user than root, made by root.
const FOR_OTHER_USER: &[(&str, Break)] = &[
    ("nothing is broken", |daemon| owned(daemon.directory(), OTHER_USER)),
    ("a port below 1024", |daemon| {
        owned(daemon.directory(), OTHER_USER);
        changed(daemon, |configuration| "127.0.0.1:1".clone_into(&mut configuration.listen))
    }),
    ("the data directory is root's", |daemon| {
        owned(daemon.directory(), OTHER_USER);
        owned(&daemon.data_dir(), 0)
    }),
    ("the data directory cannot be written", |daemon| {
        owned(daemon.directory(), OTHER_USER);
        with_mode(&daemon.data_dir(), 0o500)
    }),
    ("the root key is root's", |daemon| {
        owned(daemon.directory(), OTHER_USER);
        owned(&daemon.root_key(), 0)
    }),
    ("the rollback guard's directory cannot be written", |daemon| {
        owned(daemon.directory(), OTHER_USER);
        with_mode(daemon.root_key().parent().expect("a directory"), 0o500)
    }),
    ("the audit log cannot be written", |daemon| {
        owned(daemon.directory(), OTHER_USER);
        replaced(&daemon.directory().join("audit.jsonl"), b"", 0o444);
        audit(daemon, "audit.jsonl")
    }),
    ("the audit log's directory cannot be written", |daemon| {
        owned(daemon.directory(), OTHER_USER);
        std::fs::DirBuilder::new().mode(0o755).create(daemon.directory().join("log")).expect("a directory");
        audit(daemon, "log/audit.jsonl")
    }),
    ("the data are of a user that is not this one", |daemon| {
        owned(daemon.directory(), OTHER_USER);
        owned(&daemon.data_dir(), OTHER_USER - 1)
    }),
];

#[test]
fn check_agrees_with_serve_before_the_first_start() {
    let provider = Provider::start();
    for (what, break_it) in BEFORE {
        compare_check_with_serve(&provider, what, false, None, *break_it);
    }
}

#[test]
fn check_agrees_with_serve_where_there_is_a_store() {
    let provider = Provider::start();
    for (what, break_it) in AFTER {
        compare_check_with_serve(&provider, what, true, None, *break_it);
    }
}

#[test]
fn check_agrees_with_serve_for_a_user_who_is_not_root() {
    if !rustix::process::geteuid().is_root() || peers::find_program("setpriv").is_none() {
        return;
    }
    let provider = Provider::start();
    for (what, break_it) in FOR_OTHER_USER {
        compare_check_with_serve(&provider, what, true, Some(OTHER_USER), *break_it);
    }
}

/// Root would be refused as well, and must not take the data from the user who runs the daemon.
#[test]
fn check_as_root_leaves_data_to_the_user_who_owns_them() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let provider = Provider::start();
    let give_away: Break = |daemon| owned(&daemon.data_dir(), OTHER_USER);
    let checked = compare_check_with_serve(&provider, "the data are another user's", true, None, give_away);
    assert!(checked.stderr.contains("`runuser -u ") && !checked.to_string().contains("chown"), "{checked}");
}

#[test]
fn check_of_a_running_daemon_takes_its_port_for_its_own() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let checked = run(&daemon, ["check"], 0);
    assert!(checked.stdout.contains("\nconfiguration is valid; run `infrad check --live`"), "{checked}");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    more(&mut daemon, &format!("metrics: {{listen: \"{address}\"}}\n"));
    let checked = run(&daemon, ["check"], 1);
    assert!(checked.stdout.contains(&format!("failed   address: {address}")), "{checked}");
}

/// Runs `check`, then `serve`: either both find the set-up good, or neither does. `check` leaves everything as it is, and a
/// `serve` that refuses makes no store.
#[track_caller]
fn compare_check_with_serve(
    provider: &Provider,
    what: &str,
    has_store: bool,
    user: Option<u32>,
    break_it: Break,
) -> Ran {
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(provider)], |_| {});
    if has_store {
        daemon.start_again();
        daemon.stop();
    }
    let _held = break_it(&mut daemon);
    let command = |words: [&str; 1]| match user {
        None => daemon.infrad(words),
        Some(user) => {
            let mut other = Command::new("setpriv");
            other.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()]);
            other.args(["--inh-caps=-all", "--bounding-set=-all"]);
            daemon.infrad_under(other, &words)
        }
    };
    let before = daemon.files();
    let checked = command(["check"]).wait();
    assert_eq!(daemon.files(), before, "{what}: `check` changed files\n{checked}");
    let mut serving = command(["serve"]);
    let is_served = serving.wait_for("that it listens or ends", |stdout, stderr| {
        let is_refused = stderr.contains("error:");
        if stdout.contains("listens on") { Some(true) } else { is_refused.then_some(false) }
    });
    if is_served {
        serving.signal(rustix::process::Signal::TERM);
    } else {
        let made = daemon.data_dir().join("keys.json").exists() && !before.contains("keys.json");
        assert!(!made, "{what}: a store was made\n{}", serving.output());
    }
    serving.wait_for_end(std::time::Duration::from_secs(30)).expect("it ends");
    let is_good = checked.code == Some(0);
    assert_eq!(is_good, is_served, "{what}\n{checked}\n{}", serving.finished_output());
    checked
}

fn changed(daemon: &mut Daemon, change: impl FnOnce(&mut Configuration)) -> Option<TcpListener> {
    daemon.change(change);
    None
}

fn more(daemon: &mut Daemon, lines: &str) -> Option<TcpListener> {
    changed(daemon, |configuration| configuration.more.push_str(lines))
}

fn audit(daemon: &mut Daemon, file: &str) -> Option<TcpListener> {
    let line = format!("audit: {{file: {}}}\n", daemon.directory().join(file).display());
    more(daemon, &line)
}

fn guard_file(daemon: &mut Daemon, file: &str) -> Option<TcpListener> {
    let line = format!("rollbackGuardFile: {}\n", daemon.directory().join(file).display());
    more(daemon, &line)
}

fn rollback_guard_file(daemon: &Daemon) -> PathBuf {
    daemon.root_key().with_file_name("infrad.rollback-guard")
}

fn below_a_file(
    daemon: &mut Daemon,
    change: impl FnOnce(&mut Configuration, PathBuf),
) -> Option<TcpListener> {
    let folder = daemon.directory().join("folder");
    changed(daemon, |configuration| change(configuration, folder.join("below")));
    // The configuration was written, and its folder with it.
    let _ = std::fs::remove_dir_all(&folder);
    replaced(&folder, b"", 0o600)
}

fn removed(path: &Path) -> Option<TcpListener> {
    std::fs::remove_file(path).expect("a file");
    None
}

fn replaced(path: &Path, contents: &[u8], mode: u32) -> Option<TcpListener> {
    let _ = std::fs::remove_file(path);
    std::fs::write(path, contents).expect("a file");
    with_mode(path, mode)
}

fn with_mode(path: &Path, mode: u32) -> Option<TcpListener> {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
    None
}

fn moved(path: &Path) -> Option<TcpListener> {
    std::fs::rename(path, path.with_extension("aside")).expect("moved");
    None
}

fn linked(path: &Path) -> Option<TcpListener> {
    moved(path);
    symlink(path.with_extension("aside"), path).expect("a link");
    None
}

/// Gives a file, or a directory with all in it, to a user.
fn owned(path: &Path, user: u32) -> Option<TcpListener> {
    std::os::unix::fs::lchown(path, Some(user), Some(user)).expect("root may");
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        owned(&entry.path(), user);
    }
    None
}
