//! Revalidation and revocation at identity providers, in the background.

use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Supervision;
use crate::sessions::{Places, Sessions};
use crate::store::StoreError;

/// The pause between checks for due work.
const INTERVAL: Duration = Duration::from_secs(1);

/// The kinds of work.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// Revalidates sessions that are due.
    Ask,
    /// Revokes refresh tokens of ended sessions.
    GiveBack,
}

impl Work {
    fn name(self) -> &'static str {
        match self {
            Self::Ask => "revalidation",
            Self::GiveBack => "revocation",
        }
    }

    fn places(self, sessions: &Sessions) -> Vec<Places> {
        match self {
            Self::Ask => sessions.places_to_ask(),
            Self::GiveBack => sessions.places_to_give_back(),
        }
    }
}

/// Works with all providers in parallel until `stopped`. Then starts nothing new and gives pending requests `drain`
/// to finish, because a lost response costs its session.
pub async fn ask_providers(
    sessions: Arc<Sessions>,
    supervision: Supervision,
    mut stopped: watch::Receiver<bool>,
    drain: Duration,
) {
    let mut working = JoinSet::new();
    for work in [Work::Ask, Work::GiveBack] {
        for provider in 0..sessions.providers().len() {
            let (sessions, supervision, stopped) = (sessions.clone(), supervision.clone(), stopped.clone());
            working.spawn(async move {
                let begin = || {
                    let places = work.places(&sessions).into_iter().nth(provider);
                    work_with(sessions.clone(), work, places, stopped.clone())
                };
                supervision.keep_running(work.name(), begin).await;
            });
        }
    }
    let _ = stopped.wait_for(|stopped| *stopped).await;
    let ending = async { while working.join_next().await.is_some() {} };
    if timeout(drain, ending).await.is_err() {
        tracing::warn!("providers did not answer in time, and are not waited for any longer");
    }
}

async fn work_with(
    sessions: Arc<Sessions>,
    work: Work,
    places: Option<Places>,
    mut stopped: watch::Receiver<bool>,
) {
    let Some(mut places) = places else { return };
    let mut turns = interval(INTERVAL);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_failing = false;
    loop {
        select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break,
            true = places.one_is_done() => {}
            _ = turns.tick() => {}
        }
        let begun = match work {
            Work::Ask => sessions.ask_about_due(&mut places).await,
            Work::GiveBack => sessions.give_back_due(&mut places).await,
        };
        tell(work, &begun, &mut is_failing);
    }
    while places.one_is_done().await {}
}

/// Logs a failure once, not every second.
fn tell(work: Work, begun: &Result<usize, StoreError>, is_failing: &mut bool) {
    if let Err(error) = begun
        && !*is_failing
    {
        match work {
            Work::Ask => tracing::error!(%error, "cannot ask again about sessions"),
            Work::GiveBack => tracing::error!(%error, "cannot give tokens back to providers"),
        }
    }
    *is_failing = begun.is_err();
}
