//! Backups, restores, the recovery key, and a data directory that was rolled back.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use infra_harness::copy::copy_files;
use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::login;
use infra_harness::provider::{CLIENT_SECRET, Provider};
use infra_harness::services::write_private;
use infra_harness::wait;
use rustix::process::Signal;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/keys.md");
const LIMIT: Duration = Duration::from_mins(1);
/// How the command begins that creates a root key.
const CREATE: &str = "(umask 377; set -C; head -c 32 /dev/urandom >";
const ROOT_KEY: &str = "the 32 bytes of another root key";

fn prepared(provider: &Provider) -> Daemon {
    Daemon::prepare(vec![ProviderEntry::of(provider)], |_| {})
}

#[track_caller]
fn assert_live(daemon: &Daemon, token: &str) {
    let answered = daemon.api().get_as("/v1/session", token);
    assert_eq!(answered.status, 200, "{answered:?}\n{}", daemon.log());
}

/// Returns the commands of the page's part on recovery: those to run today, and those to run after losing the host.
fn drill() -> [Vec<String>; 2] {
    let page = std::fs::read_to_string(PAGE).expect("the page");
    let (_, drill) = page.split_once("<!-- recovery drill").expect("the part on recovery");
    let (drill, _) = drill.split_once("<!-- end").expect("its end");
    let (today, then) = drill.split_once("### When").expect("two parts");
    let is_typed = |line: &&str| line.starts_with("infrad ") || line.starts_with(CREATE);
    [today, then].map(|part| part.lines().filter(is_typed).map(ToOwned::to_owned).collect())
}

/// Types the command of the page that creates a root key, for the root key of this daemon.
fn create_root_key(daemon: &Daemon, line: &str) {
    let line = line.replace("/etc/infra/root.key", &daemon.root_key().display().to_string());
    assert!(Command::new("sh").args(["-euc", &line]).status().is_ok_and(|status| status.success()), "{line}");
}

#[test]
fn recovery_page_commands_work() {
    let provider = Provider::start();
    let backups = tempfile::tempdir().expect("a directory");
    let [today, then] = drill();
    assert_eq!((today.len(), then.len()), (3, 4));
    let mut key = String::new();
    let mut follow = |daemon: &mut Daemon, line: &str| {
        if line == "infrad serve" {
            return daemon.start_again();
        }
        if line.starts_with(CREATE) {
            return create_root_key(daemon, line);
        }
        let line = line.replace("/backups", &backups.path().display().to_string());
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        let ran = daemon.infrad_slice_with_input(&words, &key).wait().expect(0);
        if line.ends_with("recovery create") {
            ran.stdout.trim().clone_into(&mut key);
        }
    };
    let mut daemon = Daemon::start(&provider);
    for line in &today {
        follow(&mut daemon, line);
    }
    drop(daemon);
    let mut host = prepared(&provider);
    for line in &then {
        follow(&mut host, line);
    }
    login::over_http(&host, &provider);
}

#[test]
fn recovery_key_is_not_echoed_at_prompt() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let created = daemon.infrad(["key", "recovery", "create"]).wait().expect(0);
    let key = created.stdout.trim();
    let mut running = daemon.infrad_in_terminal(["key", "recovery", "test"]);
    running.wait_for("a question", |_, stderr| stderr.contains("type the recovery key").then_some(()));
    running.enter(key);
    let ran = running.wait().expect(0).stderr_contains(&["the recovery key opens the store"]);
    assert!(!ran.to_string().contains(key), "the terminal shows it\n{ran}");
}

#[test]
fn interrupted_recovery_key_prompt_restores_echo() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    daemon.infrad(["key", "recovery", "create"]).wait().expect(0);
    for signal in [Signal::INT, Signal::TERM, Signal::QUIT] {
        let mut running = daemon.infrad_in_terminal(["key", "recovery", "test"]);
        running.wait_for("a question", |_, stderr| stderr.contains("type the recovery key").then_some(()));
        assert!(!running.echoes(), "typing is hidden at the prompt");
        running.signal(signal);
        let ended = running.wait_for_end(LIMIT);
        assert!(running.echoes(), "{signal:?}: the terminal stays without echo\n{}", running.output());
        assert_eq!(ended, Some(Some(130)), "{signal:?}: {}", running.output());
    }
}

