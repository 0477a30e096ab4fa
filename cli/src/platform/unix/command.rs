//! Runs a command to its end, while this process waits and passes signals on.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::task::Poll;
use std::time::Duration;

use infra_shared::signals::is_ignored;
use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use tokio::runtime::Runtime;
use tokio::signal::unix::{self, SignalKind, signal};

/// Signals that end a process, or tell it something. Those of job control stop and continue both processes.
const PASSED_ON: [Signal; 6] =
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2];

/// The time in which the runtime reports the signals that have arrived.
const LOOK: Duration = Duration::from_millis(1);

/// Handlers, active from the creation of this value until this process ends.
struct Signals(Vec<(Signal, unix::Signal)>);

/// Runs a command. From its creation on, signals do not end this process, which has something to undo afterwards.
pub(crate) struct CommandRunner {
    runtime: Runtime,
    signals: Signals,
}

impl CommandRunner {
    pub(crate) fn prepare() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let signals = runtime.block_on(async { Signals::listen() });
        Ok(Self { runtime, signals })
    }

    /// Runs the command in the terminal and the process group of this process. Returns how it ended. Signals for this
    /// process reach the command, and end only that. After an earlier signal, the command is not started, and counts as
    /// ended by it.
    pub(crate) fn run(self, command: Command) -> io::Result<ExitStatus> {
        let Self { runtime, mut signals } = self;
        runtime.block_on(async {
            if let Ok(signal) = tokio::time::timeout(LOOK, signals.next()).await {
                return Ok(ExitStatus::from_raw(signal.as_raw()));
            }
            let mut child = tokio::process::Command::from(command).spawn()?;
            let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
            loop {
                tokio::select! {
                    status = child.wait() => return status,
                    signal = signals.next() => {
                        // The process exists until `wait` returns.
                        if let Some(id) = id.filter(|_| !is_from_terminal(signal)) {
                            let _ = kill_process(id, signal);
                        }
                    }
                }
            }
        })
    }
}

/// Exits as the command did, or as a shell reports a signal.
pub(crate) fn exit_as(status: ExitStatus) -> ! {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    #[expect(clippy::disallowed_methods, reason = "the exit code is the command's")]
    std::process::exit(code)
}

impl Signals {
    /// Leaves alone what the parent process disabled, as `nohup` does, because the command inherits that.
    fn listen() -> Self {
        let listened = PASSED_ON.into_iter().filter(|kind| !is_ignored(kind.as_raw()));
        Self(
            listened
                .filter_map(|kind| Some((kind, signal(SignalKind::from_raw(kind.as_raw())).ok()?)))
                .collect(),
        )
    }

    async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (kind, signal) in &mut self.0 {
                if signal.poll_recv(context) == Poll::Ready(Some(())) {
                    return Poll::Ready(*kind);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Whether the terminal sends such a signal, which then has reached the command as well: Ctrl-C and Ctrl-\ go to the whole
/// group in the foreground.
fn is_from_terminal(signal: Signal) -> bool {
    let is_in_foreground =
        || File::open("/dev/tty").is_ok_and(|terminal| tcgetpgrp(terminal) == Ok(getpgrp()));
    matches!(signal, Signal::INT | Signal::QUIT) && is_in_foreground()
}

#[cfg(test)]
mod tests {
    use rustix::process::getpid;

    use super::*;

    #[test]
    fn signal_before_the_start_keeps_command_from_starting() {
        let runner = CommandRunner::prepare().expect("a runtime");
        kill_process(getpid(), Signal::USR2).expect("sent");
        let ended = runner.run(Command::new("/no-such-program")).expect("it is not started");
        assert_eq!(ended.signal(), Some(Signal::USR2.as_raw()));
        let ran = CommandRunner::prepare().expect("a runtime").run(Command::new("true")).expect("started");
        assert!(ran.success(), "{ran}");
    }
}
