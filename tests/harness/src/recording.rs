//! Records a user's terminal session, command by command, as an asciinema cast (version 2).

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use regex_lite::Regex;
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::{Value, json};

use crate::program::{Call, replace_varying, terminal};

const COLUMNS: u16 = 100;
const ROWS: u16 = 30;
/// Typing speed, and reading time before typing.
const KEY: Duration = Duration::from_millis(45);
const READING: Duration = Duration::from_millis(1500);
/// Time limit of each command.
const LIMIT: Duration = Duration::from_mins(1);

/// A terminal session that grows command by command.
pub struct Recording {
    events: Vec<(Duration, String)>,
    clock: Duration,
    replacements: Vec<(String, String)>,
}

/// A running command of the recording.
pub struct RunningCommand<'a> {
    recording: &'a mut Recording,
    keyboard: File,
    pieces: Receiver<Vec<u8>>,
    begin: Instant,
    seen: String,
}

impl Recording {
    pub fn new() -> Self {
        Self { events: Vec::new(), clock: Duration::ZERO, replacements: Vec::new() }
    }

    /// Replaces `text` with `name` everywhere.
    pub fn replace(&mut self, text: impl Into<String>, name: &str) {
        self.replacements.push((text.into(), name.to_owned()));
    }

    /// Types a shell comment.
    pub fn comment(&mut self, comment: &str) {
        self.type_line(&format!("# {comment}"));
    }

    /// Types `line`, runs the matching `call`, and runs `act` for the user's input. Fails the test unless the
    /// exit code is `code`.
    #[track_caller]
    pub fn run(&mut self, line: &str, call: Call<'_>, code: i32, act: impl FnOnce(&mut RunningCommand<'_>)) {
        self.type_line(line);
        let (keyboard, screen) = terminal().unwrap_or_else(|error| panic!("no pseudo terminal: {error}"));
        let size = Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&screen, size).expect("a terminal has a size");
        let mut child = call.env("TERM", "xterm-256color").spawn_on(&screen);
        // The controlling side ends when the last holder closes this side.
        drop(screen);
        let (sender, pieces) = mpsc::channel();
        let mut reader = keyboard.try_clone().expect("a file can be duplicated");
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Ends when the last process closes the other side.
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                let _ = sender.send(buffer.get(..length).unwrap_or_default().to_vec());
            }
        });
        let begin = Instant::now();
        let mut shown = RunningCommand { recording: self, keyboard, pieces, begin, seen: String::new() };
        act(&mut shown);
        let status = crate::wait::until(LIMIT, || {
            shown.read(Duration::from_millis(20));
            child.try_wait().expect("our own child")
        });
        let _ = child.kill();
        shown.read(Duration::from_millis(200));
        let seen = shown.seen.clone();
        assert_eq!(status.and_then(|status| status.code()), Some(code), "`{line}` ended otherwise\n{seen}");
    }

    /// The session as lines of text, without progress output and with replacements for values that differ
    /// between runs.
    pub fn text(&self) -> String {
        let all: String = self.events.iter().map(|(_, text)| text.as_str()).collect();
        text_of(&self.replaced(&all))
    }

    /// Compares with the cast at `path`; with `UPDATE=1` writes it.
    #[track_caller]
    pub fn compare(&self, path: &Path, title: &str) {
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(path, self.cast(title))
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            return;
        }
        let cast = std::fs::read_to_string(path).unwrap_or_default();
        let events = cast.lines().skip(1).filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let recorded: String = events.filter_map(|event| event[2].as_str().map(str::to_owned)).collect();
        let (recorded, now) = (text_of(&recorded), self.text());
        assert!(
            recorded == now,
            "{} shows something else: `UPDATE=1` records anew\n{recorded}\n-- now\n{now}",
            path.display()
        );
    }

    fn cast(&self, title: &str) -> String {
        let header = json!({"version": 2, "width": COLUMNS, "height": ROWS, "title": title, "env": {"TERM": "xterm-256color"}});
        let mut cast = format!("{header}\n");
        for (at, text) in &self.events {
            let event = json!([(at.as_secs_f64() * 1000.0).round() / 1000.0, "o", self.replaced(text)]);
            let _ = writeln!(cast, "{event}");
        }
        cast
    }

    fn replaced(&self, text: &str) -> String {
        self.replacements.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from.as_str(), to))
    }

    fn type_line(&mut self, line: &str) {
        let line = self.replaced(line);
        self.clock += READING;
        self.events.push((self.clock, "\u{1b}[1m$\u{1b}[0m ".to_owned()));
        for character in line.chars() {
            self.clock += KEY;
            self.events.push((self.clock, character.to_string()));
        }
        self.clock += KEY * 8;
        self.events.push((self.clock, "\r\n".to_owned()));
    }
}

impl Default for Recording {
    fn default() -> Self {
        Self::new()
    }
}

impl RunningCommand<'_> {
    /// Waits until `look` finds something in the output of this command.
    #[track_caller]
    pub fn wait_for<T>(&mut self, what: &str, look: impl Fn(&str) -> Option<T>) -> T {
        let found = crate::wait::until(LIMIT, || {
            self.read(Duration::from_millis(20));
            look(&self.seen)
        });
        found.unwrap_or_else(|| panic!("{what} was never shown\n{}", self.seen))
    }

    /// Pauses like a user who reads or signs in.
    pub fn pause(&mut self, time: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < time {
            self.read(Duration::from_millis(20));
        }
    }

    /// Types or pastes a line.
    pub fn enter(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).expect("the terminal is open");
    }

    fn read(&mut self, patience: Duration) {
        if let Ok(first) = self.pieces.recv_timeout(patience) {
            let mut bytes = first;
            bytes.extend(self.pieces.try_iter().flatten());
            // A split multi-byte character is rare, and only looks odd.
            let text = String::from_utf8_lossy(&bytes).into_owned();
            self.seen.push_str(&text);
            let at = self.recording.clock + self.begin.elapsed();
            self.recording.events.push((at, text));
        }
    }
}

impl Drop for RunningCommand<'_> {
    fn drop(&mut self) {
        self.recording.clock += self.begin.elapsed();
    }
}

/// Returns the lines that stay on the screen, without output that varies between runs.
fn text_of(output: &str) -> String {
    let pattern = |text: &str| Regex::new(text).expect("a sound pattern");
    let plain = pattern("\u{1b}\\[[0-9;?]*[A-Za-z]").replace_all(output, "\r").replace("\r\n", "\n");
    let drawn = pattern(r"\d:\d\d left: ");
    let lines = plain.split('\n').map(|line| {
        let parts = line.split('\r').filter(|part| !part.trim().is_empty() && !drawn.is_match(part));
        parts.collect::<String>()
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let text = pattern("(code|state|nonce|code_challenge)=[0-9A-Za-z_-]+").replace_all(&text, "$1=RANDOM");
    // Lines are as long as the time of day in them.
    replace_varying(pattern("\n +").replace_all(&text, " ").into_owned())
}