/// Covers a host that lost only its root key.
#[test]
fn lost_root_key_page_commands_work() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    let created = daemon.infrad(["key", "recovery", "create"]).wait().expect(0);
    daemon.stop();
    std::fs::remove_file(daemon.root_key()).expect("a root key");
    let page = std::fs::read_to_string(PAGE).expect("the page");
    let (_, part) = page.split_once("<!-- recovery in place").expect("the part on a lost root key");
    let (part, _) = part.split_once("<!-- end").expect("its end");
    let (_, block) = part.split_once("```sh\n").expect("a block");
    let lines: Vec<&str> = block.lines().take_while(|line| *line != "```").collect();
    let [create, command, "infrad serve"] = lines.as_slice() else { panic!("other commands: {lines:?}") };
    create_root_key(&daemon, create);
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    daemon.infrad_slice_with_input(&words, created.stdout.trim()).wait().expect(0);
    daemon.start_again();
    assert_live(&daemon, &token);
}

/// Creates a recovery key and a backup, loses the host and the root key, and restores on an empty host.
#[test]
fn backup_and_recovery_key_restore_store_on_empty_host() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let (token, pin) = (login::over_http(&daemon, &provider), daemon.pin());
    daemon.infrad(["backup", "too-early"]).wait().expect(0);
    let ran = daemon.infrad(["key", "recovery", "create"]).wait().expect(0);
    let key = ran.stdout.trim().to_owned();
    assert_eq!(key.len(), 69, "{ran}");
    daemon.infrad_with_input(["key", "recovery", "test"], &key.to_lowercase()).wait().expect(0);
    daemon.infrad_with_input(["key", "recovery", "test"], &key.replace('-', " ")).wait().expect(0);
    daemon
        .infrad_with_input(["key", "recovery", "test"], "AAAA")
        .wait()
        .expect(2)
        .stderr_contains(&["56 letters"]);
    // A rotation does not need the printed key, which stays valid.
    daemon.infrad(["key", "rotate"]).wait().expect(0);
    daemon.infrad_with_input(["key", "recovery", "test"], &key).wait().expect(0);
    daemon.infrad(["backup", "kept.backup"]).wait().expect(0);
    daemon.infrad(["backup", "kept.backup"]).wait().expect(2).stderr_contains(&["already exists"]);

    let mut host = prepared(&provider);
    for file in ["kept.backup", "too-early"] {
        std::fs::copy(daemon.directory().join(file), host.directory().join(file)).expect("a copy");
    }
    drop(daemon);
    host.infrad(["backup", "verify", "kept.backup"]).wait().expect(1);
    host.infrad_with_input(["backup", "verify", "kept.backup", "--recovery"], &key).wait().expect(0);
    host.infrad_with_input(["restore", "too-early", "--recovery"], &key).wait().expect(1).stderr_contains(&[
        "no recovery key",
        "try: open it with the root key of its time, without `--recovery`",
    ]);
    // Only a first start creates a root key.
    host.infrad_with_input(["restore", "kept.backup", "--recovery"], &key).wait().expect(1).stderr_contains(
        &[
            "root.key is missing: check its path in `keys`",
            "try: correct the path in `keys`, or restore",
            CREATE,
        ],
    );
    assert!(!host.data_dir().join("keys.json").exists() && !host.root_key().exists());
    write_private(&host.root_key(), ROOT_KEY);
    host.infrad_with_input(["restore", "kept.backup", "--recovery"], &key)
        .wait()
        .expect(0)
        .stderr_contains(&["revoked its 1 session"]);
    host.start_again();
    assert_eq!(host.pin(), pin, "users would have to trust the daemon again");
    let answered = host.api().get_as("/v1/session", &token);
    assert_eq!((answered.status, answered.json()["code"].as_str()), (401, Some("session_revoked")));
    login::over_http(&host, &provider);
    // The printed key opens the restored store, too.
    host.infrad_with_input(["key", "recovery", "test"], &key).wait().expect(0);
}

