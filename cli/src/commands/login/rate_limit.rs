//! Retries requests that the daemon rate-limits. Such a rejection does not use up the login ticket, so the sign-in is
//! not lost.

use std::thread;
use std::time::{Duration, Instant};

use infra_shared::api::ProblemCode;
use infra_shared::origin::Origin;

use crate::daemon_client::DaemonError;
use crate::terminal::Terminal;

/// Minimum wait between requests, even if the server names a shorter one.
const MIN_WAIT: Duration = Duration::from_secs(1);

/// Calls `call` again after each `Retry-After` until `deadline`.
pub(super) fn repeat<T>(
    (origin, terminal): (&Origin, Terminal),
    deadline: Instant,
    call: impl Fn() -> Result<T, DaemonError>,
) -> Result<T, DaemonError> {
    let mut is_reported = false;
    loop {
        let error = match call() {
            Err(error) if error.problem() == Some(ProblemCode::TooManyRequests) => error,
            other => return other,
        };
        let Some(wait) = error.retry_after().map(|wait| wait.max(MIN_WAIT)) else { return Err(error) };
        if wait >= deadline.saturating_duration_since(Instant::now()) {
            return Err(error);
        }
        if !is_reported {
            terminal.info(&format!(
                "{origin} limits logins from your address: trying again in {} s",
                wait.as_secs()
            ));
            is_reported = true;
        }
        thread::sleep(wait);
    }
}
