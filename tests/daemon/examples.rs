//! The services of `docs/examples`, in five languages, each validating tokens at a real daemon.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use infra_harness::authority::Authority;
use infra_harness::daemon::Daemon;
use infra_harness::documents::{Page, repository};
use infra_harness::ports::Ports;
use infra_harness::program::{Running, built};
use infra_harness::provider::Provider;
use infra_harness::services::{self, CREDENTIAL, write_private};
use infra_harness::{login, peers, wait};

/// For a start, which compiles the program in some languages, on a busy machine.
const START: Duration = Duration::from_mins(3);
/// Longer than a service takes to follow a change on a busy machine. The services keep an answer for a second.
const SOON: Duration = Duration::from_mins(1);
/// How long a service reuses the daemon's answer.
const KEPT: Duration = Duration::from_secs(1);

#[test]
fn python_example_admits_only_valid_tokens() {
    let Some(python) = peers::find_program("python3") else { return };
    admits_only_valid_tokens(|| command(&python, &["python/hello.py"]));
}

#[test]
fn node_example_admits_only_valid_tokens() {
    // Its default of 16 kB rejects oversized tokens before the example sees them.
    let arguments = ["--max-http-header-size=65536", "node/hello.mjs"];
    admits_only_valid_tokens(|| command(&peers::node(), &arguments));
}

#[test]
fn go_example_admits_only_valid_tokens() {
    let Some(go) = peers::find_program("go") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("hello");
    let output = program.to_str().expect("a path of the test");
    let mut build = command(&go, &["build", "-o", output, "go/hello.go"]);
    // The build cache is below the home.
    build.env("HOME", folder.path());
    Running::start(build, "go build".to_owned(), None, START).wait().expect(0);
    admits_only_valid_tokens(|| command(&program, &[]));
}

#[test]
fn java_example_admits_only_valid_tokens() {
    let (Some(java), Some(gson)) =
        (peers::find_program("java"), peers::find_file("/usr/share/java/gson.jar"))
    else {
        return;
    };
    let gson = gson.to_str().expect("a path in ASCII").to_owned();
    admits_only_valid_tokens(|| command(&java, &["-cp", &gson, "java/Hello.java"]));
}

#[test]
fn rust_example_admits_only_valid_tokens() {
    let program = built("hello-rust");
    admits_only_valid_tokens(|| command(&program, &[]));
}

/// Apart from their indentation, the blocks are parts of the programs.
#[test]
fn page_shows_the_examples_as_they_are() {
    let without_indentation = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let mut shown = 0;
    for block in Page::read("docs/validate-a-token.md").blocks() {
        let file = match block.language.as_str() {
            "go" => "go/hello.go",
            "java" => "java/Hello.java",
            "js" => "node/hello.mjs",
            "python" => "python/hello.py",
            "rust" => "rust/src/main.rs",
            _ => continue,
        };
        let program = fs::read_to_string(repository().join("docs/examples").join(file)).expect("an example");
        let (program, block) = (without_indentation(&program), without_indentation(&block.text));
        assert!(program.contains(&block), "{file} differs from\n{block}");
        shown += 1;
    }
    assert_eq!(shown, 5);
}

fn command(program: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(repository().join("docs/examples"));
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command
}

