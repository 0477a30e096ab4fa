//! Runs a command to its end, while this process waits and passes signals on.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::task::Poll;

use infra_shared::signals::is_ignored;
use rustix::process::{Pid, Signal, getpgrp, kill_process};
use rustix::termios::tcgetpgrp;
use tokio::signal::unix::{self, SignalKind, signal};

/// Signals that end a process, or tell it something. Those of job control stop and continue both processes.
const PASSED_ON: [Signal; 6] =
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2];

/// Handlers, active from the creation of this value until this process ends.
struct Signals(Vec<(Signal, unix::Signal)>);

/// Runs the command in the terminal and the process group of this process. Returns how it ended. Signals for this process
/// reach the command, and end only that.
pub(crate) fn run_command(command: Command) -> io::Result<ExitStatus> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // First, so that no signal ends this process once the command runs.
        let mut signals = Signals::listen();
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
