//! One sign-in at a time. Later processes wait for the first and show its URL instead of opening a second tab.

use std::thread;
use std::time::{Duration, Instant};

use super::super::Context;
use crate::failure::{Exit, Failure};
use crate::home::{LoginLock, LoginLockAttempt};

const PAUSE: Duration = Duration::from_millis(50);

/// Acquires the login lock, and waits at most as long as a sign-in may take.
pub(super) fn acquire(context: &Context, timeout: Duration) -> Result<LoginLock, Failure> {
    let begin = Instant::now();
    let mut shown = None;
    loop {
        let url = match context.home.try_login_lock()? {
            LoginLockAttempt::Acquired(lock) => return Ok(lock),
            LoginLockAttempt::Held { url } => url,
        };
        if shown.as_ref() != Some(&url) {
            context.terminal.info(&match &url {
                Some(url) => format!("another `infra login` is waiting for the browser: {url}"),
                None => "another `infra login` is running: waiting for it to finish".to_owned(),
            });
            shown = Some(url);
        }
        if begin.elapsed() >= timeout {
            return Err(Failure::new(Exit::LoginFailed, "another `infra login` was not completed in time")
                .hint("complete it in the browser, or interrupt it and run `infra login` again"));
        }
        thread::sleep(PAUSE);
    }
}
