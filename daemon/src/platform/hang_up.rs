//! SIGHUP for programs of a terminal: the terminal was closed.

use tokio::signal::unix::Signal;

/// The closing of the terminal. Never arrives if the parent process disabled it, as `nohup` does.
pub struct HangUp(Option<Signal>);

impl HangUp {
    #[cfg(feature = "dev")]
    pub fn listen() -> std::io::Result<Self> {
        use infra_shared::signals::is_hangup_ignored;
        use tokio::signal::unix::{SignalKind, signal};

        let signal = (!is_hangup_ignored()).then(|| signal(SignalKind::hangup())).transpose()?;
        Ok(Self(signal))
    }

    /// A program of no terminal.
    pub fn never() -> Self {
        Self(None)
    }

    pub async fn received(&mut self) {
        match &mut self.0 {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
}
