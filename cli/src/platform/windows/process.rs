//! Finds, starts and ends other programs.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::windows::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::windows::{CtrlBreak, CtrlC, ctrl_break, ctrl_c};
use url::Url;
use windows_sys::Win32::System::Threading::CREATE_NEW_PROCESS_GROUP;

/// Separates the entries of `PATH`, and the commands in `BROWSER`.
pub(crate) const LIST_SEPARATOR: char = ';';
/// The exit code after Ctrl-C, as on other systems.
const INTERRUPTED: u32 = 130;
/// Search path if `PATH` is not set.
pub(crate) const USUAL_PATH: &str = r"C:\Windows\System32";

/// The file of a program, also without its `.exe`. An empty or relative entry of `path` and a relative path are ignored.
/// They would refer to the working directory, which another user may control. Scripts (`.cmd`) need a shell, and are never
/// found.
pub(crate) fn find_program(program: &OsStr, path: &OsStr) -> Option<PathBuf> {
    if Path::new(program).components().count() > 1 {
        return Some(PathBuf::from(program)).filter(|file| file.is_absolute()).map(with_ending);
    }
    let folders = std::env::split_paths(path).filter(|folder| folder.is_absolute());
    folders.map(|folder| with_ending(folder.join(program))).find(|file| file.is_file())
}

fn with_ending(file: PathBuf) -> PathBuf {
    if file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("exe")) {
        return file;
    }
    let mut name = file.into_os_string();
    name.push(".exe");
    PathBuf::from(name)
}

/// Whether a file is a program that this user can run.
pub(crate) fn is_executable(file: &Path) -> bool {
    file.is_file()
}

/// The desktop's commands for opening an address. No shell reads it, and the exit code is right: `explorer.exe` always exits
/// with 1.
pub(crate) fn openers(url: &str) -> Vec<Vec<OsString>> {
    vec![["rundll32.exe", "url.dll,FileProtocolHandler", url].map(OsString::from).to_vec()]
}

/// The URL of a file, as programs of the desktop take it. Windows reads encoded bytes in the code page of the user, so letters
/// outside ASCII stay as they are.
pub(crate) fn file_url(file: &Path) -> Option<String> {
    let url = String::from(Url::from_file_path(file).ok()?);
    let mut parts = url.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte @ 0x80..) => bytes.push(byte),
            _ => bytes.extend([b"%", part.get(..2)?.as_bytes()].concat()),
        }
        bytes.extend(part.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// Hides the working directory from the program, and keeps Ctrl-C away from it by a process group of its own. The root
/// directory would be that of the working directory's drive, which may be another user's.
pub(crate) fn set_apart(command: &mut Command) {
    if let Some(folder) = Path::new(command.get_program()).parent().map(Path::to_owned) {
        command.current_dir(folder);
    }
    command.creation_flags(CREATE_NEW_PROCESS_GROUP);
}

/// Ends a program that was set apart. A browser is no child of what opened it.
pub(crate) fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// Runs the command and exits with its exit code. Returns only if that fails. Meanwhile Ctrl-C is for the command alone.
pub(crate) fn become_command(command: Command) -> io::Error {
    match CommandRunner::prepare().and_then(|runner| runner.run(command)) {
        Ok(status) => exit_as(status),
        Err(error) => error,
    }
}

/// Runs a command. From its creation on, Ctrl-C does not end this process, which has something to undo afterwards.
pub(crate) struct CommandRunner {
    runtime: Runtime,
    interrupted: CtrlC,
    _ended: CtrlBreak,
}

impl CommandRunner {
    pub(crate) fn prepare() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (interrupted, ended) = {
            let _entered = runtime.enter();
            (ctrl_c()?, ctrl_break()?)
        };
        Ok(Self { runtime, interrupted, _ended: ended })
    }

    /// Runs the command and returns how it ended. Meanwhile Ctrl-C is for the command alone. After an earlier Ctrl-C, the
    /// command is not started, and counts as ended by it.
    pub(crate) fn run(mut self, mut command: Command) -> io::Result<ExitStatus> {
        /// The time in which the runtime reports a Ctrl-C that was pressed.
        const LOOK: Duration = Duration::from_millis(1);
        let pressed =
            self.runtime.block_on(async { tokio::time::timeout(LOOK, self.interrupted.recv()).await });
        if pressed.is_ok() { Ok(ExitStatus::from_raw(INTERRUPTED)) } else { command.status() }
    }
}

/// Exits as the command did.
pub(crate) fn exit_as(status: ExitStatus) -> ! {
    #[expect(clippy::disallowed_methods, reason = "the exit code is the command's, of 32 bits")]
    std::process::exit(status.code().unwrap_or(1))
}
