//! Reads from the terminal what may be consumed, without blocking and without changing its settings.

use std::io::{self, Stdin};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, tcgetattr, tcgetpgrp};

pub(crate) enum ReadResult {
    Nothing,
    Data,
    End,
}

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

/// Whether input or the end of the input is available.
fn is_readable(terminal: &Stdin) -> bool {
    let mut descriptors = [PollFd::new(terminal, PollFlags::IN)];
    poll(&mut descriptors, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Whether this process may read the terminal: it is in the foreground, or the terminal is not its controlling one.
fn is_in_foreground(terminal: &Stdin) -> bool {
    tcgetpgrp(terminal).map_or(true, |foreground| foreground == rustix::process::getpgrp())
}
