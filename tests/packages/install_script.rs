//! The install script of a release, against a server on loopback: what it installs, and that it changes nothing when a file
//! is wrong.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use infra_harness::authority::Authority;
use infra_harness::https::{Answer, Delivery, Server};
use infra_harness::peers;
use infra_harness::program::{Ran, Running, files_with_modes};
use tempfile::TempDir;

use super::release::{Release, VERSION, triples};

const BOUND: Duration = Duration::from_mins(1);
/// A placeholder for `infra` of each system.
const PROGRAM: &str = concat!("#!/bin/sh\necho infra ", env!("CARGO_PKG_VERSION"), "\n");
const OLDER: &str = "#!/bin/sh\necho infra 0.0.9\n";

/// The files of the server, by path.
type Files = Arc<Mutex<BTreeMap<String, Answer>>>;

/// What is wrong with a file of the server.
type Change<'a> = &'a dyn Fn(&mut Answer);

/// A signed release on a server, and a user who installs it.
struct Installation {
    release: Release,
    files: Files,
    server: Server,
    authority: Authority,
    home: TempDir,
}

impl Installation {
    fn prepare() -> Option<Self> {
        peers::find_program("curl")?;
        let release = Release::prepare(PROGRAM)?;
        let (authority, files) = (Authority::new(), Files::default());
        let shared = Arc::clone(&files);
        let server = Server::start(authority.issue(), move |request| {
            let found = shared.lock().expect("no test panics here").get(&request.path).cloned();
            async move { found.unwrap_or_else(|| Answer::text(404, "missing")) }
        });
        let home = TempDir::with_prefix("infra-install-").expect("a temporary directory");
        for folder in ["tmp", "system", "bin"] {
            fs::create_dir(home.path().join(folder)).expect("a folder");
        }
        let installation = Self { release, files, server, authority, home };
        installation.release.make(&installation.repository(), Some("key.pem")).expect(0);
        installation.serve();
        Some(installation)
    }

    fn repository(&self) -> String {
        format!("https://127.0.0.1:{}/example/infra", self.server.port())
    }

    fn path_of(name: &str) -> String {
        format!("/example/infra/releases/download/v{VERSION}/{name}")
    }

    /// Serves the files of the release as they were made.
    fn serve(&self) {
        let mut files = self.files.lock().expect("no test panics here");
        files.clear();
        for entry in fs::read_dir(self.release.path("made")).expect("a release").flatten() {
            if let Ok(body) = fs::read(entry.path()) {
                let answer = Answer { status: 200, headers: Vec::new(), body, delivery: Delivery::AtOnce };
                files.insert(Self::path_of(&entry.file_name().to_string_lossy()), answer);
            }
        }
    }

    /// Changes what the server has under this name.
    fn change(&self, name: &str, change: impl FnOnce(&mut Answer)) {
        let mut files = self.files.lock().expect("no test panics here");
        change(files.get_mut(&Self::path_of(name)).expect("a file of the release"));
    }

    fn to(&self) -> PathBuf {
        self.home.path().join("bin")
    }

    /// A program of the system as the script sees it.
    fn system_program(&self, name: &str, script: &str) {
        let path = self.home.path().join("system").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    fn run(&self, shell: &str, to: &Path) -> Ran {
        let mut command = Command::new(shell);
        command.arg(self.release.path("made/install.sh")).arg("--to").arg(to);
        self.start(command)
    }

    fn start(&self, mut command: Command) -> Ran {
        command
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.home.path().join("system").display()))
            .env("HOME", self.home.path())
            .env("TMPDIR", self.home.path().join("tmp"))
            .env("CURL_CA_BUNDLE", self.authority.file())
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        Running::start(command, "install.sh".to_owned(), None, BOUND).wait()
    }

    /// Plants an older program, which a refusal leaves alone.
    fn plant_older(&self) {
        self.plant(OLDER);
    }

    /// Plants what is installed already.
    fn plant(&self, program: &str) {
        let path = self.to().join("infra");
        fs::write(&path, program).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    /// Fails unless the older program is the only file, and nothing is left behind.
    fn expect_unchanged(&self, what: &str) {
        assert_eq!(fs::read_to_string(self.to().join("infra")).expect("a program"), OLDER, "{what}");
        self.expect_tidy(what);
    }

    fn expect_tidy(&self, what: &str) {
        assert_eq!(
            files_with_modes(&self.to()).lines().count(),
            2,
            "{what}: {}",
            files_with_modes(&self.to())
        );
        let left = fs::read_dir(self.home.path().join("tmp")).expect("a folder").count();
        assert_eq!(left, 0, "{what}: temporary files are left");
    }
}

