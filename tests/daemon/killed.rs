//! Kills key changes, backups and restores at every step that touches the disk. Afterwards the store opens, has every
//! row, and no temporary files remain.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use infra_harness::canaries::Canaries;
use infra_harness::copy::copy_files;
use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::peers;
use infra_harness::provider::{CLIENT_SECRET, Provider};
use infra_harness::services::write_private;

/// Returns the threads and files to trace. strace counts calls per thread, so one thread's calls would hide another's.
fn views(daemon: &Daemon) -> Vec<Vec<String>> {
    let mut of_new_database = vec!["-f".to_owned()];
    for companion in ["", "-wal", "-journal"] {
        let path = daemon.data_dir().join(format!("infrad-2.db{companion}"));
        of_new_database.extend(["-P".to_owned(), path.display().to_string()]);
    }
    vec![vec!["-f".to_owned()], Vec::new(), of_new_database]
}

/// System calls that make changes durable. The test kills the program before each of them in turn.
const STEPS: &str =
    "fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,ftruncate,mkdir,mkdirat";
/// Writes in between, which are more frequent: every seventh.
const WRITES: &str = "pwrite64,write";
const EVERY: usize = 7;
/// More than any command has steps.
const MOST_STEPS: usize = 2_000;

/// A host with a stopped daemon and a live session in its store, which can be restored.
struct Host {
    daemon: Daemon,
    token: String,
    kept: PathBuf,
    _provider: Provider,
}

/// The state of the session after a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Session {
    Live,
    Revoked,
}

impl Host {
    /// Returns `None`, with a message, if strace is missing.
    fn new() -> Option<Self> {
        peers::find_program("strace")?;
        let provider = Provider::start();
        let mut daemon = Daemon::start(&provider);
        let token = login::over_http(&daemon, &provider);
        daemon.infrad(["backup", "backup"]).wait().expect(0);
        daemon.stop();
        let next = daemon.directory().join("keys/next.key");
        daemon.change(|configuration| {
            configuration.root_keys = Some(format!(
                "[{{kind: native, config: {{path: {}}}}}, {{kind: native, config: {{path: {}}}}}]",
                next.display(),
                configuration.root_key.display()
            ));
        });
        write_private(&next, "the 32 bytes of the new root key");
        let kept = daemon.directory().join("kept");
        let host = Self { daemon, token, kept, _provider: provider };
        copy_files(&host.daemon.data_dir(), &host.kept.join("data"));
        copy_files(&host.keys(), &host.kept.join("keys"));
        Some(host)
    }

    fn keys(&self) -> PathBuf {
        self.daemon.directory().join("keys")
    }

    fn put_back(&self) {
        for (to, name) in [(self.daemon.data_dir(), "data"), (self.keys(), "keys")] {
            let _ = fs::remove_dir_all(&to);
            copy_files(&self.kept.join(name), &to);
        }
    }

    /// Runs the command and kills it before its `n`th call of `calls` in this view. Returns `true` if it finished
    /// first.
    fn run_until(&self, arguments: &[&str], view: &[String], calls: &str, n: usize) -> bool {
        let mut strace = Command::new("strace");
        strace
            .args(view)
            .args(["-qq", "-o", "/dev/null", "-e"])
            .arg(format!("trace={calls}"))
            .arg("-e")
            .arg(format!("inject={calls}:signal=KILL:when={n}"));
        let ran = self.daemon.infrad_under(strace, arguments).wait();
        assert!(matches!(ran.code, None | Some(0)), "it failed instead\n{ran}");
        ran.code == Some(0)
    }

    /// Kills the command at each step in turn, after `prepare`, and calls `look` on the result. Returns the number of
    /// kills.
    fn at_every_step(
        &mut self,
        arguments: &[&str],
        mut prepare: impl FnMut(&mut Self),
        mut inspect: impl FnMut(&mut Self),
    ) -> usize {
        let mut kills = 0;
        for view in views(&self.daemon) {
            for (calls, every) in [(STEPS, 1), (WRITES, EVERY)] {
                let ends = (1..=MOST_STEPS).step_by(every).any(|n| {
                    prepare(self);
                    let has_ended = self.run_until(arguments, &view, calls, n);
                    kills += usize::from(!has_ended);
                    inspect(self);
                    has_ended
                });
                assert!(ends, "{arguments:?} never finished");
            }
        }
        kills
    }