#[test]
fn recovery_key_replaces_lost_root_key_and_keeps_sessions() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let log = daemon.directory().join("audit.jsonl");
    daemon.change(|configuration| configuration.more = format!("audit: {{file: {}}}\n", log.display()));
    let token = login::over_http(&daemon, &provider);
    let created = daemon.infrad(["key", "recovery", "create"]).wait().expect(0);
    let key = created.stdout.trim().to_owned();
    daemon
        .infrad_with_input(["key", "rewrap", "--recovery"], &key)
        .wait()
        .expect(1)
        .stderr_contains(&["in use by another infrad"]);
    daemon.stop();
    let root_key = daemon.root_key();
    std::fs::remove_file(&root_key).expect("a root key");
    for lost in [&["key", "rewrap"][..], &["serve"]] {
        let words = [
            "is missing, and",
            "keys.json needs the root key native:",
            "check its path in `keys`",
            CREATE,
            "`infrad key rewrap --recovery`",
        ];
        daemon.infrad_slice_with_input(lost, "").wait().expect(1).stderr_contains(&words);
    }

    let header = daemon.data_dir().join("keys.json");
    let before = std::fs::read(&header).expect("the header");
    let strange = Daemon::start(&provider);
    let other = strange.infrad(["key", "recovery", "create"]).wait().expect(0);
    daemon
        .infrad_with_input(["key", "rewrap", "--recovery"], other.stdout.trim())
        .wait()
        .expect(1)
        .stderr_contains(&["does not open"]);
    // With the right recovery key, too, the new root key has to be there.
    daemon
        .infrad_with_input(["key", "rewrap", "--recovery"], &key)
        .wait()
        .expect(1)
        .stderr_contains(&["root.key is missing: check its path in `keys`", CREATE]);
    assert!(std::fs::read(&header).expect("the header") == before && !root_key.exists());

    write_private(&root_key, ROOT_KEY);
    daemon
        .infrad_with_input(["key", "rewrap", "--recovery"], &key)
        .wait()
        .expect(0)
        .stderr_contains(&["the root key native:"]);
    daemon.start_again();
    assert_live(&daemon, &token);
    daemon.infrad_with_input(["key", "recovery", "test"], &key).wait().expect(0);
    let log = std::fs::read_to_string(log).expect("the audit log");
    let rewraps: Vec<&str> = log.lines().filter(|line| line.contains("\"rewrap\"")).collect();
    let outcomes = rewraps.iter().map(|line| line.contains("\"succeeded\"")).collect::<Vec<_>>();
    assert_eq!(outcomes, [false, false, true], "{rewraps:?}");
}

#[test]
fn restore_refuses_modified_backup_and_replaces_nothing() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    daemon.infrad(["backup", "good"]).wait().expect(0);
    let process = daemon.process().to_string();
    let refused = daemon.infrad(["restore", "good"]).wait().expect(1);
    let remedy = format!("`kill {process}`");
    refused.stderr_contains(&[
        "while infrad is running",
        "in use by another infrad",
        &process,
        "try: ",
        &remedy,
    ]);
    daemon.stop();
    let good = std::fs::read(daemon.directory().join("good")).expect("a backup");
    let before = std::fs::read(daemon.data_dir().join("keys.json")).expect("a header");
    let step = good.len() / 40;
    let changed = (0..40).map(|part| part * step).map(|position| {
        let mut bad = good.clone();
        bad[position] ^= 1;
        bad
    });
    let cut = [0, 15, 400, good.len() / 2, good.len() - 1].map(|length| good[..length].to_vec());
    let longer = [good.iter().copied().chain([0]).collect()];
    // Metadata in the backup: only the keyed hash detects this change.
    let version = concat!("\"version\":\"", env!("CARGO_PKG_VERSION"), "\"").as_bytes();
    let position = good.windows(version.len()).position(|part| part == version).expect("its version");
    let mut other_version = good.clone();
    other_version[position + version.len() - 2] ^= 1;
    for bad in changed.chain(cut).chain(longer).chain([other_version]) {
        std::fs::write(daemon.directory().join("bad"), &bad).expect("a file");
        let ran = daemon.infrad(["restore", "bad"]).wait().expect(1);
        assert!(ran.stderr.contains("backup"), "{ran}");
    }
    assert_eq!(std::fs::read(daemon.data_dir().join("keys.json")).expect("a header"), before);
    daemon.start_again();
    assert_live(&daemon, &token);
}

#[test]
fn restore_of_other_file_speaks_of_no_replacement() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    daemon.stop();
    std::fs::write(daemon.directory().join("other"), "another file").expect("a file");
    for (file, cause) in [("missing", "No such file"), ("other", "other")] {
        let ran = daemon.infrad(["restore", file]).wait().expect(1);
        assert!(ran.stderr.starts_with("error: cannot restore the backup\n"), "{ran}");
        assert!(ran.stderr.contains(cause) && !ran.stderr.contains("replacing"), "{ran}");
    }
    daemon.start_again();
}