/// The archive of this machine.
fn own_archive() -> String {
    format!("infra-{VERSION}-{}-unknown-linux-gnu.tar.gz", std::env::consts::ARCH)
}

#[test]
fn script_installs_and_replaces_verified_program() {
    let Some(installation) = Installation::prepare() else { return };
    for shell in ["sh", "bash"] {
        for is_first in [true, false] {
            if is_first {
                let _ = fs::remove_file(installation.to().join("infra"));
            } else {
                installation.plant_older();
            }
            let ran = installation.run(shell, &installation.to()).expect(0);
            let installed = installation.to().join("infra");
            assert_eq!(
                ran.stdout.lines().next(),
                Some(&*format!("installed infra {VERSION} as {}", installed.display())),
                "{ran}"
            );
            assert!(ran.stdout.contains("to your PATH"), "{ran}");
            assert_eq!(fs::read_to_string(&installed).expect("a program"), PROGRAM);
            assert_eq!(fs::metadata(&installed).expect("a program").permissions().mode() & 0o7777, 0o755);
            installation.expect_tidy(shell);
        }
    }
    // A relative path that looks like an option, and a folder that is missing.
    let mut command = Command::new("sh");
    command.arg(installation.release.path("made/install.sh")).args(["--to", "-new/a folder"]);
    installation.start(command).expect(0);
    assert!(installation.home.path().join("-new/a folder/infra").is_file());
}

#[test]
fn script_replaces_newer_program_only_if_told() {
    let Some(installation) = Installation::prepare() else { return };
    let installed = installation.to().join("infra");
    let run = |words: &[&str]| {
        let mut command = Command::new("sh");
        command.arg(installation.release.path("made/install.sh")).arg("--to").arg(installation.to());
        command.args(words);
        installation.start(command)
    };
    let now: Vec<u64> = VERSION.split('.').map(|number| number.parse().expect("a number")).collect();
    for newer in [
        format!("{}.{}.{}", now[0], now[1], now[2] + 1),
        format!("{}.{}.0-rc.1", now[0], now[1] + 10),
        format!("{}.0.0", now[0] + 1),
    ] {
        let program = format!("#!/bin/sh\necho infra {newer}\n");
        installation.plant(&program);
        // Before anything is downloaded.
        installation.files.lock().expect("no test panics here").clear();
        run(&[]).expect(1).stderr_contains(&["infra is newer", &newer, "add --downgrade"]);
        assert_eq!(fs::read_to_string(&installed).expect("a program"), program);
        installation.expect_tidy(&newer);
        installation.serve();
        run(&["--downgrade"]).expect(0);
        assert_eq!(fs::read_to_string(&installed).expect("a program"), PROGRAM, "{newer}");
    }
    // The same, one before this release, and what is no version.
    for said in [
        format!("infra {VERSION}"),
        format!("infra {VERSION}-rc.9"),
        "infra".to_owned(),
        "; false".to_owned(),
    ] {
        installation.plant(&format!("#!/bin/sh\necho {said}\n"));
        run(&[]).expect(0);
        assert_eq!(fs::read_to_string(&installed).expect("a program"), PROGRAM, "{said}");
    }
    run(&["--to"]).expect(2).stderr_contains(&["[--to DIRECTORY] [--downgrade]"]);
}

