//! A program while it runs, and what it said once it has ended.

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
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::wait;

/// A running program; it is killed when the value is dropped.
pub struct Running {
    name: String,
    child: Child,
    stdout: Output,
    stderr: Output,
    /// The other side of its terminal, if it has one.
    keyboard: Option<File>,
    /// Its own side, as a shell holds it that started the program.
    terminal: Option<File>,
    limit: Duration,
}

/// A program that has ended.
#[derive(Debug, Clone)]
pub struct Ran {
    pub name: String,
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// What comes out of a pipe. A thread reads it, so that the program never waits for room.
struct Output(Arc<Mutex<Source>>);

struct Source {
    pipe: File,
    text: Vec<u8>,
    /// Nobody holds the other side any more.
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

    /// Starts `command` with standard input and standard error on a terminal, for a human to type at.
    pub fn start_in_terminal(mut command: Command, name: String, limit: Duration) -> Self {
        let (keyboard, terminal) = terminal().unwrap_or_else(|error| panic!("no pseudo terminal: {error}"));
        let duplicate = |file: &File| file.try_clone().expect("a file can be duplicated");
        command.stdin(duplicate(&terminal)).stderr(duplicate(&terminal)).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("`{name}` cannot be started: {error}"));
        // It holds the program's side of the terminal open.
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

    /// What was typed, and not taken by the program: what the shell reads once the program has ended.
    pub fn left_for_the_shell(&mut self) -> String {
        assert!(!self.is_running(), "`{}` may still read\n{}", self.name, self.output());
        let mut terminal = self.terminal.take().expect("the program had a terminal");
        fcntl_setfl(&terminal, OFlags::NONBLOCK).expect("an open file");
        let mut left = Vec::new();
        // It ends with the error that there is nothing to read.
        let _ = terminal.read_to_end(&mut left);
        String::from_utf8_lossy(&left).into_owned()
    }

    /// Waits for its end; one that does not end in time is killed, and fails the test.
    pub fn wait(mut self) -> Ran {
        let Some(code) = self.wait_for_end(self.limit) else {
            let _ = self.child.kill();
            panic!("`{}` did not end within {:?}\n{}", self.name, self.limit, self.output());
        };
        // Its other side ends with the last that holds it.
        drop(self.terminal.take());
        let (stdout, stderr) = (self.stdout.finish(), self.stderr.finish());
        Ran { name: self.name.clone(), code, stdout, stderr }
    }

    /// The exit code, if it ends in time; the inner `None` when a signal ended it.
    pub fn wait_for_end(&mut self, limit: Duration) -> Option<Option<i32>> {
        wait::until(limit, || self.child.try_wait().expect("our own child").map(|status| status.code()))
    }

    /// Waits until `look` finds something in what it has said so far.
    pub fn wait_for<T>(&mut self, what: &str, mut look: impl FnMut(&str, &str) -> Option<T>) -> T {
        let limit = self.limit;
        let found = wait::until(limit, || {
            // Whether it has ended is asked first: what it said before is then complete.
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
        kill_process(process, signal).unwrap_or_else(|error| panic!("`{}`: {error}", self.name));
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has written so far.
    pub fn output(&self) -> String {
        format!("-- stdout\n{}\n-- stderr\n{}", self.stdout.so_far(), self.stderr.so_far())
    }

    /// Everything it wrote, once it has ended.
    pub fn finished_output(&self) -> String {
        format!("-- stdout\n{}\n-- stderr\n{}", self.stdout.finish(), self.stderr.finish())
    }
}

/// Both sides of a pseudo terminal: the human's, and the program's.
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
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ran {
    /// Fails the test unless it ended with this code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "another exit code than expected\n{self}");
        self
    }

    /// Fails the test unless each of these words was told on standard error, in any case.
    #[track_caller]
    pub fn telling(self, words: &[&str]) -> Self {
        let told = self.stderr.to_lowercase();
        for word in words {
            assert!(told.contains(&word.to_lowercase()), "standard error does not say {word:?}\n{self}");
        }
        self
    }

    /// Fails the test unless standard output is empty.
    #[track_caller]
    pub fn silent(self) -> Self {
        assert!(self.stdout.is_empty(), "standard output is for data only\n{self}");
        self
    }

    /// Standard output as JSON.
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

    /// Everything that the program has written so far: what is still in the pipe is read first.
    fn so_far(&self) -> String {
        let mut source = lock(&self.0);
        source.drain();
        String::from_utf8_lossy(&source.text).into_owned()
    }

    /// All of it, once the program has ended. A child of its own may still hold the pipe: that is not waited for.
    fn finish(&self) -> String {
        let _ = wait::until(Duration::from_secs(2), || lock(&self.0).drain().then_some(()));
        self.so_far()
    }
}

impl Source {
    /// Reads what is there, without waiting for more; whether that was the last of it.
    fn drain(&mut self) -> bool {
        let mut buffer = [0; 4096];
        while !self.has_ended && wait_for_input(&self.pipe, Some(&Timespec::default())) {
            match self.pipe.read(&mut buffer) {
                Ok(length @ 1..) => self.text.extend_from_slice(buffer.get(..length).unwrap_or_default()),
                // A terminal that was closed answers with an error.
                Ok(_) | Err(_) => self.has_ended = true,
            }
        }
        self.has_ended
    }
}

/// Whether there is something to read, or its end, within `limit`.
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
