//! Revalidation and revocation at identity providers, in the background.

use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Supervision, ticks};
use crate::sessions::{JobKind, ProviderJobs, Sessions};
use crate::store::StoreError;

/// The pause between checks for due work.
const INTERVAL: Duration = Duration::from_secs(1);

/// Works with all providers in parallel until `stopped`. Then starts nothing new and gives pending requests `drain`
/// to finish, because a lost response costs its session.
pub async fn run_provider_jobs(
    sessions: Arc<Sessions>,
    supervision: Supervision,
    mut stopped: watch::Receiver<bool>,
    drain: Duration,
) {
    let mut working = JoinSet::new();
    for kind in JobKind::ALL {
        for provider in sessions.providers() {
            let provider = provider.settings().name.clone();
            let (sessions, supervision, stopped) = (sessions.clone(), supervision.clone(), stopped.clone());
            working.spawn(async move {
                let start = || run_jobs(sessions.clone(), kind, provider.clone(), stopped.clone());
                supervision.keep_running(kind.name(), start).await;
            });
        }
    }
    let _ = stopped.wait_for(|stopped| *stopped).await;
    let ending = async { while working.join_next().await.is_some() {} };
    if timeout(drain, ending).await.is_err() {
        tracing::warn!("stopping: gave up waiting for providers");
    }
}

async fn run_jobs(
    sessions: Arc<Sessions>,
    kind: JobKind,
    provider: String,
    mut stopped: watch::Receiver<bool>,
) {
    let mut jobs = ProviderJobs::new(kind, &provider);
    let mut ticks = ticks(INTERVAL);
    let mut is_failing = false;
    loop {
        select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break,
            true = jobs.wait_for_one() => {}
            _ = ticks.tick() => {}
        }
        let started = sessions.start_due(&mut jobs).await;
        log_failure(kind, &started, &mut is_failing);
    }
    while jobs.wait_for_one().await {}
}

/// Logs a failure once, not every second.
fn log_failure(kind: JobKind, started: &Result<usize, StoreError>, is_failing: &mut bool) {
    if let Err(error) = started
        && !*is_failing
    {
        match kind {
            // The heartbeat logs an outage.
            _ if error.is_transient() => tracing::debug!(%error, "cannot read what to do at providers"),
            JobKind::Revalidation => tracing::error!(%error, "cannot revalidate sessions"),
            JobKind::Revocation => tracing::error!(%error, "cannot revoke tokens at providers"),
        }
    }
    *is_failing = started.is_err();
}
