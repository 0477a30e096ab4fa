//! Reads from the terminal what may be consumed, without blocking.
//!
//! The terminal's settings stay unchanged, unless it would cut a pasted address: macOS cuts lines at 1,024 bytes. There,
//! this process puts lines together once the user was asked to paste, and restores the settings afterwards.

use std::io::{self, Stdin};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};

pub(crate) enum ReadResult {
    Nothing,
    Data,
    End,
}

/// Whether the terminal cuts lines that an address may exceed.
pub(super) const CUTS_LINES: bool = cfg!(any(target_os = "macos", test));

/// Who puts lines together.
enum Lines {
    /// The terminal (canonical mode).
    Terminal,
    /// This process. Contains the terminal's earlier settings.
    Process(Termios),
    /// The terminal, for the rest of this run.
    Restored,
}

static LINES: Mutex<Lines> = Mutex::new(Lines::Terminal);

/// Reads at most one available line of `max_length` bytes, if it may be consumed: every line without `min_length`,
/// otherwise an empty one or one of at least so many bytes. Never blocks.
pub(crate) fn read_available(
    min_length: Option<usize>,
    max_length: usize,
    line: &mut Vec<u8>,
) -> io::Result<ReadResult> {
    let terminal = io::stdin();
    if !is_in_foreground(&terminal) {
        // Reading now would stop this process (SIGTTIN).
        return Ok(ReadResult::Nothing);
    }
    if CUTS_LINES && min_length.is_none() {
        let mut lines = lines();
        lines.take_over(&terminal)?;
        if let Lines::Process(settings) = &*lines {
            return read_keys(&terminal, settings, max_length, line);
        }
    }
    let waiting = usize::try_from(rustix::io::ioctl_fionread(&terminal)?).unwrap_or(usize::MAX);
    let may_consume = match min_length {
        None => waiting > 0 || is_readable(&terminal),
        // In non-canonical mode the available input is not a line.
        Some(min_length) => {
            (waiting == 1 || waiting >= min_length)
                && tcgetattr(&terminal)?.local_modes.contains(LocalModes::ICANON)
        }
    };
    if !may_consume {
        return Ok(ReadResult::Nothing);
    }
    if line.len() > max_length {
        line.clear();
    }
    let mut bytes = vec![0; max_length];
    // Bypass the standard library's buffer, which would consume input after the line.
    match rustix::io::read(&terminal, &mut bytes)? {
        0 => Ok(ReadResult::End),
        length => {
            line.extend_from_slice(bytes.get(..length).unwrap_or_default());
            Ok(ReadResult::Data)
        }
    }
}

/// Restores the terminal's settings for the rest of this run.
pub(crate) fn restore_keyboard() {
    let mut lines = lines();
    lines.give_back(&io::stdin());
    *lines = Lines::Restored;
}

/// Stops this process, as Ctrl-Z does, with the terminal's earlier settings. They change again at the first read after it
/// has continued in the foreground.
pub(super) fn stop() {
    lines().give_back(&io::stdin());
    let _ = kill_process(getpid(), Signal::STOP);
}

fn lines() -> MutexGuard<'static, Lines> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lines {
    /// Makes the terminal pass single keys. It still shows them, and turns Ctrl-C into a signal.
    fn take_over(&mut self, terminal: impl AsFd) -> io::Result<()> {
        if !matches!(self, Self::Terminal) {
            return Ok(());
        }
        let settings = tcgetattr(&terminal)?;
        // Another program may have chosen single keys before.
        if settings.local_modes.contains(LocalModes::ICANON) {
            let mut changed = settings.clone();
            changed.local_modes.remove(LocalModes::ICANON);
            changed.special_codes[SpecialCodeIndex::VMIN] = 1;
            changed.special_codes[SpecialCodeIndex::VTIME] = 0;
            tcsetattr(&terminal, OptionalActions::Now, &changed)?;
        }
        *self = Self::Process(settings);
        Ok(())
    }

    fn give_back(&mut self, terminal: &Stdin) {
        if let Self::Process(settings) = self {
            // In the background, the terminal belongs to another program, and the change would stop this process (SIGTTOU).
            if is_in_foreground(terminal) {
                let _ = tcsetattr(terminal, OptionalActions::Now, settings);
            }
            *self = Self::Terminal;
        }
    }
}

/// Reads keys up to the end of a line, and edits the line as the terminal would by `settings`.
fn read_keys(
    terminal: impl AsFd,
    settings: &Termios,
    max_length: usize,
    line: &mut Vec<u8>,
) -> io::Result<ReadResult> {
    let is = |index: SpecialCodeIndex, key: u8| settings.special_codes[index] == key && key != 0;
    while is_readable(&terminal) {
        let mut key = [0];
        // One at a time: keys after the line are for the next program.
        if rustix::io::read(&terminal, &mut key)? == 0 {
            return Ok(ReadResult::End);
        }
        let [key] = key;
        match key {
            b'\n' | b'\r' => {
                line.push(b'\n');
                return Ok(ReadResult::Data);
            }
            _ if is(SpecialCodeIndex::VEOF, key) && line.is_empty() => return Ok(ReadResult::End),
            _ if is(SpecialCodeIndex::VERASE, key) => {
                // The last character, which may have several bytes in UTF-8.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            _ if is(SpecialCodeIndex::VKILL, key) => line.clear(),
            // A longer line is no address.
            _ if line.len() <= max_length => line.push(key),
            _ => {}
        }
    }
    Ok(ReadResult::Nothing)
}

/// Whether input or the end of the input is available.
fn is_readable(terminal: &impl AsFd) -> bool {
    let mut descriptors = [PollFd::new(terminal, PollFlags::IN)];
    poll(&mut descriptors, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Whether this process may read the terminal: it is in the foreground, or the terminal is not its controlling one.
fn is_in_foreground(terminal: &Stdin) -> bool {
    tcgetpgrp(terminal).map_or(true, |foreground| foreground == rustix::process::getpgrp())
}
