//! Where this process runs, seen from the browser that has to come back to it.

use std::ffi::OsString;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

/// POSIX knows no longer login name, and DNS no longer label.
const MAX_NAME: usize = 63;
/// What the kernel says of itself is one line.
const KERNEL: &str = "proc/sys/kernel/osrelease";
/// Files that container engines leave in the root directory of a container.
const ENGINES: [&str; 2] = [".dockerenv", "run/.containerenv"];
const NAMESPACE: &str = "var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Where the program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A machine of its own.
    Machine,
    /// A session over SSH: a browser that opens here is not the user's. Where its client connected to, if that is known.
    Remote(Option<Destination>),
    /// A pod of Kubernetes, in this namespace.
    Pod { namespace: Option<String> },
    /// Another container: a browser outside does not reach its loopback address.
    Container,
    /// Linux inside Windows, whose browser reaches the loopback address of Linux by itself.
    WSL,
}

/// What an SSH client connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub user: Option<String>,
    pub address: IpAddr,
    pub port: u16,
}

impl Place {
    /// Finds out by the variables that `find` finds and the files below `root`.
    pub(super) fn find(root: &Path, find: impl Fn(&str) -> Option<OsString>) -> Self {
        let is_set = |name: &str| find(name).is_some();
        let text = |name: &str| find(name).and_then(|value| value.into_string().ok());
        if ["SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"].into_iter().any(is_set) {
            let user = text("USER").or_else(|| text("LOGNAME")).filter(|user| is_name(user));
            return Self::Remote(
                text("SSH_CONNECTION").and_then(|connection| destination(&connection, user)),
            );
        }
        if is_set("KUBERNETES_SERVICE_HOST") {
            let namespace = fs::read_to_string(root.join(NAMESPACE)).ok();
            return Self::Pod { namespace: namespace.filter(|name| is_name(name)) };
        }
        // Before WSL: the kernel of a container may be the one of WSL.
        if is_set("container") || ENGINES.into_iter().any(|file| root.join(file).exists()) {
            return Self::Container;
        }
        let kernel = || fs::read_to_string(root.join(KERNEL)).unwrap_or_default().to_lowercase();
        // `sudo` takes the variable away.
        if is_set("WSL_DISTRO_NAME") || kernel().contains("microsoft") {
            return Self::WSL;
        }
        Self::Machine
    }
}

/// `SSH_CONNECTION`: the client's address and port, then the server's, as the client may use them too.
fn destination(connection: &str, user: Option<String>) -> Option<Destination> {
    let mut words = connection.split_ascii_whitespace().skip(2);
    let address = words.next()?.parse().ok()?;
    let port = words.next()?.parse().ok()?;
    Some(Destination { user, address, port })
}

/// Whether a name can stand in a command line that a human copies.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(root: &Path, variables: &[(&str, &str)]) -> Place {
        Place::find(root, |wanted| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| OsString::from(value))
        })
    }

    fn root_with(file: &str, text: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("its directory");
        fs::write(path, text).expect("a file");
        root
    }

    #[test]
    fn a_session_over_ssh_is_known_by_its_variables_with_where_its_client_went() {
        let empty = tempfile::tempdir().expect("a directory");
        let connection = ("SSH_CONNECTION", "10.0.0.1 50000 2001:db8::2 2222");
        let destination = Destination {
            user: Some("alice".to_owned()),
            address: "2001:db8::2".parse().expect("an address"),
            port: 2222,
        };
        assert_eq!(place(empty.path(), &[connection, ("USER", "alice")]), Place::Remote(Some(destination)));
        for odd in ["", "x", "10.0.0.1 1 $(reboot) 22", "10.0.0.1 1 10.0.0.2 -1", "10.0.0.1 1 10.0.0.2"] {
            assert_eq!(place(empty.path(), &[("SSH_CONNECTION", odd)]), Place::Remote(None), "{odd}");
        }
        assert_eq!(place(empty.path(), &[("SSH_TTY", "/dev/pts/0")]), Place::Remote(None));
    }

    #[test]
    fn a_user_name_that_is_none_is_left_out() {
        let empty = tempfile::tempdir().expect("a directory");
        for odd in ["-oProxyCommand=x", "a b", "a;b", "$(id)", "\u{1b}[2J", ""] {
            let variables = [("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22"), ("USER", odd)];
            let Place::Remote(Some(destination)) = place(empty.path(), &variables) else { panic!("{odd}") };
            assert_eq!(destination.user, None, "{odd}");
        }
    }

    #[test]
    fn containers_and_pods_are_known_by_what_their_engines_leave() {
        let docker = root_with(".dockerenv", "");
        assert_eq!(place(docker.path(), &[]), Place::Container);
        assert_eq!(place(root_with("run/.containerenv", "").path(), &[]), Place::Container);
        let empty = tempfile::tempdir().expect("a directory");
        assert_eq!(place(empty.path(), &[("container", "podman")]), Place::Container);
        let host = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
        assert_eq!(place(docker.path(), &[host]), Place::Pod { namespace: None });
        let pod = root_with(NAMESPACE, "dev");
        assert_eq!(place(pod.path(), &[host]), Place::Pod { namespace: Some("dev".to_owned()) });
        // Who comes over SSH gets back the same way, wherever that leads.
        let connection = ("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22");
        assert!(matches!(place(docker.path(), &[host, connection]), Place::Remote(Some(_))));
    }

    #[test]
    fn wsl_is_known_by_its_variable_or_its_kernel() {
        let empty = tempfile::tempdir().expect("a directory");
        assert_eq!(place(empty.path(), &[]), Place::Machine);
        assert_eq!(place(empty.path(), &[("WSL_DISTRO_NAME", "Debian")]), Place::WSL);
        let kernel = root_with(KERNEL, "6.6.87.2-microsoft-standard-WSL2\n");
        assert_eq!(place(kernel.path(), &[]), Place::WSL);
        fs::write(kernel.path().join(".dockerenv"), "").expect("a file");
        assert_eq!(place(kernel.path(), &[]), Place::Container);
        assert_eq!(place(root_with(KERNEL, "6.1.0-18-amd64\n").path(), &[]), Place::Machine);
    }
}
