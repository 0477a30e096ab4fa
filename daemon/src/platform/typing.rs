//! Hides what is typed at the terminal.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Turns off echo on the terminal at standard input until dropped.
#[derive(Debug)]
pub struct HiddenTyping {
    before: Option<Termios>,
}

impl HiddenTyping {
    /// Turns off echo if standard input is a terminal.
    pub fn start() -> Self {
        let input = std::io::stdin();
        let before = tcgetattr(&input).ok();
        if let Some(before) = &before {
            let mut hidden = before.clone();
            hidden.local_modes.remove(LocalModes::ECHO);
            // Still echo the line feed, to show that the line was accepted.
            hidden.local_modes.insert(LocalModes::ECHONL);
            let _ = tcsetattr(&input, OptionalActions::Now, &hidden);
        }
        Self { before }
    }
}

impl Drop for HiddenTyping {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}
