//! A disk of its own for a user: small, to be filled, and to be made read-only.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::program::User;
use crate::wait;

const MOUNTED: Duration = Duration::from_secs(10);

/// A tmpfs over a user's home directory, seen only by programs that are run [inside](crate::program::Call::inside) it.
/// It goes with the value.
pub struct Disk {
    /// Keeps the mount's namespace.
    keeper: Child,
    home: PathBuf,
}

impl Disk {
    /// A disk of this many kilobytes; `None` where this machine lets nobody mount one.
    pub fn of(user: &User, kilobytes: u32) -> Option<Self> {
        let script = format!(
            "mount -t tmpfs -o size={kilobytes}k,mode=700 none \"$1\" && : > \"$1/.mounted\" && exec sleep 600"
        );
        let keeper = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"])
            .arg(user.home())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut disk = Self { keeper, home: user.home().to_owned() };
        let is_over = |disk: &mut Self| disk.keeper.try_wait().ok().flatten().is_some();
        wait::until(MOUNTED, || (disk.path(".mounted").exists() || is_over(&mut disk)).then_some(()))?;
        if is_over(&mut disk) { None } else { Some(disk) }
    }

    /// A file below the user's home directory, as this process reaches it.
    pub fn path(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
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

    /// A command that runs `program` with this disk mounted.
    pub(crate) fn enter(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--user", "--mount", "--preserve-credentials", "--target"])
            .arg(self.keeper.id().to_string())
            .arg("--")
            .arg(program.as_ref());
        command
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
