//! A readable terminal: runs programs that need a terminal in tmux.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::{peers, wait};

/// Time limit for a response to typed input.
const LIMIT: Duration = Duration::from_mins(1);

/// A tmux server with one window, stopped together with its programs when dropped.
pub struct Screen {
    tmux: PathBuf,
    folder: TempDir,
}

impl Screen {
    /// Starts `command` in a window of this size, with only these variables. Returns `None` and reports a
    /// skip if tmux is not installed.
    pub fn start(command: &[&str], variables: &[(&str, &str)], width: usize, height: usize) -> Option<Self> {
        let tmux = peers::find_program("tmux")?;
        let screen =
            Self { tmux, folder: TempDir::with_prefix("infra-tmux-").expect("a temporary directory") };
        let (width, height) = (width.to_string(), height.to_string());
        let mut start = screen.tmux();
        start
            .env_clear()
            .envs(variables.iter().copied())
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm-256color");
        start.args(["new-session", "-d", "-x", &width, "-y", &height, "--"]).args(command);
        let started = start.output().expect("tmux starts");
        assert!(started.status.success(), "tmux: {}", String::from_utf8_lossy(&started.stderr));
        Some(screen)
    }

    /// Types a text.
    pub fn enter(&self, text: &str) {
        self.run(&["send-keys", "-l", "--", text]);
    }

    /// Presses a key by its name: `Tab`, `Enter`, `C-u`.
    pub fn press(&self, key: &str) {
        self.run(&["send-keys", key]);
    }

    /// The visible text, without trailing spaces.
    pub fn text(&self) -> String {
        self.run(&["capture-pane", "-p"])
    }

    /// Like [`Self::text`], with wrapped lines joined.
    pub fn unbroken(&self) -> String {
        self.run(&["capture-pane", "-p", "-J"])
    }

    /// Waits until `look` finds something on the screen.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, mut look: impl FnMut(&str) -> Option<T>) -> T {
        wait::until(LIMIT, || look(&self.text()))
            .unwrap_or_else(|| panic!("the screen never showed {what}\n{}", self.text()))
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.tmux().args(arguments).output().expect("tmux starts");
        assert!(output.status.success(), "tmux {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn tmux(&self) -> Command {
        let mut tmux = Command::new(&self.tmux);
        tmux.arg("-S").arg(self.folder.path().join("socket")).args(["-f", "/dev/null"]);
        tmux
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").output();
    }
}
