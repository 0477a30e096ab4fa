//! Polls the changes of all members, so that this member's cache stays current and lost commits are found.

use std::sync::atomic::Ordering;
use std::time::Duration;

use deadpool::managed::Object;
use infra_shared::clock::Clock;
use infra_shared::token_text::SessionID;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::Postgres;
use super::changes::ORIGIN;
use super::clock::{NOW, Offset};
use super::connections::{Client, Connections};
use super::lost_commits::Found;
use crate::store::freshness::{Change, MAX_AGE, Poll};
use crate::store::token_cache::TokenCache;
use crate::store::{RevokedAgain, StoreError};

/// From the start of one poll to the next. Two may fail without consequence.
const INTERVAL: Duration = Duration::from_millis(250);

/// Later than every change.
const NOTHING_KNOWN: i64 = i64::MAX;

/// The connection of the polls. They wait for no other work.
#[derive(Default)]
struct PollConnection(Option<Client>);

/// The answer to a poll, and what it says about lost commits.
struct Answer {
    poll: Poll,
    /// The mark that the revocation has now which no poll had found before.
    mark_of_unconfirmed: Option<String>,
    is_restored: bool,
    latest_time: i64,
}

/// Everything from one snapshot. `$1` is the known change, `$2` an unconfirmed one. Beyond a thousand later ones, the cache
/// starts again.
fn statement() -> String {
    format!(
        "SELECT value, {NOW} AS time, \
         (SELECT left(mark, 64) FROM changes WHERE number = value) AS mark, \
         (SELECT left(mark, 64) FROM changes WHERE number = $1) AS mark_of_known, \
         (SELECT left(mark, 64) FROM changes WHERE number = $2) AS mark_of_unconfirmed, \
         (SELECT count(*) FROM changes WHERE number > $1) AS later, \
         value - 1000 > $1 OR (SELECT coalesce(bool_or(is_all) OR sum(cardinality(session_ids)) > 100000, false) \
          FROM changes WHERE number > $1) AS is_all, \
         ARRAY(SELECT id FROM changes, unnest(session_ids) AS id \
          WHERE number > $1 AND number - 1000 <= $1 AND octet_length(id) = 10 LIMIT 100000) AS sessions, \
         origin IS DISTINCT FROM {ORIGIN} AS is_restored, latest_time FROM counter"
    )
}

impl Postgres {
    /// Polls until dropped, removes from `cache` what has changed, and revokes again what the database lost. Calls `report`
    /// after that.
    pub(in crate::store) async fn follow_changes(
        &self,
        cache: &TokenCache,
        clock: &dyn Clock,
        report: impl Fn(RevokedAgain),
    ) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut connection, statement) = (PollConnection::default(), statement());
        let (mut is_failing, mut is_repair_failing) = (false, false);
        loop {
            ticks.tick().await;
            let opened = connection.open(&self.connections).await;
            // Before the snapshot: what changes after it is unknown.
            let begun = cache.freshness().elapsed();
            let (known, own) = (cache.freshness().known_change(), self.recent.unconfirmed());
            let answered = match opened {
                Ok(client) => {
                    let asked = self.ask(client, &statement, known, own.as_ref());
                    timeout(MAX_AGE, asked)
                        .await
                        .unwrap_or(Err(StoreError::NoAnswer { seconds: MAX_AGE.as_secs() }))
                }
                Err(error) => Err(error),
            };
            match answered {
                Ok(answer) => {
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("the database answers again: cached tokens are current");
                    }
                    let repaired = self.apply(cache, begun, answer, own.as_ref(), clock).await;
                    is_repair_failing = match repaired {
                        Ok(again) => {
                            again.inspect(RevokedAgain::log).into_iter().for_each(&report);
                            false
                        }
                        Err(error) => {
                            if !is_repair_failing {
                                tracing::error!(%error, "cannot revoke again what the database lost: retrying");
                            }
                            true
                        }
                    };
                }
                Err(error) => {
                    connection.close();
                    // A slow answer is no outage: others may sign out meanwhile.
                    cache.freshness().miss(matches!(error, StoreError::Unavailable { .. }));
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(
                            %error,
                            "cannot learn from the database what changed: cached tokens are not current until it answers"
                        );
                    }
                }
            }
        }
    }

    async fn apply(
        &self,
        cache: &TokenCache,
        begun: Duration,
        answer: Answer,
        own: Option<&Change>,
        clock: &dyn Clock,
    ) -> Result<Option<RevokedAgain>, StoreError> {
        let Answer { poll, mark_of_unconfirmed, is_restored, latest_time } = answer;
        let newest = poll.newest.number;
        self.learn_latest(latest_time);
        let known = self.counter.swap(newest, Ordering::AcqRel);
        let loss = cache.apply(begun, poll);
        let mark_of_unconfirmed = mark_of_unconfirmed.as_deref();
        let found = Found { newest, is_restored, unconfirmed: own, mark_of_unconfirmed };
        self.repair(cache, known, loss, &found, self.not_before_latest(clock.now())).await
    }

    async fn ask(
        &self,
        client: &Client,
        statement: &str,
        known: Option<i64>,
        unconfirmed: Option<&Change>,
    ) -> Result<Answer, StoreError> {
        let after = known.unwrap_or(NOTHING_KNOWN);
        let unconfirmed = unconfirmed.map(|change| change.number);
        let asked = Offset::ask();
        let row =
            client.query_typed_one(statement, &[(&after, Type::INT8), (&unconfirmed, Type::INT8)]).await?;
        self.clock.answered(&asked, row.try_get("time")?)?;
        Ok(Answer {
            poll: read(after, &row)?,
            mark_of_unconfirmed: row.try_get("mark_of_unconfirmed")?,
            is_restored: row.try_get("is_restored")?,
            latest_time: row.try_get("latest_time")?,
        })
    }
}

impl PollConnection {
    /// May take longer than an answer: the first hosts may be away.
    async fn open(&mut self, connections: &Connections) -> Result<&Client, StoreError> {
        match &mut self.0 {
            Some(client) => Ok(client),
            none => Ok(none.insert(connections.client().await?)),
        }
    }

    /// Closes the connection, which may still run a statement.
    fn close(&mut self) {
        if let Some(client) = self.0.take() {
            drop(Object::take(client));
        }
    }
}

impl Drop for PollConnection {
    fn drop(&mut self) {
        self.close();
    }
}

fn read(after: i64, row: &Row) -> Result<Poll, StoreError> {
    let ids: Vec<String> = row.try_get("sessions")?;
    // Rows that infrad did not write have ended too.
    let sessions = ids.iter().filter_map(|id| SessionID::parse(id)).collect();
    Ok(Poll {
        after,
        mark_of_known: row.try_get("mark_of_known")?,
        newest: Change { number: row.try_get("value")?, mark: row.try_get("mark")? },
        later: row.try_get("later")?,
        is_all: row.try_get("is_all")?,
        sessions,
    })
}
