//! What identity providers are asked, and given back, without anybody waiting for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::sessions::Sessions;
use crate::store::StoreError;

/// How often is looked whether something is due.
const INTERVAL: Duration = Duration::from_secs(1);

/// Asks again about sessions that are due.
pub(super) async fn ask_again(sessions: &Arc<Sessions>) {
    let (mut turns, mut is_failing) = (turns(), false);
    loop {
        turns.tick().await;
        tell(&sessions.revalidate_due().await, &mut is_failing, "cannot ask again about sessions");
    }
}

/// Gives back what was given for sessions that are over.
pub(super) async fn give_back(sessions: &Arc<Sessions>) {
    let (mut turns, mut is_failing) = (turns(), false);
    loop {
        turns.tick().await;
        tell(&sessions.revoke_ended().await, &mut is_failing, "cannot give tokens back to providers");
    }
}

fn turns() -> Interval {
    let mut turns = interval(INTERVAL);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns
}

/// Tells of a failure once, not every second.
fn tell(done: &Result<usize, StoreError>, is_failing: &mut bool, what: &str) {
    if let Err(error) = done
        && !*is_failing
    {
        tracing::error!(%error, "{what}");
    }
    *is_failing = done.is_err();
}
