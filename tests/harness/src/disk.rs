//! A small file system for one user, which tests fill or make read-only.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::namespace::Namespace;
use crate::program::User;

/// A tmpfs over a user's home directory, visible only to programs that run
/// [inside](crate::program::Call::inside) it. Unmounted when dropped.
pub struct Disk {
    namespace: Namespace,
    home: PathBuf,
}

impl Disk {
    /// Mounts a disk of this many kilobytes. `None` if this machine does not allow mounting.
    pub fn of(user: &User, kilobytes: u32) -> Option<Self> {
        let script = format!("mount -t tmpfs -o size={kilobytes}k,mode=700 none \"$1\"");
        let namespace = Namespace::new(&script, &[user.home()])?;
        Some(Self { namespace, home: user.home().to_owned() })
    }

    /// The path through which this process reaches a file below the user's home directory.
    pub fn path(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.namespace.process()));
        root.join(self.home.strip_prefix("/").unwrap_or(&self.home)).join(name)
    }

    /// Fills the disk to the last byte.
    pub fn fill(&self) {
        self.run("dd if=/dev/zero of=\"$1/filling\" bs=1k 2>/dev/null; ! dd if=/dev/zero of=\"$1/more\" bs=1 count=1 2>/dev/null");
    }

    /// Removes the files from [`Disk::fill`].
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
