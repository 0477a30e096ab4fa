//! A network namespace, linked to this machine twice: a program inside can lose one link and keep the other.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use infra_shared::random;

use crate::{peers, skip};

/// A namespace and its links, removed when dropped.
pub struct Network {
    keeper: Child,
    links: Vec<Link>,
}

/// A link between this machine and the namespace.
#[derive(Debug, Clone)]
pub struct Link {
    /// This machine's end.
    name: String,
    /// The address of this machine.
    pub outside: Ipv4Addr,
    /// The address inside of the namespace.
    pub inside: Ipv4Addr,
}

impl Network {
    /// Makes a namespace with two links. Returns `None` and reports a skip if this user or machine does not allow that.
    pub fn with_two_links() -> Option<Self> {
        peers::find_program("ip")?;
        if !rustix::process::geteuid().is_root() {
            skip::report("only root can link a network namespace to this machine");
            return None;
        }
        let Some(keeper) = keep_namespace() else {
            skip::report("this machine allows no network namespaces");
            return None;
        };
        let mut network = Self { keeper, links: Vec::new() };
        for _ in 0..2 {
            let Some(link) = network.link() else {
                skip::report("this machine allows no links to network namespaces");
                return None;
            };
            network.links.push(link);
        }
        Some(network)
    }

    pub fn link_to(&self, number: usize) -> &Link {
        &self.links[number]
    }

    /// A command that runs the program in its last words inside; it replaces the command's process.
    pub fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.keeper.id().to_string(), "--"]);
        command
    }

    /// Drops every packet on this link, without a word to either end.
    pub fn cut(&self, link: &Link) {
        assert!(ip(&["link", "set", &link.name, "down"]), "{link:?}");
    }

    /// Carries packets again.
    pub fn join(&self, link: &Link) {
        assert!(ip(&["link", "set", &link.name, "up"]), "{link:?}");
    }

    fn link(&self) -> Option<Link> {
        let name = format!("infra{}", random::alphanumeric(8).to_lowercase());
        let (far, keeper) = (format!("{name}i"), self.keeper.id().to_string());
        let (outside, inside) = addresses();
        if !ip(&["link", "add", &name, "type", "veth", "peer", "name", &far, "netns", &keeper]) {
            return None;
        }
        let link = Link { name, outside, inside };
        let is_up = ip(&["addr", "add", &format!("{outside}/30"), "dev", &link.name])
            && ip(&["link", "set", &link.name, "up"])
            && self.ip_inside(&["addr", "add", &format!("{inside}/30"), "dev", &far])
            && self.ip_inside(&["link", "set", &far, "up"])
            && self.ip_inside(&["link", "set", "lo", "up"]);
        is_up.then_some(link)
    }

    fn ip_inside(&self, arguments: &[&str]) -> bool {
        let mut command = self.enter();
        command.arg("ip").args(arguments);
        succeeds(command)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for link in &self.links {
            ip(&["link", "del", &link.name]);
        }
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// A process in a namespace of its own.
fn keep_namespace() -> Option<Child> {
    let mut keeper = Command::new("unshare")
        // `cat` exits with the process at the other end of its pipe.
        .args(["--net", "sh", "-c", "echo ready && exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut line = String::new();
    let output = keeper.stdout.take().expect("standard output was piped");
    // Ends with the process at the latest.
    let _ = BufReader::new(output).read_line(&mut line);
    if line == "ready\n" {
        return Some(keeper);
    }
    let _ = keeper.kill();
    let _ = keeper.wait();
    None
}

/// Both addresses of a network of four, from the range for tests of network devices (RFC 2544 appendix C.2.2).
fn addresses() -> (Ipv4Addr, Ipv4Addr) {
    let [low, high] = random::bytes::<2>();
    let network = u32::from(Ipv4Addr::new(198, 18, low, high & 0xfc));
    (Ipv4Addr::from(network + 1), Ipv4Addr::from(network + 2))
}

fn ip(arguments: &[&str]) -> bool {
    let mut command = Command::new("ip");
    command.args(arguments);
    succeeds(command)
}

fn succeeds(mut command: Command) -> bool {
    command.stdin(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
