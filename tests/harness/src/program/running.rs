//! A running program, and the output of a finished one.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::wait;

/// A running program, killed when dropped.
pub struct Running {
    name: String,
    child: Child,
    stdout: Output,
    stderr: Output,
    /// The controlling side of its terminal, if it has one.
    keyboard: Option<File>,
    /// The program's side of the terminal, kept open as the parent shell would.
    terminal: Option<File>,
    limit: Duration,
}

/// A finished program.
#[derive(Debug, Clone)]
pub struct Ran {
    pub name: String,
    /// The exit code; `None` if a signal killed it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The output from a pipe. A thread reads it, so that the program never blocks on a full pipe.
struct Output(Arc<Mutex<Source>>);

struct Source {
    pipe: File,
    text: Vec<u8>,
    /// The pipe has no writers left.
    has_ended: bool,
}

impl Running {
    /// Starts `command` with both outputs read and `input` written; `limit` bounds every wait for it.
    pub fn start(mut command: Command, name: String, input: Option<Vec<u8>>, limit: Duration) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("`{name}` cannot be started: {error}"));
        if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
            std::thread::spawn(move || {
                let _ = pipe.write_all(&input);
            });
        }
        let stdout = Output::of(child.stdout.take().expect("standard output was piped"));
        let stderr = Output::of(child.stderr.take().expect("standard error was piped"));
        Self { name, child, stdout, stderr, keyboard: None, terminal: None, limit }
    }

    /// Starts `command` with standard input and standard error on a terminal, for typed input.
    pub fn start_in_terminal(mut command: Command, name: String, limit: Duration) -> Self {
        let (keyboard, terminal) = terminal().unwrap_or_else(|error| panic!("no pseudo terminal: {error}"));
        let duplicate = |file: &File| file.try_clone().expect("a file can be duplicated");
        command.stdin(duplicate(&terminal)).stderr(duplicate(&terminal)).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("`{name}` cannot be started: {error}"));
        // `command` holds the program's side of the terminal open.
        drop(command);
        let stdout = Output::of(child.stdout.take().expect("standard output was piped"));
        let stderr = Output::of(duplicate(&keyboard));
        Self { name, child, stdout, stderr, keyboard: Some(keyboard), terminal: Some(terminal), limit }
    }

    /// Types a line.
    pub fn enter(&mut self, line: &str) {
        let keyboard = self.keyboard.as_mut().expect("the program has a terminal");
        keyboard.write_all(format!("{line}\n").as_bytes()).expect("the terminal is open");
    }

    /// Returns the typed input that the program did not read, and that the shell would read after it.
    pub fn left_for_the_shell(&mut self) -> String {
        assert!(!self.is_running(), "`{}` may still read\n{}", self.name, self.output());
        let mut terminal = self.terminal.take().expect("the program had a terminal");
        fcntl_setfl(&terminal, OFlags::NONBLOCK).expect("an open file");
        let mut left = Vec::new();
        // The read stops with an error when no input is left.
        let _ = terminal.read_to_end(&mut left);
        String::from_utf8_lossy(&left).into_owned()
    }

    /// Whether its terminal shows what is typed.
    pub fn echoes(&self) -> bool {
        let terminal = self.terminal.as_ref().expect("the program has a terminal");
        tcgetattr(terminal).expect("a terminal").local_modes.contains(LocalModes::ECHO)
    }

    /// Presses one key.
    pub fn press(&mut self, key: char) {
        let keyboard = self.keyboard.as_mut().expect("the program has a terminal");
        keyboard.write_all(key.to_string().as_bytes()).expect("the terminal is open");
    }

    /// Whether its terminal puts lines together (canonical mode).
    pub fn passes_lines(&self) -> bool {
        let terminal = self.terminal.as_ref().expect("the program has a terminal");
        tcgetattr(terminal).expect("a terminal").local_modes.contains(LocalModes::ICANON)
    }

    /// Waits until a signal has stopped it.
    pub fn wait_until_stopped(&self) {
        let process = Pid::from_child(&self.child);
        let options = WaitOptions::UNTRACED | WaitOptions::NOHANG;
        let stopped = wait::until(self.limit, || {
            let status = waitpid(Some(process), options).expect("our own child");
            status.filter(|(_, status)| status.stopped()).map(drop)
        });
        assert!(stopped.is_some(), "`{}` was never stopped\n{}", self.name, self.output());
    }

    /// Waits for the exit. After the time limit, kills the program and fails the test.
    pub fn wait(mut self) -> Ran {
        let Some(code) = self.wait_for_end(self.limit) else {
            let _ = self.child.kill();
            panic!("`{}` did not end within {:?}\n{}", self.name, self.limit, self.output());
        };
        // The controlling side ends when the last holder closes this side.
        drop(self.terminal.take());
        let (stdout, stderr) = (self.stdout.finish(), self.stderr.finish());
        Ran { name: self.name.clone(), code, stdout, stderr }
    }

    /// The exit code if the program exits within `limit`; the inner `None` means that a signal killed it.
    pub fn wait_for_end(&mut self, limit: Duration) -> Option<Option<i32>> {
        wait::until(limit, || self.child.try_wait().expect("our own child").map(|status| status.code()))
    }

    /// Waits until `look` finds something in the output so far.
    pub fn wait_for<T>(&mut self, what: &str, mut look: impl FnMut(&str, &str) -> Option<T>) -> T {
        let limit = self.limit;
        let found = wait::until(limit, || {
            // Check for the exit first: then the output read after it is complete.
            let ended = self.child.try_wait().expect("our own child").is_some();
            let found = look(&self.stdout.so_far(), &self.stderr.so_far());
            found.map(Some).or_else(|| ended.then_some(None))
        });
        found.flatten().unwrap_or_else(|| panic!("`{}` never said {what}\n{}", self.name, self.output()))
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_none()
    }

    pub fn signal(&self, signal: Signal) {
        let process = Pid::from_child(&self.child);
        let sent = kill_process(process, signal);
        // A second panic would hide the first.
        assert!(sent.is_ok() || std::thread::panicking(), "`{}`: {sent:?}", self.name);
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// All output so far.
    pub fn output(&self) -> String {
        format!("-- stdout\n{}\n-- stderr\n{}", self.stdout.so_far(), self.stderr.so_far())
    }

    /// All output of a finished program.
    pub fn finished_output(&self) -> String {
        format!("-- stdout\n{}\n-- stderr\n{}", self.stdout.finish(), self.stderr.finish())
    }
}