#[test]
fn script_changes_nothing_if_a_download_is_wrong() {
    let Some(installation) = Installation::prepare() else { return };
    let archive = own_archive();
    let sums = fs::read_to_string(installation.release.path("made/SHA256SUMS")).expect("checksums");
    installation.release.make_key("other.pem");
    let signed_by_another = sign(&installation.release, "other.pem", &sums);
    let without_archive: String =
        sums.lines().filter(|line| !line.ends_with(&archive)).flat_map(|line| [line, "\n"]).collect();
    // Serves nothing: the script must never connect.
    let without_tls = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    without_tls.set_nonblocking(true).expect("a socket can be asynchronous");
    let elsewhere = without_tls.local_addr().expect("a bound socket has an address");
    let cases: [(&str, &str, &str, Change<'_>); 9] = [
        ("a changed archive", &archive, "its checksum is wrong", &|answer| {
            *answer.body.last_mut().expect("a body") ^= 1;
        }),
        ("a truncated archive", &archive, "its checksum is wrong", &|answer| {
            answer.body.truncate(answer.body.len() / 2);
        }),
        ("an empty archive", &archive, "its checksum is wrong", &|answer| answer.body.clear()),
        ("an archive cut short", &archive, "cannot download", &|answer| answer.delivery = Delivery::CutShort),
        ("changed checksums", "SHA256SUMS", "the signature of SHA256SUMS is wrong", &|answer| {
            let first = answer.body.first_mut().expect("a body");
            *first = if *first == b'0' { b'1' } else { b'0' };
        }),
        ("another key", "SHA256SUMS.sig", "the signature of SHA256SUMS is wrong", &|answer| {
            answer.body.clone_from(&signed_by_another);
        }),
        ("an empty signature", "SHA256SUMS.sig", "the signature of SHA256SUMS is wrong", &|answer| {
            answer.body.clear();
        }),
        ("a missing signature", "SHA256SUMS.sig", "cannot download SHA256SUMS.sig", &|answer| {
            answer.status = 404;
        }),
        ("a redirect without TLS", "SHA256SUMS", "cannot download SHA256SUMS", &|answer| {
            *answer = Answer::redirect(&format!("http://{elsewhere}/SHA256SUMS"));
        }),
    ];
    for (what, file, said, change) in cases {
        installation.plant_older();
        installation.serve();
        installation.change(file, change);
        let ran = installation.run("sh", &installation.to()).expect(1);
        assert!(ran.stderr.starts_with("error: cannot ") && ran.stderr.contains(said), "{what}: {ran}");
        assert!(ran.stdout.is_empty(), "{what}: {ran}");
        installation.expect_unchanged(what);
    }
    assert!(without_tls.accept().is_err(), "a download without TLS");

    // A valid signature over checksums that list another archive only.
    installation.serve();
    let signature = sign(&installation.release, "key.pem", &without_archive);
    installation.change("SHA256SUMS", |answer| answer.body = without_archive.clone().into_bytes());
    installation.change("SHA256SUMS.sig", |answer| answer.body = signature);
    let ran = installation.run("sh", &installation.to());
    ran.expect(1).stderr_contains(&["SHA256SUMS does not list", &archive]);
    installation.expect_unchanged("another archive");
}

/// Signs `text` with a key of the release.
fn sign(release: &Release, key: &str, text: &str) -> Vec<u8> {
    fs::write(release.path("to-sign"), text).expect("a file");
    let mut command = Command::new("openssl");
    command
        .args(["dgst", "-sha256", "-sign"])
        .arg(release.path(key))
        .arg("-out")
        .arg(release.path("signature"));
    command.arg(release.path("to-sign")).stdin(Stdio::null());
    Running::start(command, "openssl".to_owned(), None, BOUND).wait().expect(0);
    fs::read(release.path("signature")).expect("a signature")
}

#[test]
fn script_refuses_unwritable_target_before_download() {
    let Some(installation) = Installation::prepare() else { return };
    installation.files.lock().expect("no test panics here").clear();
    installation.plant_older();
    let folder = installation.to().join("infra");
    // Nobody, root included, can create a file in /proc.
    for (to, said) in [(folder.as_path(), "cannot create"), (Path::new("/proc"), "cannot write to /proc")] {
        let ran = installation.run("sh", to).expect(1);
        ran.stderr_contains(&[
            said,
            "because: ",
            "try: name a directory that you can write to: --to DIRECTORY",
        ]);
        installation.expect_unchanged(said);
    }
    fs::remove_file(&folder).expect("a program");
    fs::create_dir(&folder).expect("a folder");
    let ran = installation.run("sh", &installation.to()).expect(1);
    ran.stderr_contains(&["is a directory"]);
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 0);
}

