//! Opens the browser and reports if no program could. When the sign-in ends, stops a program that never opened one.

mod commands;

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::listener::Event;

pub(super) use commands::candidates;

const PAUSE: Duration = Duration::from_millis(20);
/// How long to wait for the browser after a program reported failure. `xdg-open` and similar programs may report
/// failure although the browser still opens later.
const SLOW_BROWSER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a program may take to exit after SIGTERM.
const EXIT_TIMEOUT: Duration = Duration::from_millis(500);

/// Programs that open the address, tried in order. Drop stops the running one, unless the browser has fetched the
/// address. In that case the program may be the browser itself and keeps running.
pub(super) struct BrowserLauncher {
    attempt: Arc<Mutex<Attempt>>,
    was_fetched: Box<dyn Fn() -> bool>,
}

#[derive(Default)]
struct Attempt {
    is_over: bool,
    child: Option<Child>,
}

impl BrowserLauncher {
    /// Tries `commands` on a separate thread. Stops once the address `was_fetched`, independent of exit codes. Tries
    /// the next command only if one failed and no browser followed.
    pub(super) fn begin(
        commands: Vec<Command>,
        was_fetched: impl Fn() -> bool + Clone + Send + 'static,
        events: Sender<Event>,
    ) -> Self {
        let attempt = Arc::new(Mutex::new(Attempt::default()));
        let (ours, fetched) = (Arc::clone(&attempt), was_fetched.clone());
        thread::spawn(move || {
            let is_done = commands.into_iter().any(|command| match try_one(command, &ours) {
                AttemptResult::Succeeded => true,
                AttemptResult::Failed => browser_follows(&was_fetched, &ours),
                AttemptResult::NotStarted => was_fetched(),
            });
            if !is_done && !lock(&ours).is_over {
                // Sending fails if the sign-in has ended.
                let _ = events.send(Event::NotOpened);
            }
        });
        Self { attempt, was_fetched: Box::new(fetched) }
    }
}

impl Drop for BrowserLauncher {
    fn drop(&mut self) {
        let mut attempt = lock(&self.attempt);
        attempt.is_over = true;
        if let Some(child) = attempt.child.as_mut().filter(|_| !(self.was_fetched)()) {
            end(child);
        }
    }
}

/// Outcome of a command. One that the end of the sign-in interrupted counts as `Succeeded`: nothing is left to try.
enum AttemptResult {
    Succeeded,
    Failed,
    NotStarted,
}

/// Waits for the browser after a command failed. Returns true if it came or is not needed.
fn browser_follows(was_fetched: &impl Fn() -> bool, attempt: &Mutex<Attempt>) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < SLOW_BROWSER_TIMEOUT {
        if was_fetched() || lock(attempt).is_over {
            return true;
        }
        thread::sleep(PAUSE);
    }
    false
}

/// Runs `command` until it exits.
fn try_one(mut command: Command, attempt: &Mutex<Attempt>) -> AttemptResult {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Do not expose the working directory. A separate process group keeps Ctrl-C away from the browser.
    command.current_dir("/");
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    {
        let mut attempt = lock(attempt);
        if attempt.is_over {
            return AttemptResult::Succeeded;
        }
        let Ok(child) = command.spawn() else { return AttemptResult::NotStarted };
        attempt.child = Some(child);
    }
    loop {
        // Drop takes the same lock, so a reaped process is never signalled.
        let mut attempt = lock(attempt);
        match attempt.child.as_mut().map(Child::try_wait) {
            Some(Ok(None)) if !attempt.is_over => {}
            Some(Ok(Some(status))) => {
                attempt.child = None;
                return if status.success() { AttemptResult::Succeeded } else { AttemptResult::Failed };
            }
            _ => return if attempt.is_over { AttemptResult::Succeeded } else { AttemptResult::Failed },
        }
        drop(attempt);
        thread::sleep(PAUSE);
    }
}

/// Sends SIGTERM to a program and its children, and waits briefly.
fn end(child: &mut Child) {
    let group = Pid::from_child(child);
    let _ = kill_process_group(group, Signal::TERM);
    let begin = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if begin.elapsed() >= EXIT_TIMEOUT {
            let _ = kill_process_group(group, Signal::KILL);
            let _ = child.wait();
            return;
        }
        thread::sleep(PAUSE);
    }
}

fn lock(attempt: &Mutex<Attempt>) -> MutexGuard<'_, Attempt> {
    attempt.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::sync::mpsc::{self, Receiver, RecvTimeoutError};

    use super::super::Browser;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn open(named: &str, fetched: bool) -> (BrowserLauncher, Receiver<Event>) {
        let (sender, events) = mpsc::channel();
        let browser = Browser::Named(named.to_owned());
        let commands = candidates(&browser, "http://127.0.0.1:8301/go/x", Some(OsStr::new("/usr/bin:/bin")));
        (BrowserLauncher::begin(commands, move || fetched, sender), events)
    }

    #[test]
    fn failure_is_reported_when_all_commands_fail() {
        let (_opening, events) = open("false:/nowhere/browser:no-such-browser", false);
        let event = events.recv_timeout(LIMIT);
        assert!(matches!(event, Ok(Event::NotOpened)), "{event:?}");
    }

    #[test]
    fn opening_stops_after_first_success_or_fetch() {
        for (named, fetched) in [("false:true:false", false), ("false", true)] {
            let (_opening, events) = open(named, fetched);
            // The channel closes without a message.
            let event = events.recv_timeout(LIMIT);
            assert!(matches!(event, Err(RecvTimeoutError::Disconnected)), "{named}: {event:?}");
        }
    }

    #[test]
    fn next_command_waits_for_slow_browser_of_failed_one() {
        let folder = tempfile::tempdir().expect("a directory");
        let second = folder.path().join("second");
        let (sender, events) = mpsc::channel();
        let browser = Browser::Named(format!("sh -c 'exit 4' %s:touch '{}'", second.display()));
        let commands = candidates(&browser, "http://127.0.0.1:8301/go/x", Some(OsStr::new("/usr/bin:/bin")));
        assert_eq!(commands.len(), 2);
        // The browser fetches the address during the wait: the third check sees it.
        let looks = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let was_fetched = move || looks.fetch_add(1, std::sync::atomic::Ordering::SeqCst) >= 2;
        let _opening = BrowserLauncher::begin(commands, was_fetched, sender);
        let event = events.recv_timeout(LIMIT);
        assert!(matches!(event, Err(RecvTimeoutError::Disconnected)), "{event:?}");
        assert!(!second.exists(), "a second browser was opened");
    }

    #[test]
    fn hanging_command_is_stopped_unless_browser_came() {
        for fetched in [false, true] {
            let (opening, events) = open("sh -c 'sleep 60' %s", fetched);
            assert!(matches!(events.try_recv(), Err(mpsc::TryRecvError::Empty)));
            let (attempt, begin) = (Arc::clone(&opening.attempt), Instant::now());
            while lock(&attempt).child.is_none() {
                assert!(begin.elapsed() < LIMIT, "nothing was started");
                thread::sleep(PAUSE);
            }
            drop(opening);
            // Drop may already have removed it.
            let Some(mut child) = lock(&attempt).child.take() else {
                assert!(!fetched, "it was ended although it brought the browser");
                continue;
            };
            let is_over = child.try_wait().expect("our own child").is_some();
            let _ = child.kill();
            let _ = child.wait();
            assert_eq!(is_over, !fetched);
        }
    }
}
