//! Where this process runs, as seen from the browser that must return to it.

use std::ffi::OsString;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

/// POSIX maximum length of a login name, and DNS maximum length of a label.
const MAX_NAME: usize = 63;
/// Kernel release string.
const KERNEL: &str = "proc/sys/kernel/osrelease";
/// Files that container engines create in the root directory of a container.
const ENGINES: [&str; 2] = [".dockerenv", "run/.containerenv"];
const NAMESPACE: &str = "var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Kind of machine that the program runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Environment {
    /// A local machine.
    Machine,
    /// A session over SSH, whose local browser is not the user's. Contains what the client connected to, if known.
    Remote(Option<Destination>),
    /// A Kubernetes pod in this namespace.
    Pod { namespace: Option<String> },
    /// Another container. Browsers outside cannot reach its loopback address.
    Container,
    /// WSL. The Windows browser reaches Linux's loopback address directly.
    WSL,
}

/// The address that an SSH client connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub user: Option<String>,
    pub address: IpAddr,
    pub port: u16,
}

impl Environment {
    /// Determines the place from the variables of `find` and the files below `root`.
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
        // Before WSL: containers share the host's kernel, which may be WSL's.
        if is_set("container") || ENGINES.into_iter().any(|file| root.join(file).exists()) {
            return Self::Container;
        }
        let kernel = || fs::read_to_string(root.join(KERNEL)).unwrap_or_default().to_lowercase();
        // `sudo` removes the variable.
        if is_set("WSL_DISTRO_NAME") || kernel().contains("microsoft") {
            return Self::WSL;
        }
        Self::Machine
    }
}

/// Parses `SSH_CONNECTION`: the client's address and port, then the server's, which other clients may also use.
fn destination(connection: &str, user: Option<String>) -> Option<Destination> {
    let mut words = connection.split_ascii_whitespace().skip(2);
    let address = words.next()?.parse().ok()?;
    let port = words.next()?.parse().ok()?;
    Some(Destination { user, address, port })
}

/// Whether a name is safe in a command that a user copies.
fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(root: &Path, variables: &[(&str, &str)]) -> Environment {
        Environment::find(root, |wanted| {
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
    fn ssh_session_and_destination_are_read_from_variables() {
        let empty = tempfile::tempdir().expect("a directory");
        let connection = ("SSH_CONNECTION", "10.0.0.1 50000 2001:db8::2 2222");
        let destination = Destination {
            user: Some("alice".to_owned()),
            address: "2001:db8::2".parse().expect("an address"),
            port: 2222,
        };
        assert_eq!(
            environment(empty.path(), &[connection, ("USER", "alice")]),
            Environment::Remote(Some(destination))
        );
        for odd in ["", "x", "10.0.0.1 1 $(reboot) 22", "10.0.0.1 1 10.0.0.2 -1", "10.0.0.1 1 10.0.0.2"] {
            assert_eq!(
                environment(empty.path(), &[("SSH_CONNECTION", odd)]),
                Environment::Remote(None),
                "{odd}"
            );
        }
        assert_eq!(environment(empty.path(), &[("SSH_TTY", "/dev/pts/0")]), Environment::Remote(None));
    }

    #[test]
    fn invalid_user_name_is_omitted() {
        let empty = tempfile::tempdir().expect("a directory");
        for odd in ["-oProxyCommand=x", "a b", "a;b", "$(id)", "\u{1b}[2J", ""] {
            let variables = [("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22"), ("USER", odd)];
            let Environment::Remote(Some(destination)) = environment(empty.path(), &variables) else {
                panic!("{odd}")
            };
            assert_eq!(destination.user, None, "{odd}");
        }
    }

    #[test]
    fn containers_and_pods_are_detected_by_engine_files() {
        let docker = root_with(".dockerenv", "");
        assert_eq!(environment(docker.path(), &[]), Environment::Container);
        assert_eq!(environment(root_with("run/.containerenv", "").path(), &[]), Environment::Container);
        let empty = tempfile::tempdir().expect("a directory");
        assert_eq!(environment(empty.path(), &[("container", "podman")]), Environment::Container);
        let host = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
        assert_eq!(environment(docker.path(), &[host]), Environment::Pod { namespace: None });
        let pod = root_with(NAMESPACE, "dev");
        assert_eq!(environment(pod.path(), &[host]), Environment::Pod { namespace: Some("dev".to_owned()) });
        // A user who connected over SSH can use the same address again.
        let connection = ("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22");
        assert!(matches!(environment(docker.path(), &[host, connection]), Environment::Remote(Some(_))));
    }

    #[test]
    fn wsl_is_detected_by_variable_or_kernel() {
        let empty = tempfile::tempdir().expect("a directory");
        assert_eq!(environment(empty.path(), &[]), Environment::Machine);
        assert_eq!(environment(empty.path(), &[("WSL_DISTRO_NAME", "Debian")]), Environment::WSL);
        let kernel = root_with(KERNEL, "6.6.87.2-microsoft-standard-WSL2\n");
        assert_eq!(environment(kernel.path(), &[]), Environment::WSL);
        fs::write(kernel.path().join(".dockerenv"), "").expect("a file");
        assert_eq!(environment(kernel.path(), &[]), Environment::Container);
        assert_eq!(environment(root_with(KERNEL, "6.1.0-18-amd64\n").path(), &[]), Environment::Machine);
    }
}
