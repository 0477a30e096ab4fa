//! HAProxy, from the machine's package: passes TLS through to those daemons that say that they are ready.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use infra_harness::ports::Ports;
use infra_harness::program::Running;
use infra_harness::{peers, wait};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(30);

/// The page with the configuration that operators copy.
const PAGE: &str = include_str!("../../../docs/several-daemons.md");

/// The configuration of the page, for this port of this machine. Without PROXY headers, because tests also connect to daemons
/// directly.
fn configuration(port: u16) -> String {
    let (_, block) = PAGE.split_once("```\ndefaults").expect("the page has a configuration");
    let (block, _) = block.split_once("```").expect("the block ends");
    let block = block.replace("bind :443", &format!("bind 127.0.0.1:{port}"));
    let block = block.replace("hdr Host infra.example.com", "hdr Host localhost");
    let block = block.replace(" send-proxy-v2 check-send-proxy", "");
    let lines = block.lines().filter(|line| !line.starts_with("  server "));
    format!("defaults{}\n", lines.collect::<Vec<_>>().join("\n"))
}

/// A running load balancer, stopped when dropped.
pub struct HAProxy {
    ports: Ports,
    program: PathBuf,
    /// `None` between two runs.
    running: Option<Running>,
    directory: TempDir,
}

impl HAProxy {
    /// Reserves the port, which daemons name in `publicURLs` before they start.
    pub fn reserve() -> Ports {
        Ports::reserve(1)
    }

    /// Starts a load balancer for the daemons on these ports. Returns `None` and reports a skip if it is not installed.
    pub fn start(ports: Ports, members: &[u16]) -> Option<Self> {
        let program = peers::find_file("/usr/sbin/haproxy")?;
        let directory = TempDir::with_prefix("infra-haproxy-").expect("a temporary directory");
        let mut balancer = Self { ports, program, running: None, directory };
        balancer.route_to(members);
        Some(balancer)
    }

    /// Sends new connections to these daemons. Those that are open break.
    pub fn route_to(&mut self, members: &[u16]) {
        self.running = None;
        let port = self.port();
        let mut configuration = configuration(port);
        for (number, member) in members.iter().enumerate() {
            let _ = writeln!(configuration, "  server member{number} 127.0.0.1:{member}");
        }
        let path = self.directory.path().join("haproxy.cfg");
        fs::write(&path, configuration).expect("our own directory");
        let mut command = Command::new(&self.program);
        // In the foreground.
        command.args(["-db", "-f"]).arg(path).env_clear().current_dir("/").stdin(Stdio::null());
        let mut running = Running::start(command, "haproxy".to_owned(), None, LIMIT);
        let ready = wait::until(LIMIT, || {
            assert!(running.is_running(), "HAProxy ended at once\n{}", running.output());
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        assert!(ready.is_some(), "HAProxy never listens\n{}", running.output());
        self.running = Some(running);
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.ports.all()[0]
    }

    /// The origin that users type.
    pub fn origin(&self) -> String {
        format!("https://127.0.0.1:{}", self.port())
    }
}