    /// Starts the daemon, reads the session's state, and kills the daemon.
    fn session(&mut self) -> Session {
        self.daemon.start_again();
        let answered = self.daemon.api().get_as("/v1/session", &self.token);
        self.daemon.kill();
        match answered.status {
            200 => Session::Live,
            status => {
                let is_revoked = answered.body.contains("session_revoked");
                assert!(status == 401 && is_revoked, "it was lost: {answered:?}\n{}", self.daemon.log());
                Session::Revoked
            }
        }
    }

    /// Asserts that nothing is stored in plain text and that a killed command left no files.
    fn assert_tidy(&self) {
        let mut canaries = Canaries::default();
        canaries.add("session secret", self.token.split_once('.').expect("two parts").1);
        canaries.add("client secret", CLIENT_SECRET);
        canaries.add("e-mail", "alice@example.test");
        canaries.add("SQLite", "SQLite format 3");
        let data_dir = self.daemon.data_dir();
        assert_eq!(canaries.find_in_files(&data_dir, &[]), Vec::<String>::new());
        let names: Vec<String> = fs::read_dir(&data_dir)
            .expect("the data directory")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        let is_database = |name: &&String| Path::new(name).extension().is_some_and(|kind| kind == "db");
        let databases = names.iter().filter(is_database).count();
        let strays = names.iter().filter(|name| name.starts_with(".new-")).count();
        assert_eq!((databases, strays), (1, 0), "{names:?}");
    }

    /// Kills a command that changes the store at every step. Each time, the daemon must start and the session must be
    /// in one of the states in `after`. Each of these must occur.
    fn kill_everywhere(&mut self, arguments: &[&str], after: &[Session]) {
        let mut seen = Vec::new();
        let kills = self.at_every_step(
            arguments,
            |host| host.put_back(),
            |host| {
                seen.push(host.session());
                host.assert_tidy();
            },
        );
        assert!(kills > 5, "{arguments:?}: killed {kills} times");
        assert!(after.iter().all(|session| seen.contains(session)), "{arguments:?}: {seen:?}");
        assert!(seen.iter().all(|session| after.contains(session)), "{arguments:?}: {seen:?}");
    }
}

#[test]
fn killed_rewrap_leaves_old_or_new_wrapping() {
    let Some(mut host) = Host::new() else { return };
    host.kill_everywhere(&["key", "rewrap"], &[Session::Live]);
}

#[test]
fn killed_rotation_leaves_old_or_new_data_key() {
    let Some(mut host) = Host::new() else { return };
    host.kill_everywhere(&["key", "rotate"], &[Session::Live]);
}

#[test]
fn killed_backup_leaves_store_intact_and_no_partial_file() {
    let Some(mut host) = Host::new() else { return };
    let file = host.daemon.directory().join("again");
    let kills = host.at_every_step(
        &["backup", "again"],
        |host| {
            host.put_back();
            let _ = fs::remove_file(&file);
        },
        |host| {
            if file.exists() {
                host.daemon.infrad(["backup", "verify", "again"]).wait().expect(0);
            }
            assert_eq!(host.session(), Session::Live);
            host.assert_tidy();
        },
    );
    assert!(kills > 10, "killed {kills} times");
}

#[test]
fn killed_restore_leaves_old_or_restored_store() {
    let Some(mut host) = Host::new() else { return };
    host.kill_everywhere(&["restore", "backup"], &[Session::Live, Session::Revoked]);
}

#[test]
fn killed_restore_on_empty_host_can_be_repeated() {
    let Some(mut host) = Host::new() else { return };
    let kills = host.at_every_step(
        &["restore", "backup"],
        |host| {
            host.put_back();
            fs::remove_dir_all(host.daemon.data_dir()).expect("the data directory");
        },
        |host| {
            host.daemon.infrad(["restore", "backup"]).wait().expect(0);
            assert_eq!(host.session(), Session::Revoked);
            host.assert_tidy();
        },
    );
    assert!(kills > 10, "killed {kills} times");
}
