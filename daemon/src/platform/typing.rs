//! A terminal that does not show what is typed.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// While this lives, the terminal at standard input shows nothing of what is typed.
#[derive(Debug)]
pub struct HiddenTyping {
    before: Option<Termios>,
}

impl HiddenTyping {
    /// Hides typing if standard input is a terminal.
    pub fn start() -> Self {
        let input = std::io::stdin();
        let before = tcgetattr(&input).ok();
        if let Some(before) = &before {
            let mut hidden = before.clone();
            hidden.local_modes.remove(LocalModes::ECHO);
            // The line feed shows that the line is over.
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
