//! Revalidation and revocation at identity providers, in the background.

use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Supervision;
use crate::sessions::{ProviderSlots, Sessions};
use crate::store::StoreError;

/// The pause between checks for due work.
const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
enum Work {
    Revalidate,
    RevokeTokens,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Self::Revalidate => "revalidation",
            Self::RevokeTokens => "revocation",
        }
    }

    fn slots(self, sessions: &Sessions) -> Vec<ProviderSlots> {
        match self {
            Self::Revalidate => sessions.revalidation_slots(),
            Self::RevokeTokens => sessions.provider_token_slots(),
        }
    }
}

/// Works with all providers in parallel until `stopped`. Then starts nothing new and gives pending requests `drain`
/// to finish, because a lost response costs its session.
pub async fn work_with_providers(
    sessions: Arc<Sessions>,
    supervision: Supervision,
    mut stopped: watch::Receiver<bool>,
    drain: Duration,
) {
    let mut working = JoinSet::new();
    for work in [Work::Revalidate, Work::RevokeTokens] {
        for provider in 0..sessions.providers().len() {
            let (sessions, supervision, stopped) = (sessions.clone(), supervision.clone(), stopped.clone());
            working.spawn(async move {
                let start = || {
                    let slots = work.slots(&sessions).into_iter().nth(provider);
                    work_with_one(sessions.clone(), work, slots, stopped.clone())
                };
                supervision.keep_running(work.name(), start).await;
            });
        }
    }
    let _ = stopped.wait_for(|stopped| *stopped).await;
    let ending = async { while working.join_next().await.is_some() {} };
    if timeout(drain, ending).await.is_err() {
        tracing::warn!("stopping: gave up waiting for providers");
    }
}

async fn work_with_one(
    sessions: Arc<Sessions>,
    work: Work,
    slots: Option<ProviderSlots>,
    mut stopped: watch::Receiver<bool>,
) {
    let Some(mut slots) = slots else { return };
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_failing = false;
    loop {
        select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break,
            true = slots.wait_for_one() => {}
            _ = ticks.tick() => {}
        }
        let started = match work {
            Work::Revalidate => sessions.revalidate_due(&mut slots).await,
            Work::RevokeTokens => sessions.revoke_due_provider_tokens(&mut slots).await,
        };
        log_failure(work, &started, &mut is_failing);
    }
    while slots.wait_for_one().await {}
}

/// Logs a failure once, not every second.
fn log_failure(work: Work, started: &Result<usize, StoreError>, is_failing: &mut bool) {
    if let Err(error) = started
        && !*is_failing
    {
        match work {
            Work::Revalidate => tracing::error!(%error, "cannot revalidate sessions"),
            Work::RevokeTokens => tracing::error!(%error, "cannot revoke tokens at providers"),
        }
    }
    *is_failing = started.is_err();
}
