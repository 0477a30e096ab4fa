//! A PostgreSQL server of the test's own, from the machine's packages. Reachable over a Unix socket and over TLS.

mod replication;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use infra_harness::authority::Authority;
use infra_harness::ports::Ports;
use infra_harness::program::Running;
use infra_harness::{peers, wait};
use rustix::process::Signal;
use tempfile::TempDir;

/// Where Debian installs the programs. Newest first.
const VERSIONS: [&str; 5] = ["18", "17", "16", "15", "14"];
const LIMIT: Duration = Duration::from_mins(1);
/// The file of settings in the data directory that comes after all others.
const SETTINGS: &str = "postgresql.auto.conf";
/// The owner of the databases. It needs no password on the socket, and [`PASSWORD`] over TLS.
pub const USER: &str = "infrad";
pub const PASSWORD: &str = "password-of-the-tests";

/// A running server, stopped when dropped.
pub struct PostgreSQL {
    programs: PathBuf,
    directory: TempDir,
    ports: Ports,
    /// A standby has the same.
    authority: Arc<Authority>,
    owner: Option<u32>,
    settings: Vec<String>,
    running: Option<Running>,
}

impl PostgreSQL {
    /// Starts a server that writes to disk only when it must. Returns `None` and reports a skip if none is installed.
    pub fn start() -> Option<Self> {
        Self::start_with(&["fsync=off", "full_page_writes=off"])
    }

    /// Starts a server with these settings of its own.
    pub fn start_with(settings: &[&str]) -> Option<Self> {
        Self::start_certified(Authority::new(), settings)
    }

    /// Starts a server with a certificate of this CA.
    pub fn start_certified(authority: Authority, settings: &[&str]) -> Option<Self> {
        let settings = settings.iter().map(|&setting| setting.to_owned()).collect();
        let mut server = Self::prepare(programs()?, Arc::new(authority), settings);
        server.create();
        server.start_again();
        Some(server)
    }

    fn prepare(programs: PathBuf, authority: Arc<Authority>, settings: Vec<String>) -> Self {
        let directory = TempDir::with_prefix("infra-pg-").expect("a temporary directory");
        let server = Self {
            programs,
            directory,
            ports: Ports::reserve(1),
            authority,
            owner: owner(),
            settings,
            running: None,
        };
        let own = server.directory.path();
        server.give(own);
        fs::set_permissions(own, fs::Permissions::from_mode(0o755)).expect("our own directory");
        server
    }

    /// Listens on this address of the machine too, with a certificate that names it. Restarts the server.
    pub fn listen_on(&mut self, address: &str) {
        self.stop();
        let leaf = self.authority.issue_like_public_ca(&["localhost", "127.0.0.1", address]);
        self.write_data_file("server.pem", &leaf.chain_pem);
        self.write_data_file("server.key", &leaf.key_pem);
        self.configure(&format!("listen_addresses = '127.0.0.1,{address}'"));
        let path = self.data().join("pg_hba.conf");
        let rules = fs::read_to_string(&path).expect("our own file");
        self.write_data_file("pg_hba.conf", &format!("{rules}hostssl all all samenet scram-sha-256\n"));
        self.start_again();
    }

    /// The directory of the Unix socket.
    pub fn socket(&self) -> &Path {
        self.directory.path()
    }

    pub fn port(&self) -> u16 {
        self.ports.all()[0]
    }

    /// The CA of the server's certificate, for `caFile`. The certificate is for 127.0.0.1 and localhost.
    pub fn authority_file(&self) -> PathBuf {
        self.authority.file()
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A file with [`PASSWORD`], for a reference.
    pub fn password_file(&self) -> PathBuf {
        let path = self.authority.directory().join("password");
        if !path.exists() {
            fs::write(&path, PASSWORD).expect("our own directory");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
        }
        path
    }

    /// Creates an empty database that [`USER`] owns.
    pub fn create_database(&self, name: &str) {
        self.sql_as("postgres", "postgres", &format!("CREATE DATABASE {name} OWNER {USER}"));
    }

    /// Raises the limits of [`USER`] in a database with a schema, for tests whose writes wait for each other or for other
    /// programs.
    pub fn allow_slow_statements(&self, database: &str) {
        for limit in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"] {
            self.sql(database, &format!("ALTER ROLE {USER} IN DATABASE {database} SET {limit} = '60s'"));
        }
    }