#[test]
fn backup_reveals_nothing() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    daemon.infrad(["backup", "file"]).wait().expect(0);
    let bytes = std::fs::read(daemon.directory().join("file")).expect("a backup");
    let mut canaries = infra_harness::canaries::Canaries::default();
    canaries.add("session secret", token.split_once('.').expect("two parts").1);
    canaries.add("client secret", CLIENT_SECRET);
    canaries.add("e-mail", "alice@example.test");
    canaries.add("SQLite", "SQLite format 3");
    canaries.add("root key", std::fs::read(daemon.root_key()).expect("the root key"));
    assert_eq!(canaries.find(&bytes), Vec::<String>::new());
    let mode = std::fs::metadata(daemon.directory().join("file")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn rolled_back_store_is_refused_unless_sessions_are_revoked() {
    let provider = Provider::start();
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    let log = daemon.directory().join("audit.jsonl");
    daemon.change(|configuration| configuration.more = format!("audit: {{file: {}}}\n", log.display()));
    daemon.start_again();
    let token = login::over_http(&daemon, &provider);
    daemon.stop();
    let (data, copy) = (daemon.data_dir(), daemon.directory().join("copy"));
    copy_files(&data, &copy);
    daemon.start_again();
    assert_eq!(daemon.api().delete_as("/v1/session", &token).status, 204);
    daemon.kill();

    std::fs::remove_dir_all(&data).expect("the data directory");
    copy_files(&copy, &data);
    daemon
        .infrad(["serve"])
        .wait()
        .expect(1)
        .stderr_contains(&["older than the data this host used last", "--accept-rollback"]);
    let mut accepted = daemon.infrad(["serve", "--accept-rollback"]);
    accepted.wait_for("that it listens", |stdout, _| stdout.contains("listens on").then_some(()));
    accepted.signal(rustix::process::Signal::TERM);
    accepted.wait_for_end(LIMIT).expect("it ends");
    let audited = std::fs::read_to_string(&log).expect("the audit log");
    assert!(audited.contains("\"event\":\"rollback_accepted\",\"sessionsEnded\":1"), "{audited}");
    daemon.start_again();
    assert_eq!(daemon.api().get_as("/v1/session", &token).status, 401);
    // The daemon records a revocation in the rollback guard within a second, even within one run.
    let token = login::over_http(&daemon, &provider);
    let noted = || {
        std::fs::read(daemon.root_key().with_file_name("infrad.rollback-guard"))
            .expect("the rollback guard file")
    };
    let before = noted();
    assert_eq!(daemon.api().delete_as("/v1/session", &token).status, 204);
    assert!(wait::until(LIMIT, || (noted() != before).then_some(())).is_some(), "{}", daemon.log());
}

const DATABASE_PAGE: usize = 4096;

/// Restores the differing pages of `before` in the database, all of them or only the one with this number. Returns how
/// many differ.
fn put_back(database: &Path, before: &[u8], only: Option<usize>) -> usize {
    use std::os::unix::fs::FileExt;
    let now = std::fs::read(database).expect("the database");
    let pages = before.chunks(DATABASE_PAGE).zip(now.chunks(DATABASE_PAGE)).enumerate();
    let differing: Vec<(usize, &[u8])> =
        pages.filter(|(_, (before, now))| before != now).map(|(page, (before, _))| (page, before)).collect();
    let file = std::fs::File::options().write(true).open(database).expect("the database");
    for (number, (page, contents)) in differing.iter().enumerate() {
        if only.is_none_or(|only| only == number) {
            file.write_all_at(contents, (page * DATABASE_PAGE) as u64).expect("written");
        }
    }
    differing.len()
}

/// The attacker can write `dataDir`, has no key, and holds a revoked token.
#[test]
fn revoked_token_stays_refused_after_page_rollback() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let log = daemon.directory().join("audit.jsonl");
    daemon.change(|configuration| configuration.more = format!("audit: {{file: {}}}\n", log.display()));
    daemon.restart();
    let token = login::over_http(&daemon, &provider);
    let other = login::over_http(&daemon, &provider);
    let database = daemon.data_dir().join("infrad.db");
    daemon.stop();
    let before = std::fs::read(&database).expect("the database");
    daemon.start_again();
    assert_eq!(daemon.api().delete_as("/v1/session", &token).status, 204);
    daemon.stop();
    let after = std::fs::read(&database).expect("the database");

    let count = put_back(&database, &before, None);
    let (mut refused_starts, mut found) = (0, 0);
    for only in (0..count).map(Some).chain([None]) {
        // The page is restored before a start.
        std::fs::write(&database, &after).expect("the database");
        put_back(&database, &before, only);
        let mut starting = daemon.infrad(["serve"]);
        let end = starting.wait_for("its address or an error", |stdout, stderr| {
            if stdout.contains("listens on") {
                Some(false)
            } else {
                stderr.contains("error:").then_some(true)
            }
        });
        if !end {
            starting.signal(rustix::process::Signal::TERM);
        }
        starting.wait_for_end(LIMIT).expect("it ends");
        refused_starts += usize::from(end);
        if !end {
            // Discards what that start wrote, which is newer than `after`.
            std::fs::remove_file(daemon.root_key().with_file_name("infrad.rollback-guard"))
                .expect("the rollback guard file");
            put_back_whole(&daemon, &after);
            put_back(&database, &before, only);
            daemon.start_again();
            let status = daemon.api().get_as("/v1/session", &token).status;
            assert!(status == 401 || status == 503, "{only:?}, before a start: {status}\n{}", daemon.log());
            daemon.stop();
        }

        // The page is restored while the daemon runs.
        let _ = std::fs::remove_file(daemon.root_key().with_file_name("infrad.rollback-guard"));
        put_back_whole(&daemon, &after);
        daemon.start_again();
        put_back(&database, &before, only);
        let status = daemon.api().get_as("/v1/session", &token).status;
        assert!(status == 401 || status == 503, "{only:?}, while it runs: {status}\n{}", daemon.log());
        found += usize::from(status == 503);
        if status == 503 && found == 1 {
            assert_eq!(
                daemon.api().get_as("/v1/session", &other).status,
                503,
                "what else was put back is not known"
            );
            assert_eq!(daemon.api().get("/readyz").status, 503);
            let status = daemon.infrad(["status"]).wait().expect(4);
            assert!(status.stdout.contains("was replaced with an older version"), "{status}");
            // Stopped at once: the rollback is recorded and audited all the same.
            daemon.stop();
            let audited = std::fs::read_to_string(&log).expect("the audit log");
            assert!(audited.contains("rollback_detected"), "{audited}");
            // The daemon refuses to start even after the page is correct again.
            let words = ["older than the data this host used last", "--accept-rollback"];
            daemon.infrad(["serve"]).wait().expect(1).stderr_contains(&words);
            let mut accepted = daemon.infrad(["serve", "--accept-rollback"]);
            accepted.wait_for("that it listens", |stdout, _| stdout.contains("listens on").then_some(()));
            accepted.signal(rustix::process::Signal::TERM);
            accepted.wait_for_end(LIMIT).expect("it ends");
            daemon.start_again();
            for token in [&token, &other] {
                assert_eq!(daemon.api().get_as("/v1/session", token).status, 401);
            }
            login::over_http(&daemon, &provider);
        }
        daemon.stop();
    }
    assert!(refused_starts > 0 && found > 0, "{refused_starts} starts refused, {found} found while it ran");
}