#[test]
fn script_finds_an_archive_for_each_system() {
    let Some(installation) = Installation::prepare() else { return };
    let mut installed = Vec::new();
    for (system, machine, libc, translated, triple) in [
        ("Linux", "x86_64", "ldd (Debian GLIBC 2.36) 2.36", "", "x86_64-unknown-linux-gnu"),
        ("Linux", "aarch64", "ldd (Ubuntu GLIBC 2.35) 2.35", "", "aarch64-unknown-linux-gnu"),
        ("Linux", "x86_64", "musl libc (x86_64)", "", "x86_64-unknown-linux-musl"),
        ("Linux", "aarch64", "musl libc (aarch64)", "", "aarch64-unknown-linux-musl"),
        ("Darwin", "arm64", "", "0", "aarch64-apple-darwin"),
        ("Darwin", "x86_64", "", "0", "x86_64-apple-darwin"),
        ("Darwin", "x86_64", "", "1", "aarch64-apple-darwin"),
    ] {
        installation.system_program("uname", &format!("test \"$1\" = -m && echo {machine} || echo {system}"));
        // musl's prints its name to standard error, and fails.
        installation.system_program("ldd", &format!("echo '{libc}' >&2; exit 1"));
        installation.system_program("sysctl", &format!("echo {translated}"));
        installation.serve();
        // Only this archive is there.
        let wanted = Installation::path_of(&format!("infra-{VERSION}-{triple}.tar.gz"));
        installation
            .files
            .lock()
            .expect("no test panics here")
            .retain(|path, _| !path.ends_with(".tar.gz") || *path == wanted);
        installation.run("sh", &installation.to()).expect(0);
        installed.push(triple.to_owned());
    }
    installed.sort();
    installed.dedup();
    let mut built: Vec<String> = ["clients", "packages"]
        .into_iter()
        .flat_map(triples)
        .filter(|triple| !triple.contains("windows"))
        .collect();
    built.sort();
    assert_eq!(installed, built);

    installation.system_program("uname", "test \"$1\" = -m && echo riscv64 || echo Linux");
    let ran = installation.run("sh", &installation.to()).expect(1);
    ran.stderr_contains(&["there is no program for Linux on riscv64"]);
}

#[test]
fn script_keeps_older_program_if_new_one_cannot_run() {
    let Some(mut installation) = Installation::prepare() else { return };
    for program in ["#!/nowhere/interpreter\n", "#!/bin/sh\necho infra 9.9.9\n"] {
        // Built, summed up and signed, but made for another system or from other sources.
        installation.release = Release::prepare(program).expect("it could be prepared before");
        installation.release.make(&installation.repository(), Some("key.pem")).expect(0);
        installation.serve();
        installation.plant_older();
        let ran = installation.run("sh", &installation.to()).expect(1);
        ran.stderr_contains(&["error: cannot "]);
        installation.expect_unchanged(program);
    }
}

/// A connection that breaks while a shell reads the script from it must not run half of it.
#[test]
fn partial_script_does_nothing() {
    let Some(installation) = Installation::prepare() else { return };
    installation.plant_older();
    let script = fs::read_to_string(installation.release.path("made/install.sh")).expect("a script");
    let lines: Vec<&str> = script.lines().collect();
    for length in (0..lines.len()).step_by(7) {
        let part: String = lines.iter().take(length).flat_map(|line| [line, "\n"]).collect();
        fs::write(installation.release.path("part.sh"), part).expect("a script");
        let mut command = Command::new("sh");
        command.arg(installation.release.path("part.sh")).arg("--to").arg(installation.to());
        installation.start(command);
        installation.expect_unchanged(&format!("{length} lines"));
    }
}
