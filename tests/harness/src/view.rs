//! Host names and trusted CAs that only selected programs see. The machine's own stay unchanged.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::namespace::Namespace;
use crate::skip;

/// A hosts file and a trust store for programs that run inside. Tests can change both at any time.
pub struct View {
    namespace: Namespace,
    directory: TempDir,
}

impl View {
    /// Resolves only `localhost`, without a name server, and trusts this machine's CAs. Returns `None` and
    /// reports a skip if this machine does not allow namespaces.
    pub fn new() -> Option<Self> {
        let directory = TempDir::with_prefix("infra-view-").expect("a temporary directory");
        let write = |name: &str, text: &[u8]| {
            std::fs::write(directory.path().join(name), text).expect("a file of the view");
        };
        write("nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files\n");
        write("hosts", HOSTS.as_bytes());
        std::fs::create_dir(directory.path().join("certs")).expect("a directory");
        write("certs/ca-certificates.crt", &std::fs::read(TRUST_STORE).unwrap_or_default());
        let Some(namespace) = Namespace::new(SCRIPT, &[directory.path()]) else {
            skip::report("this machine lets nobody have a view of their own (`unshare --mount`)");
            return None;
        };
        Some(Self { namespace, directory })
    }

    /// Replaces all names and their addresses.
    pub fn resolve(&self, names: &[(&str, &str)]) {
        let lines: Vec<String> = names.iter().map(|(name, address)| format!("{address} {name}\n")).collect();
        // Written in place, because this very file is mounted.
        std::fs::write(self.directory.path().join("hosts"), format!("{HOSTS}{}", lines.concat()))
            .expect("the hosts file");
    }

    /// Sets the only name server for unknown names.
    pub fn ask(&self, name_server: IpAddr) {
        let write = |name: &str, text: String| {
            std::fs::write(self.directory.path().join(name), text).expect("a file of the view");
        };
        write("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned());
        // The patience of a slow resolver.
        write("resolv.conf", format!("nameserver {name_server}\noptions timeout:30 attempts:5\n"));
        self.run("mount --bind \"$1/resolv.conf\" /etc/resolv.conf", self.directory.path());
    }

    /// Adds a CA to the system's trust store.
    pub fn trust(&self, pem: &str) {
        let bundle = self.directory.path().join("certs/ca-certificates.crt");
        let mut trusted = std::fs::read_to_string(&bundle).expect("the trust store");
        trusted.push_str(pem);
        std::fs::write(bundle, trusted).expect("the trust store");
    }

    /// Mounts a separate disk of this many kilobytes over an empty directory.
    pub fn mount_disk(&self, directory: &Path, kilobytes: u32) {
        let script = format!("mount -t tmpfs -o size={kilobytes}k,mode=700 none \"$1\"");
        self.run(&script, directory);
    }

    /// Fills the disk over `directory` to the last byte.
    pub fn fill_disk(&self, directory: &Path) {
        self.run(
            "dd if=/dev/zero of=\"$1/filling\" bs=1k 2>/dev/null; ! dd if=/dev/zero of=\"$1/filling\" bs=1 count=1 oflag=append conv=notrunc 2>/dev/null",
            directory,
        );
    }

    /// Frees this many pages of the fill file.
    pub fn shrink_filling(&self, directory: &Path, pages: u32) {
        self.run(&format!("truncate -s -{} \"$1/filling\"", pages * 4096), directory);
    }

    /// Removes the files from [`Self::fill_disk`].
    pub fn empty_disk(&self, directory: &Path) {
        self.run("rm \"$1/filling\"", directory);
    }

    fn run(&self, script: &str, directory: &Path) {
        let status = self.enter("sh").args(["-c", script, "sh"]).arg(directory).status();
        assert!(status.is_ok_and(|status| status.success()), "`{script}` failed");
    }

    /// A command that runs `program` with this view.
    pub fn enter(&self, program: impl AsRef<Path>) -> Command {
        self.namespace.enter(program)
    }
}

impl AsRef<Namespace> for View {
    fn as_ref(&self) -> &Namespace {
        &self.namespace
    }
}

const HOSTS: &str = "127.0.0.1 localhost\n";
const TRUST_STORE: &str = "/etc/ssl/certs/ca-certificates.crt";
const SCRIPT: &str = "mount --bind \"$1/hosts\" /etc/hosts && mount --bind \"$1/nsswitch.conf\" /etc/nsswitch.conf && \
                      mount --bind \"$1/certs\" /etc/ssl/certs";

#[cfg(test)]
mod tests {
    use super::*;

    fn address(view: &View, name: &str) -> String {
        let found = view.enter("getent").args(["ahostsv4", name]).output().expect("getent");
        String::from_utf8_lossy(&found.stdout).split_whitespace().next().unwrap_or_default().to_owned()
    }

    #[test]
    fn view_changes_names_while_in_use_without_affecting_machine() {
        let Some(view) = View::new() else { return };
        assert_eq!(address(&view, "infra.example.test"), "");
        view.resolve(&[("infra.example.test", "127.0.0.7")]);
        assert_eq!(address(&view, "infra.example.test"), "127.0.0.7");
        view.resolve(&[]);
        assert_eq!(address(&view, "infra.example.test"), "");
        let hosts = std::fs::read_to_string("/etc/hosts").expect("this machine's hosts");
        assert!(!hosts.contains("infra.example.test"));
    }

    #[test]
    fn view_trusts_ca_only_inside() {
        let Some(view) = View::new() else { return };
        let pem = "-----BEGIN CERTIFICATE-----\nof a test\n-----END CERTIFICATE-----\n";
        view.trust(pem);
        let inside = view.enter("cat").arg(TRUST_STORE).output().expect("cat").stdout;
        assert!(String::from_utf8_lossy(&inside).ends_with(pem));
        assert!(!std::fs::read_to_string(TRUST_STORE).unwrap_or_default().contains("of a test"));
    }
}