    /// Runs SQL as [`USER`] and returns its output: values without names, separated by `|`.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        self.sql_as(USER, database, statement)
    }

    /// Runs SQL as this user.
    #[track_caller]
    pub fn sql_as(&self, user: &str, database: &str, statement: &str) -> String {
        let mut command = self.command("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h"]).arg(self.socket());
        command.args(["-p", &self.port().to_string(), "-U", user, "-d", database, "-c", statement]);
        run(command)
    }

    /// Runs a client program of the server, such as `pg_dump`, as its administrator, with the file as standard input if there
    /// is one. Returns the output.
    #[track_caller]
    pub fn client(&self, program: &str, arguments: &[&str], input: Option<&str>) -> String {
        let mut command = self.command(program);
        command.args(["-h"]).arg(self.socket()).args(["-p", &self.port().to_string(), "-U", "postgres"]);
        command.args(arguments);
        run_with_input(command, input)
    }

    /// Dumps a database as SQL.
    #[track_caller]
    pub fn dump(&self, database: &str) -> String {
        self.client("pg_dump", &[database], None)
    }

    /// Replaces a database with the contents of a dump, in spite of open connections.
    #[track_caller]
    pub fn restore(&self, database: &str, dump: &str) {
        self.sql_as("postgres", "postgres", &format!("DROP DATABASE {database} WITH (FORCE)"));
        self.create_database(database);
        self.client("psql", &["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", database], Some(dump));
    }

    /// The folder with the server's programs, such as `pg_dump`.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// The folder with the database files.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Everything that the server has logged since it started.
    pub fn log(&self) -> String {
        self.running.as_ref().map(Running::output).unwrap_or_default()
    }

    /// Stops the server at once, like a crash of its processes. The next start recovers.
    pub fn stop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.signal(Signal::QUIT);
            assert!(running.wait_for_end(LIMIT).is_some(), "the server did not stop\n{}", running.output());
        }
    }

    /// Starts the server with the same data on the same port.
    pub fn start_again(&mut self) {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.socket());
        command.args(["-p", &self.port().to_string()]);
        for setting in &self.settings {
            command.arg("-c").arg(setting);
        }
        self.running = Some(Running::start(command, "postgres".to_owned(), None, LIMIT));
        let ready = wait::until(LIMIT, || {
            let running = self.running.as_mut().expect("just started");
            assert!(running.is_running(), "PostgreSQL ended at once\n{}", running.output());
            let mut command = self.command("pg_isready");
            command.args(["-q", "-h"]).arg(self.socket()).args(["-p", &self.port().to_string()]);
            command.status().is_ok_and(|status| status.success()).then_some(())
        });
        assert!(ready.is_some(), "PostgreSQL never became ready\n{}", self.log());
    }

    /// Makes the files of a server: a copy of those that the first test made, because `initdb` takes a second.
    fn create(&self) {
        let template = cache().join(format!("postgresql-{}", self.version()));
        if !template.join("data").exists() {
            self.create_template(&template);
        }
        run(copy(&template.join("data"), &self.data()));
        let leaf = self.authority.issue();
        self.write_data_file("server.pem", &leaf.chain_pem);
        self.write_data_file("server.key", &leaf.key_pem);
        let settings = "listen_addresses = '127.0.0.1'\nssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n\
             max_connections = 100\nshared_buffers = '16MB'\nunix_socket_permissions = 0777\nlogging_collector = off\n";
        self.write_data_file(SETTINGS, settings);
    }

    /// Adds a setting for the next start.
    fn configure(&self, setting: &str) {
        let settings = fs::read_to_string(self.data().join(SETTINGS)).expect("our own file");
        self.write_data_file(SETTINGS, &format!("{settings}{setting}\n"));
    }

    fn write_data_file(&self, name: &str, contents: &str) {
        let path = self.data().join(name);
        fs::write(&path, contents).expect("our own directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
        self.give(&path);
    }

    /// Made aside and renamed, so that tests at the same time and interrupted ones share only whole templates.
    fn create_template(&self, template: &Path) {
        let fresh = TempDir::with_prefix("infra-pg-new-").expect("a temporary directory");
        self.give(fresh.path());
        let data = fresh.path().join("data");
        let mut initdb = self.command("initdb");
        initdb.args([
            "--no-sync",
            "--no-instructions",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale",
            "C.UTF-8",
        ]);
        run_in(initdb, &data);
        let authentication = "local all,replication all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), authentication).expect("our own directory");
        let mut single = self.command("postgres");
        single.args(["--single", "-j", "-D"]).arg(&data).arg("postgres");
        let roles = format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}';\n\n");
        run_with_input(single, Some(&roles));
        let copied = TempDir::with_prefix_in("postgresql-new-", cache()).expect("a temporary directory");
        run(copy(&data, &copied.path().join("data")));
        // Another test may have been faster.
        if fs::rename(copied.path(), template).is_ok() {
            let _ = copied.keep();
        }
    }

    fn version(&self) -> String {
        let parent = self.programs.parent().and_then(Path::file_name).unwrap_or_default();
        let user = self.owner.unwrap_or_else(|| rustix::process::geteuid().as_raw());
        format!("{}-{user}-2", parent.to_string_lossy())
    }

    /// A program of the server, which refuses to run as root.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.env_clear().env("LC_ALL", "C.UTF-8").env("TZ", "UTC").current_dir("/").stdin(Stdio::null());
        if let Some(owner) = self.owner {
            command.uid(owner).gid(owner);
        }
        command
    }

    fn give(&self, path: &Path) {
        if let Some(owner) = self.owner {
            chown(path, Some(owner), Some(owner)).expect("root may give files away");
        }
    }
}

