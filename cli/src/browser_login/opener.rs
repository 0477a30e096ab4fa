//! Opens the browser and reports if no program could. When the sign-in ends, stops a program that never opened one.

mod commands;

use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use super::listener::Event;
use crate::platform;

pub(super) use commands::candidates;

const PAUSE: Duration = Duration::from_millis(20);
/// How long to wait for the browser after a program reported failure. `xdg-open` and similar programs may report
/// failure although the browser still opens later.
const SLOW_BROWSER_TIMEOUT: Duration = Duration::from_secs(3);

/// Tries `commands` in order until the browser has fetched the address, independent of exit codes. Tries the next
/// command only if one failed and no browser followed. If dropped, stops the running command.
pub(super) async fn open(commands: Vec<Command>, was_fetched: Arc<AtomicBool>, events: Sender<Event>) {
    for command in commands {
        let has_opened = match Opener::start(command, &was_fetched) {
            Ok(mut opener) => opener.succeeds().await || browser_follows(&was_fetched).await,
            Err(_) => was_fetched.load(Ordering::SeqCst),
        };
        if has_opened {
            return;
        }
    }
    // Sending fails if the sign-in has ended.
    let _ = events.send(Event::NotOpened);
}

/// Waits for the browser after a command failed. Returns true if it came.
async fn browser_follows(was_fetched: &AtomicBool) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < SLOW_BROWSER_TIMEOUT {
        if was_fetched.load(Ordering::SeqCst) {
            return true;
        }
        tokio::time::sleep(PAUSE).await;
    }
    false
}

/// A program that opens the browser. Drop stops it, unless the browser has fetched the address. In that case the
/// program may be the browser itself and keeps running.
struct Opener {
    child: Child,
    was_fetched: Arc<AtomicBool>,
}

impl Opener {
    fn start(mut command: Command, was_fetched: &Arc<AtomicBool>) -> io::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        platform::set_apart(&mut command);
        Ok(Self { child: command.spawn()?, was_fetched: Arc::clone(was_fetched) })
    }

    /// Waits until the program exits. Returns whether it reports success.
    async fn succeeds(&mut self) -> bool {
        loop {
            match self.child.try_wait() {
                Ok(None) => tokio::time::sleep(PAUSE).await,
                Ok(Some(status)) => return status.success(),
                Err(_) => return false,
            }
        }
    }

    /// Ends the program and its children.
    fn stop(&mut self) {
        if !self.was_fetched.load(Ordering::SeqCst) && matches!(self.child.try_wait(), Ok(None)) {
            platform::end(&mut self.child);
        }
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::ffi::OsStr;
    use std::sync::mpsc;

    use super::super::Browser;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);
    const ADDRESS: &str = "http://127.0.0.1:8301/go/x";

    fn commands(named: &str) -> Vec<Command> {
        candidates(&Browser::Named(named.to_owned()), ADDRESS, Some(OsStr::new("/usr/bin:/bin")))
    }

    fn run<T>(task: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { tokio::time::timeout(LIMIT, task).await }).expect("it ends in time")
    }

    /// Runs the commands `named` and returns whether they are reported as failed.
    fn all_fail(named: &str, was_fetched: bool) -> bool {
        let (sender, events) = mpsc::channel();
        run(open(commands(named), Arc::new(AtomicBool::new(was_fetched)), sender));
        matches!(events.try_recv(), Ok(Event::NotOpened))
    }

    #[test]
    fn failure_is_reported_when_all_commands_fail() {
        assert!(all_fail("false:/nowhere/browser:no-such-browser", false));
    }

    #[test]
    fn opening_stops_after_first_success_or_fetch() {
        assert!(!all_fail("false:true:false", false));
        assert!(!all_fail("false", true));
    }

    #[test]
    fn next_command_waits_for_slow_browser_of_failed_one() {
        let folder = tempfile::tempdir().expect("a directory");
        let second = folder.path().join("second");
        let commands = commands(&format!("sh -c 'exit 4' %s:touch '{}'", second.display()));
        assert_eq!(commands.len(), 2);
        let (sender, events) = mpsc::channel();
        let was_fetched = Arc::new(AtomicBool::new(false));
        // The browser fetches the address during the wait.
        let browser = async {
            tokio::time::sleep(2 * PAUSE).await;
            was_fetched.store(true, Ordering::SeqCst);
        };
        run(async { tokio::join!(open(commands, Arc::clone(&was_fetched), sender), browser) });
        assert!(events.try_recv().is_err() && !second.exists(), "a second browser was opened");
    }

    #[test]
    fn hanging_command_is_stopped_unless_browser_came() {
        for fetched in [false, true] {
            let was_fetched = Arc::new(AtomicBool::new(fetched));
            let command = commands("sh -c 'sleep 60' %s").pop().expect("a command");
            let mut opener = Opener::start(command, &was_fetched).expect("a shell");
            opener.stop();
            let is_over = opener.child.try_wait().expect("our own child").is_some();
            let _ = opener.child.kill();
            let _ = opener.child.wait();
            assert_eq!(is_over, !fetched);
        }
    }
}
