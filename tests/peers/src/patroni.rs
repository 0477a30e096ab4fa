//! PostgreSQL servers that Patroni manages with etcd, from the machine's packages: if the primary is lost, its standby takes
//! over without a person.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use infra_harness::authority::Authority;
use infra_harness::ports::Ports;
use infra_harness::program::Running;
use infra_harness::{peers, wait};
use infra_shared::http::{self, Limits, Trust, Way};
use reqwest::blocking::Client;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::postgresql::{PASSWORD, USER, owner, programs};

/// The key of the leader lasts for 20 s, and a new server is created from nothing.
const LIMIT: Duration = Duration::from_mins(3);
const HEALTH_LIMIT: Duration = Duration::from_secs(5);
const NODES: usize = 2;

/// Two servers with synchronous replication, stopped when dropped.
pub struct Patroni {
    programs: PathBuf,
    authority: Authority,
    ports: Ports,
    etcd: Running,
    nodes: [Option<Running>; NODES],
    client: Client,
    directory: TempDir,
}

impl Patroni {
    /// Starts etcd and both servers. Returns once one of them is the primary and the other has all its commits. `None`
    /// with a report if a package is missing.
    pub fn start() -> Option<Self> {
        let programs = programs()?;
        let (etcd, patroni) = (peers::find_file("/usr/bin/etcd")?, peers::find_file("/usr/bin/patroni")?);
        let directory = TempDir::with_prefix("infra-patroni-").expect("a temporary directory");
        give(directory.path());
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("our own directory");
        let ports = Ports::reserve(2 + 2 * 2);
        let etcd =
            Running::start(etcd_command(&etcd, directory.path(), &ports), "etcd".to_owned(), None, LIMIT);
        let limits = Limits { connect: HEALTH_LIMIT, total: HEALTH_LIMIT };
        let client = http::blocking_client(&Trust::Authorities(Vec::new()), limits, true, Way::Direct);
        let mut cluster = Self {
            programs,
            authority: Authority::new(),
            ports,
            etcd,
            nodes: [None, None],
            client: client.expect("a client"),
            directory,
        };
        cluster.wait_for_etcd();
        for number in 0..NODES {
            cluster.configure(number);
            cluster.start_node(&patroni, number);
        }
        cluster.wait_for_standby();
        Some(cluster)
    }

    /// The servers, for `hosts`.
    pub fn hosts(&self) -> [String; NODES] {
        [0, 1].map(|number| format!("localhost:{}", self.database_port(number)))
    }

    /// The CA of both servers' certificates, for `caFile`.
    pub fn authority_file(&self) -> PathBuf {
        self.authority.file()
    }

