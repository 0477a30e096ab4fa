//! Hides what is typed at the terminal.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::select;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use zeroize::Zeroizing;

/// How often to look for a typed line. A blocking read would not end after a signal.
const INTERVAL: Duration = Duration::from_millis(50);

/// Turns off echo on the terminal at standard input until dropped, and handles the signals that would end the program
/// before it is turned on again.
#[derive(Debug)]
pub struct HiddenInput {
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    before: Option<Termios>,
}

impl HiddenInput {
    /// Turns off echo if standard input is a terminal.
    pub fn start() -> io::Result<Self> {
        // Registered first, so that no signal can end the program while echo is off.
        let mut hidden = Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            before: None,
        };
        let input = io::stdin();
        hidden.before = tcgetattr(&input).ok();
        if let Some(before) = &hidden.before {
            let mut modes = before.clone();
            modes.local_modes.remove(LocalModes::ECHO);
            // Still echo the line feed, to show that the line was accepted.
            modes.local_modes.insert(LocalModes::ECHONL);
            let _ = tcsetattr(&input, OptionalActions::Now, &modes);
        }
        Ok(hidden)
    }

    /// Reads a line of up to `limit` bytes from the terminal; `None` if a signal asked the program to end. The terminal
    /// echoes again when this returns.
    pub async fn read_line(mut self, limit: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let input = io::stdin();
        // A terminal is readable once it has a whole line, and a read returns that line alone.
        while poll(&mut [PollFd::new(&input, PollFlags::IN)], Some(&Timespec::default()))? == 0 {
            select! {
                () = sleep(INTERVAL) => {}
                _ = self.interrupt.recv() => return Ok(None),
                _ = self.quit.recv() => return Ok(None),
                _ = self.terminate.recv() => return Ok(None),
            }
        }
        let mut line = Zeroizing::new(vec![0; limit]);
        let length = rustix::io::read(&input, line.as_mut_slice())?;
        line.truncate(length);
        Ok(Some(line))
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
