//! A disk of its own for a user: small, to be filled, and to be made read-only.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::namespace::Namespace;
use crate::program::User;

/// A tmpfs over a user's home directory, seen only by programs that are run [inside](crate::program::Call::inside) it.
/// It goes with the value.
pub struct Disk {
    namespace: Namespace,
    home: PathBuf,
}

impl Disk {
    /// A disk of this many kilobytes; `None` where this machine lets nobody mount one.
    pub fn of(user: &User, kilobytes: u32) -> Option<Self> {
        let script = format!("mount -t tmpfs -o size={kilobytes}k,mode=700 none \"$1\"");
        let namespace = Namespace::new(&script, &[user.home()])?;
        Some(Self { namespace, home: user.home().to_owned() })
    }

    /// A file below the user's home directory, as this process reaches it.
    pub fn path(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.namespace.process()));
        root.join(self.home.strip_prefix("/").unwrap_or(&self.home)).join(name)
    }

    /// Fills it to the last byte.
    pub fn fill(&self) {
        self.run("dd if=/dev/zero of=\"$1/filling\" bs=1k 2>/dev/null; ! dd if=/dev/zero of=\"$1/more\" bs=1 count=1 2>/dev/null");
    }

    /// Takes out what [`Disk::fill`] put there.
    pub fn empty(&self) {
        self.run("rm -f \"$1/filling\" \"$1/more\"");
    }

    pub fn make_read_only(&self) {
        self.run("mount -o remount,ro none \"$1\"");
    }

    fn run(&self, script: &str) {
        let status = self.enter("sh").args(["-c", script, "sh"]).arg(&self.home).status();
        assert!(status.is_ok_and(|status| status.success()), "`{script}` failed");
    }

    fn enter(&self, program: impl AsRef<Path>) -> Command {
        self.namespace.enter(program)
    }
}

impl AsRef<Namespace> for Disk {
    fn as_ref(&self) -> &Namespace {
        &self.namespace
    }
}