    /// A file with the password of [`USER`].
    pub fn password_file(&self) -> PathBuf {
        let path = self.authority.directory().join("password");
        fs::write(&path, PASSWORD).expect("our own directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
        path
    }

    /// Creates [`USER`] and an empty database of this user.
    pub fn create_database(&self, name: &str) {
        let primary = self.primary().expect("one is the primary");
        for statement in [
            format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'"),
            format!("CREATE DATABASE {name} OWNER {USER}"),
        ] {
            let mut command = as_owner(&self.programs.join("psql"));
            command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h"]).arg(self.node(primary));
            command.args([
                "-p",
                &self.database_port(primary).to_string(),
                "-U",
                "postgres",
                "-c",
                &statement,
            ]);
            Running::start(command, "psql".to_owned(), None, LIMIT).wait().expect(0);
        }
    }

    /// The server that accepts writes, as Patroni says.
    pub fn primary(&self) -> Option<usize> {
        (0..NODES).find(|&number| self.is(number, "primary"))
    }

    /// Kills the primary and the Patroni that watches it, as the loss of its host does. Returns which it was.
    pub fn kill_primary(&mut self) -> usize {
        let primary = self.primary().expect("one is the primary");
        let process = fs::read_to_string(self.node(primary).join("data/postmaster.pid")).expect("it runs");
        let process = process.lines().next().and_then(|line| line.parse().ok()).and_then(Pid::from_raw);
        self.nodes[primary] = None;
        kill_process(process.expect("its process ID"), Signal::KILL).expect("our own process");
        primary
    }

    /// Waits until another server than this one is the primary.
    #[track_caller]
    pub fn wait_for_primary_instead_of(&self, lost: usize) {
        let found = wait::until(LIMIT, || self.primary().filter(|&primary| primary != lost));
        assert!(found.is_some(), "no server took over\n{}", self.logs());
    }

    /// Starts a killed server again. Returns once it has all commits of the primary.
    #[track_caller]
    pub fn start_again(&mut self, number: usize) {
        self.start_node(Path::new("/usr/bin/patroni"), number);
        self.wait_for_standby();
    }

    /// The logs of Patroni and of the servers.
    pub fn logs(&self) -> String {
        let logs = self.nodes.iter().flatten().map(Running::output);
        logs.chain([self.etcd.output()]).collect::<Vec<_>>().join("\n")
    }

    #[track_caller]
    fn wait_for_standby(&self) {
        let is_complete = || {
            let primary = self.primary()?;
            self.is(NODES - 1 - primary, "synchronous").then_some(())
        };
        assert!(wait::until(LIMIT, is_complete).is_some(), "no synchronous standby\n{}", self.logs());
    }

    fn wait_for_etcd(&mut self) {
        let health = format!("http://127.0.0.1:{}/health", self.ports.all()[0]);
        let is_up = || {
            let answer = self.client.get(&health).send().ok()?;
            answer.status().is_success().then_some(())
        };
        assert!(wait::until(LIMIT, is_up).is_some(), "etcd never answers\n{}", self.etcd.output());
    }

    /// Whether this server has a role, by Patroni's health checks.
    fn is(&self, number: usize, role: &str) -> bool {
        let url = format!("http://127.0.0.1:{}/{role}", self.health_port(number));
        self.client.get(url).send().is_ok_and(|answer| answer.status().is_success())
    }

    fn start_node(&mut self, patroni: &Path, number: usize) {
        let mut command = as_owner(patroni);
        command.arg(self.node(number).join("patroni.yaml"));
        // `initdb` and others are looked up there.
        command.env("PATH", format!("{}:/usr/bin:/bin", self.programs.display()));
        self.nodes[number] = Some(Running::start(command, format!("patroni {number}"), None, LIMIT));
    }

    fn configure(&self, number: usize) {
        let node = self.node(number);
        fs::create_dir(&node).expect("our own directory");
        give(&node);
        let leaf = self.authority.issue();
        let write = |name: &str, contents: &str| {
            let path = node.join(name);
            fs::write(&path, contents).expect("our own directory");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
            give(&path);
        };
        write("server.pem", &leaf.chain_pem);
        write("server.key", &leaf.key_pem);
        let text = format!(
            "scope: infra
name: node{number}
restapi: {{listen: '127.0.0.1:{health}', connect_address: '127.0.0.1:{health}'}}
etcd3: {{host: '127.0.0.1:{etcd}'}}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 3
    synchronous_mode: true
    postgresql: {{use_pg_rewind: true}}
  initdb: [{{encoding: UTF8}}, {{locale: C.UTF-8}}, no-sync]
postgresql:
  listen: '127.0.0.1:{database}'
  connect_address: '127.0.0.1:{database}'
  use_unix_socket: true
  data_dir: {node}/data
  bin_dir: {programs}
  pgpass: {node}/pgpass
  remove_data_directory_on_rewind_failure: true
  remove_data_directory_on_diverged_timelines: true
  authentication:
    superuser: {{username: postgres, password: {PASSWORD}}}
    replication: {{username: replicator, password: {PASSWORD}}}
    rewind: {{username: postgres, password: {PASSWORD}}}
  pg_hba:
    - local all all trust
    - host replication replicator 127.0.0.1/32 scram-sha-256
    - host all postgres 127.0.0.1/32 scram-sha-256
    - hostssl all {USER} 127.0.0.1/32 scram-sha-256
  parameters:
    unix_socket_directories: {node}
    shared_buffers: 16MB
    ssl: 'on'
    ssl_cert_file: {node}/server.pem
    ssl_key_file: {node}/server.key
",
            health = self.health_port(number),
            etcd = self.ports.all()[0],
            database = self.database_port(number),
            node = node.display(),
            programs = self.programs.display(),
        );
        write("patroni.yaml", &text);
    }

    fn node(&self, number: usize) -> PathBuf {
        self.directory.path().join(format!("node{number}"))
    }

    fn health_port(&self, number: usize) -> u16 {
        self.ports.all()[2 + 2 * number]
    }

    fn database_port(&self, number: usize) -> u16 {
        self.ports.all()[3 + 2 * number]
    }
}

impl Drop for Patroni {
    /// Patroni stops its server when it is asked to end.
    fn drop(&mut self) {
        for running in self.nodes.iter_mut().flatten() {
            running.signal(Signal::TERM);
            let _ = running.wait_for_end(LIMIT);
        }
    }
}

fn etcd_command(program: &Path, directory: &Path, ports: &Ports) -> Command {
    let [clients, members] = [0, 1].map(|number| format!("http://127.0.0.1:{}", ports.all()[number]));
    let mut command = as_owner(program);
    command.args(["--name", "infra", "--log-level", "warn", "--data-dir"]).arg(directory.join("etcd"));
    command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
    command.args(["--listen-peer-urls", &members, "--initial-advertise-peer-urls", &members]);
    command.args(["--initial-cluster", &format!("infra={members}")]);
    command
}

/// A program as the user of the servers, who is not root.
fn as_owner(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C.UTF-8").env("TZ", "UTC").current_dir("/").stdin(Stdio::null());
    if let Some(owner) = owner() {
        command.uid(owner).gid(owner);
    }
    command
}

fn give(path: &Path) {
    chown(path, owner(), owner()).expect("root may give files away");
}