impl Drop for PostgreSQL {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.signal(Signal::QUIT);
            let _ = running.wait_for_end(LIMIT);
        }
    }
}

/// The programs of the newest version, or `None` after a report.
pub(crate) fn programs() -> Option<PathBuf> {
    let found = VERSIONS.iter().map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")));
    let mut found = found.filter(|programs| programs.join("initdb").exists());
    // Reports what is missing.
    found.next().or_else(|| peers::find_file("/usr/lib/postgresql/15/bin"))
}

/// Runs the programs that refuse to run as root: `nobody`, who needs no package. `None` for another user.
pub(crate) fn owner() -> Option<u32> {
    const NOBODY: u32 = 65534;
    rustix::process::geteuid().is_root().then_some(NOBODY)
}

/// A folder for tests below `target`, which only this user can write to.
fn cache() -> PathBuf {
    let program = std::env::current_exe().expect("a running test has a program");
    let folder = program.ancestors().nth(2).expect("it is in target/PROFILE/deps").join("tmp");
    fs::create_dir_all(&folder).expect("our own folder");
    folder
}

fn copy(from: &Path, to: &Path) -> Command {
    let mut command = Command::new("cp");
    command.arg("-a").arg("--reflink=auto").arg(from).arg(to);
    command
}

fn run_in(mut command: Command, data: &Path) {
    command.arg("-D").arg(data);
    run(command);
}

#[track_caller]
fn run(command: Command) -> String {
    run_with_input(command, None)
}

#[track_caller]
fn run_with_input(mut command: Command, input: Option<&str>) -> String {
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let name = format!("{}", command.get_program().to_string_lossy());
    let input = input.map(|input| input.as_bytes().to_vec());
    let ran = Running::start(command, name, input, LIMIT).wait().expect(0);
    ran.stdout.trim_end().to_owned()
}
