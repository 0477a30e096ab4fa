//! Finds, starts and ends other programs.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::Access;
use rustix::process::{Pid, Signal, kill_process_group};
use url::Url;

/// Separates the entries of `PATH`, and the commands in `BROWSER`.
pub(crate) const LIST_SEPARATOR: char = ':';
/// Search path if `PATH` is not set.
pub(crate) const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

const PAUSE: Duration = Duration::from_millis(20);
/// How long a program may take to exit after SIGTERM.
const EXIT_TIMEOUT: Duration = Duration::from_millis(500);

/// The file of a program. An empty or relative entry of `path` and a relative path are ignored. They would refer to the
/// working directory, which another user may control.
pub(crate) fn find_program(program: &OsStr, path: &OsStr) -> Option<PathBuf> {
    if Path::new(program).components().count() > 1 {
        return Some(PathBuf::from(program)).filter(|file| file.is_absolute());
    }
    let folders = std::env::split_paths(path).filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Whether a file is a program that this user can run.
pub(crate) fn is_executable(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, Access::EXEC_OK).is_ok()
}

/// The desktop's commands for opening an address.
pub(crate) fn openers(url: &str) -> Vec<Vec<OsString>> {
    let words = |command: &Command| {
        [command.get_program()].into_iter().chain(command.get_args()).map(OsString::from).collect()
    };
    // PowerShell is a shell.
    let is_shell = |command: &&Command| command.get_program().to_string_lossy().contains("powershell");
    open::commands(url).iter().filter(|command| !is_shell(command)).map(words).collect()
}

/// The URL of a file, as programs of the desktop take it.
pub(crate) fn file_url(file: &Path) -> Option<String> {
    Url::from_file_path(file).ok().map(String::from)
}

/// Hides the working directory from the program, and keeps Ctrl-C away from it by a process group of its own.
pub(crate) fn set_apart(command: &mut Command) {
    command.current_dir("/").process_group(0);
}

/// Sends SIGTERM to a program that was set apart, and to its children, and waits briefly.
pub(crate) fn end(child: &mut Child) {
    let group = Pid::from_child(child);
    let _ = kill_process_group(group, Signal::TERM);
    let begin = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if begin.elapsed() >= EXIT_TIMEOUT {
            let _ = kill_process_group(group, Signal::KILL);
            let _ = child.wait();
            return;
        }
        thread::sleep(PAUSE);
    }
}

/// Replaces this process by the command, which keeps its signals, terminal and exit code. Returns only if that fails.
pub(crate) fn become_command(mut command: Command) -> io::Error {
    command.exec()
}