fn admits_only_valid_tokens(command: impl Fn() -> Command) {
    let provider = Provider::start();
    let mut daemon = services::daemon(
        &provider,
        &[
            "{name: hello, audience: 'https://hello.example.com', credentials: [CREDENTIAL], allow: [{provider: okta}]}",
            "{name: other, allow: everyone}",
        ],
    );
    // During a rollover of the daemon's authority, the file has two certificates.
    let authority = daemon.directory().join("ca.pem");
    let other = fs::read_to_string(Authority::new().file()).expect("a certificate");
    let own = daemon.infrad(["ca", "print"]).wait().expect(0).stdout;
    fs::write(&authority, other + &own).expect("a file");
    let session = login::over_http(&daemon, &provider);
    let token = services::token(&daemon.api(), &session, "hello");
    let for_other = services::token(&daemon.api(), &session, "other");

    for address in [daemon.origin().replace("https://", ""), daemon.origin() + "/"] {
        let mut command = command();
        command.env("INFRA_SERVER", address).env("SERVICE", "hello").env("CREDENTIAL_FILE", "/dev/null");
        let ran = Running::start(command, "an example".to_owned(), None, START).wait();
        assert!(ran.code != Some(0) && ran.stderr.contains("INFRA_SERVER must be"), "{ran}");
    }

    let missing = daemon.directory().join("gone.pem");
    let mut without_authority = command();
    without_authority.env("INFRA_SERVER", daemon.origin()).env("SERVICE", "hello");
    without_authority.env("CREDENTIAL_FILE", "/dev/null").env("CA_FILE", &missing);
    let ran = Running::start(without_authority, "an example".to_owned(), None, START).wait();
    assert!(ran.code != Some(0) && ran.stderr.contains("cannot use CA_FILE"), "{ran}");
    assert!(ran.stderr.contains("gone.pem") && ran.stderr.lines().count() == 1, "{ran}");

    let service = Service::start(command(), &daemon, &authority);
    assert_eq!(service.ask(&bearer(&token)), (200, "hello alice@example.test\n".to_owned()));
    assert_eq!(service.status(&format!("bearer {token}")), 200);
    for without in ["", "Bearer", "Basic aW5mcmE6aW5mcmE="] {
        assert_eq!(service.refuse(without), "Bearer", "{without}");
    }
    for refused in ["Bearer x&token=y", &bearer(&for_other), &bearer(&session)] {
        assert_eq!(service.refuse(refused), "Bearer error=\"invalid_token\"", "{refused}");
    }
    // Form-encoded it is too large for the daemon, which answers 413.
    let oversized = "/".repeat(24_000);
    assert_eq!(service.status(&bearer(&oversized)), 401);
    assert!(!service.running.output().contains("cannot validate"), "{}", service.running.output());

    service.admits_from_memory(&bearer(&token));
    service.write_credential(CREDENTIAL);
    service.follows(&bearer(&token), 200, "its credential was replaced");

    daemon.kill();
    service.follows(&bearer(&token), 503, "the daemon is down");
    daemon.start_again();
    service.follows(&bearer(&token), 200, "the daemon is back");

    let impostor = Service::start(command(), &daemon, &Authority::new().file());
    assert_eq!(impostor.status(&bearer(&token)), 503, "another authority issued the daemon's certificate");

    assert_eq!(daemon.api().delete_as("/v1/session", &session).status, 204);
    service.follows(&bearer(&token), 401, "the session was revoked");

    let output = service.running.output() + &impostor.running.output();
    assert!(output.contains("cannot validate a token"), "{output}");
    for secret in [&token, &for_other, &session, CREDENTIAL] {
        assert!(!output.contains(secret), "{output}");
    }
}

/// A running example.
struct Service {
    running: Running,
    port: u16,
    credential_file: PathBuf,
    _ports: Ports,
    _directory: tempfile::TempDir,
}

impl Service {
    fn start(mut command: Command, daemon: &Daemon, authority: &Path) -> Self {
        let (ports, directory) = (Ports::reserve(1), tempfile::tempdir().expect("a directory"));
        let credential_file = directory.path().join("credential");
        write_private(&credential_file, &format!("{CREDENTIAL}\n"));
        let port = *ports.all().first().expect("one was reserved");
        command
            .env("INFRA_SERVER", daemon.origin())
            .env("CA_FILE", authority)
            .env("SERVICE", "hello")
            .env("CREDENTIAL_FILE", &credential_file)
            .env("PORT", port.to_string());
        let mut running = Running::start(command, "an example".to_owned(), None, START);
        running.wait_for("that it listens", |_, _| {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(())
        });
        Self { running, port, credential_file, _ports: ports, _directory: directory }
    }

    /// Sends a request with this value of `Authorization`; returns the status and the body.
    fn ask(&self, authorization: &str) -> (u16, String) {
        let (status, _, body) = self.answer(authorization);
        (status, body)
    }

    /// Sends a request that is refused; returns the challenge (RFC 9110 §11.6.1).
    fn refuse(&self, authorization: &str) -> String {
        let (status, head, _) = self.answer(authorization);
        assert_eq!(status, 401, "{authorization}: {head}");
        let fields = head.lines().filter_map(|line| line.split_once(':'));
        let challenge = fields.filter(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"));
        challenge.map(|(_, value)| value.trim().to_owned()).collect()
    }

    fn answer(&self, authorization: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let header = if authorization.is_empty() {
            String::new()
        } else {
            format!("Authorization: {authorization}\r\n")
        };
        let request = format!("GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n{header}\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (status.expect("a status"), head.to_owned(), body.to_owned())
    }

    fn status(&self, authorization: &str) -> u16 {
        self.ask(authorization).0
    }

    #[track_caller]
    fn follows(&self, authorization: &str, expected: u16, change: &str) {
        let followed = wait::until(SOON, || (self.status(authorization) == expected).then_some(()));
        assert!(followed.is_some(), "{change}\n{}", self.running.output());
    }

    fn write_credential(&self, credential: &str) {
        write_private(&self.credential_file, credential);
    }

    /// Within a second of an answer, the service answers without the daemon, which would reject its credential.
    #[track_caller]
    fn admits_from_memory(&self, authorization: &str) {
        let admitted = wait::until(Duration::from_mins(3), || {
            self.write_credential("a-credential-that-the-daemon-does-not-know");
            self.follows(authorization, 503, "the daemon rejects its credential");
            let asked = Instant::now();
            self.write_credential(CREDENTIAL);
            assert_eq!(self.status(authorization), 200, "{}", self.running.output());
            self.write_credential("a-credential-that-the-daemon-does-not-know");
            let status = self.status(authorization);
            // On a busy machine, the second may be over.
            (asked.elapsed() < KEPT).then_some(status)
        });
        assert_eq!(admitted, Some(200), "it asks the daemon each time");
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}
