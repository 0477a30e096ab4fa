//! The command that `infrad dev` runs.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::platform::HangUp;

/// Runs `command` (at least a program) with additional environment, and forwards SIGINT, SIGTERM and SIGHUP. Returns its exit
/// status, or 128 + the number of the signal that ended it.
pub async fn run_command(command: &[OsString], environment: &[(OsString, OsString)]) -> io::Result<u8> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program is named"))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = HangUp::listen()?;
    let envs = environment.iter().map(|(name, value)| (name, value));
    let mut command = Command::new(program);
    command.args(arguments).envs(envs).kill_on_drop(true);
    // Keep real sessions and this daemon's sessions apart.
    for name in ["INFRA_TOKEN", "INFRA_CA_FILE"] {
        command.env_remove(name);
    }
    let mut child = command.spawn()?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(code(status?)),
            _ = terminate.recv() => pass_on(&child, Signal::TERM),
            () = hangup.received() => pass_on(&child, Signal::HUP),
            // A terminal sends it to the whole process group: forwarding would deliver it twice.
            _ = interrupt.recv() => if !io::stdin().is_terminal() { pass_on(&child, Signal::INT) },
        }
    }
}

fn pass_on(child: &Child, signal: Signal) {
    let process = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(process) = process {
        // The process may have exited.
        let _ = kill_process(process, signal);
    }
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(script: &str) -> u8 {
        let command = ["sh", "-c", script].map(OsString::from);
        run_command(&command, &[("INFRA_DEV_TEST".into(), "given".into())]).await.expect("a shell")
    }

    #[tokio::test]
    async fn exit_status_follows_shell_convention() {
        assert_eq!(run("exit 7").await, 7);
        assert_eq!(run("kill -TERM $$").await, 143);
        assert_eq!(run("test \"$INFRA_DEV_TEST\" = given").await, 0);
    }

    #[tokio::test]
    async fn missing_program_is_an_error() {
        let error = run_command(&["/nowhere/program".into()], &[]).await.expect_err("nothing is there");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