/// Opens both sides of a pseudo terminal: the controlling side, and the program's.
pub(crate) fn terminal() -> std::io::Result<(File, File)> {
    let human = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    grantpt(&human)?;
    unlockpt(&human)?;
    let path = ptsname(&human, Vec::new())?;
    let path = Path::new(OsStr::from_bytes(path.as_bytes()));
    let flags = OFlags::NOCTTY.bits().cast_signed();
    let program = File::options().read(true).write(true).custom_flags(flags).open(path)?;
    Ok((File::from(human), program))
}

impl Drop for Running {
    /// If the test fails, shows what became of the program.
    #[expect(clippy::print_stderr, reason = "a failure needs all that was seen")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let state = match self.child.try_wait() {
                Ok(Some(status)) => format!("had ended: {status}"),
                _ => "was running".to_owned(),
            };
            eprintln!("`{}` {state}\n{}", self.name, self.output());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ran {
    /// Fails the test unless the exit code is this one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "another exit code than expected\n{self}");
        self
    }

    /// Fails the test unless standard error contains each of these words, ignoring case.
    #[track_caller]
    pub fn stderr_contains(self, words: &[&str]) -> Self {
        let stderr = self.stderr.to_lowercase();
        for word in words {
            assert!(stderr.contains(&word.to_lowercase()), "standard error does not say {word:?}\n{self}");
        }
        self
    }

    /// Fails the test unless standard output is empty.
    #[track_caller]
    pub fn stdout_is_empty(self) -> Self {
        assert!(self.stdout.is_empty(), "standard output is for data only\n{self}");
        self
    }

    /// Parses standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON: {error}\n{self}"))
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, code, stdout, stderr } = self;
        write!(formatter, "`{name}` ended with {code:?}\n-- stdout\n{stdout}\n-- stderr\n{stderr}")
    }
}

impl Output {
    fn of(pipe: impl Into<OwnedFd>) -> Self {
        let pipe = File::from(pipe.into());
        let watched = pipe.try_clone().expect("a file can be duplicated");
        let source = Arc::new(Mutex::new(Source { pipe, text: Vec::new(), has_ended: false }));
        let shared = Arc::clone(&source);
        std::thread::spawn(move || while wait_for_input(&watched, None) && !lock(&shared).drain() {});
        Self(source)
    }

    /// All output so far, including what is still in the pipe.
    fn so_far(&self) -> String {
        let mut source = lock(&self.0);
        source.drain();
        String::from_utf8_lossy(&source.text).into_owned()
    }

    /// All output of a finished program. Does not wait for a child process that still holds the pipe.
    fn finish(&self) -> String {
        let _ = wait::until(Duration::from_secs(2), || lock(&self.0).drain().then_some(()));
        self.so_far()
    }
}

impl Source {
    /// Reads the available output without blocking. Returns `true` at the end of the output.
    fn drain(&mut self) -> bool {
        let mut buffer = [0; 4096];
        while !self.has_ended && wait_for_input(&self.pipe, Some(&Timespec::default())) {
            match self.pipe.read(&mut buffer) {
                Ok(length @ 1..) => self.text.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                // A closed terminal reports an error.
                Ok(_) | Err(_) => self.has_ended = true,
            }
        }
        self.has_ended
    }
}

/// Returns `true` if there is input or its end within `limit`.
fn wait_for_input(pipe: &File, limit: Option<&Timespec>) -> bool {
    let mut watched = [PollFd::new(pipe, PollFlags::IN)];
    loop {
        match poll(&mut watched, limit) {
            Err(Errno::INTR) => {}
            ready => return ready.is_ok_and(|ready| ready > 0),
        }
    }
}

fn lock(source: &Mutex<Source>) -> MutexGuard<'_, Source> {
    source.lock().expect("nobody panics while reading")
}