fn put_back_whole(daemon: &Daemon, database: &[u8]) {
    for companion in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(daemon.data_dir().join(format!("infrad.db{companion}")));
    }
    std::fs::write(daemon.data_dir().join("infrad.db"), database).expect("the database");
}

#[test]
fn empty_data_directory_is_refused_if_store_is_known() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let first = daemon.wait_for_log("created a new store");
    assert!(first.contains(&daemon.fingerprint()) && first.contains("INFO"), "{first}");
    daemon.stop();
    let (data, aside) = (daemon.data_dir(), daemon.directory().join("aside"));
    std::fs::rename(&data, &aside).expect("moved");
    for command in [&["serve"][..], &["fingerprint"]] {
        let words = ["contains no store", "infrad.rollback-guard has an entry for one", "--new-store"];
        daemon.infrad_slice_with_input(command, "").wait().expect(1).stderr_contains(&words);
        assert!(!data.join("keys.json").exists(), "{command:?}");
    }
    let mut new = daemon.infrad(["serve", "--new-store"]);
    new.wait_for("that it listens", |stdout, _| stdout.contains("listens on").then_some(()));
    new.wait_for("that it is a new store", |_, log| log.contains("created a new store").then_some(()));
    new.signal(rustix::process::Signal::TERM);
    new.wait_for_end(LIMIT).expect("it ends");

    std::fs::remove_dir_all(&data).expect("the new store");
    std::fs::rename(&aside, &data).expect("moved back");
    std::fs::remove_file(daemon.root_key().with_file_name("infrad.rollback-guard"))
        .expect("the rollback guard file");
    daemon.start_again();
    daemon.wait_for_log("has no entry for this store");
}
