//! Revalidation and revocation at identity providers, in the background.

use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Supervision;
use crate::sessions::{ProviderJobs, Sessions};
use crate::store::StoreError;

/// The pause between checks for due work.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
enum JobKind {
    Revalidate,
    RevokeTokens,
}

impl JobKind {
    fn name(self) -> &'static str {
        match self {
            Self::Revalidate => "revalidation",
            Self::RevokeTokens => "revocation",
        }
    }

    fn jobs(self, sessions: &Sessions) -> Vec<ProviderJobs> {
        match self {
            Self::Revalidate => sessions.revalidation_jobs(),
            Self::RevokeTokens => sessions.provider_token_jobs(),
        }
    }
}

/// Works with all providers in parallel until `stopped`. Then starts nothing new and gives pending requests `drain`
/// to finish, because a lost response costs its session.
pub async fn run_provider_jobs(
    sessions: Arc<Sessions>,
    supervision: Supervision,
    mut stopped: watch::Receiver<bool>,
    drain: Duration,
) {
    let mut working = JoinSet::new();
    for kind in [JobKind::Revalidate, JobKind::RevokeTokens] {
        for provider in 0..sessions.providers().len() {
            let (sessions, supervision, stopped) = (sessions.clone(), supervision.clone(), stopped.clone());
            working.spawn(async move {
                let start = || {
                    let jobs = kind.jobs(&sessions).into_iter().nth(provider);
                    run_jobs(sessions.clone(), kind, jobs, stopped.clone())
                };
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
    jobs: Option<ProviderJobs>,
    mut stopped: watch::Receiver<bool>,
) {
    let Some(mut jobs) = jobs else { return };
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_failing = false;
    loop {
        select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break,
            true = jobs.wait_for_one() => {}
            _ = ticks.tick() => {}
        }
        let started = match kind {
            JobKind::Revalidate => sessions.revalidate_due(&mut jobs).await,
            JobKind::RevokeTokens => sessions.revoke_due_provider_tokens(&mut jobs).await,
        };
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
            JobKind::Revalidate => tracing::error!(%error, "cannot revalidate sessions"),
            JobKind::RevokeTokens => tracing::error!(%error, "cannot revoke tokens at providers"),
        }
    }
    *is_failing = started.is_err();
}
