//! Retries requests that the daemon rate-limits. Such a rejection does not use up the login ticket, so the sign-in is
//! not lost.

use std::time::{Duration, Instant};

use infra_shared::api::ProblemCode;
use infra_shared::origin::Origin;

use crate::daemon_client::DaemonError;
use crate::failure::Failure;
use crate::terminal::Terminal;

/// Minimum wait between requests, even if the server names a shorter one.
const MIN_WAIT: Duration = Duration::from_secs(1);

/// Repeats requests of one sign-in until `deadline`.
pub(super) struct Retry<'a> {
    pub(super) origin: &'a Origin,
    pub(super) terminal: Terminal,
    pub(super) deadline: Instant,
}

impl Retry<'_> {
    /// Calls `call` again after each `Retry-After`, unless `pause` fails.
    pub(super) fn call<T>(
        &self,
        call: impl Fn() -> Result<T, DaemonError>,
        pause: impl Fn(Duration) -> Result<(), Failure>,
    ) -> Result<T, Failure> {
        let mut is_reported = false;
        loop {
            let error = match call() {
                Ok(result) => return Ok(result),
                Err(error) => error,
            };
            let is_limited = error.problem() == Some(ProblemCode::TooManyRequests);
            let wait = error.retry_after().filter(|_| is_limited).map(|wait| wait.max(MIN_WAIT));
            let left = self.deadline.saturating_duration_since(Instant::now());
            let Some(wait) = wait.filter(|wait| *wait < left) else {
                return Err(error.to_failure(self.origin));
            };
            if !is_reported {
                self.terminal.info(&format!(
                    "{} limits sign-ins from your address: trying again in {} s",
                    self.origin,
                    wait.as_secs()
                ));
                is_reported = true;
            }
            pause(wait)?;
        }
    }
}
