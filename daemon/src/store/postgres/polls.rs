//! Polls the changes of all members, so that this member's cache stays current.

use std::sync::atomic::Ordering;
use std::time::Duration;

use deadpool::managed::Object;
use infra_shared::token_text::SessionID;
use tokio::time::{MissedTickBehavior, timeout};
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::Postgres;
use super::clock::Offset;
use super::connections::Client;
use crate::store::StoreError;
use crate::store::freshness::{Change, MAX_AGE, Poll};
use crate::store::token_cache::TokenCache;

/// From the start of one poll to the next. Two may fail without consequence.
const INTERVAL: Duration = Duration::from_millis(250);

/// Everything from one snapshot. `$1` is the known change. Beyond a thousand later ones, the cache starts again.
const POLL: &str = "SELECT value, (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS time, \
     (SELECT mark::text FROM changes WHERE number = value) AS mark, \
     (SELECT mark::text FROM changes WHERE number = $1) AS mark_of_known, \
     (SELECT count(*) FROM changes WHERE number > $1) AS later, \
     value > $1 + 1000 OR (SELECT coalesce(bool_or(is_all), false) FROM changes WHERE number > $1) AS is_all, \
     (SELECT coalesce(array_agg(id), '{}') FROM changes, unnest(session_ids) AS id \
      WHERE number > $1 AND number <= $1 + 1000) AS sessions, latest_time \
     FROM counter";
/// Later than every change, but one thousand more fit.
const NOTHING_KNOWN: i64 = i64::MAX / 2;

/// The connection of the polls. They wait for no other work.
#[derive(Default)]
struct PollConnection(Option<Client>);

impl Postgres {
    /// Polls until dropped, and removes from `cache` what has changed.
    pub(in crate::store) async fn follow_changes(&self, cache: &TokenCache) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut connection, mut is_failing) = (PollConnection::default(), false);
        loop {
            ticks.tick().await;
            // Before the snapshot: what others change after it is unknown.
            let begun = cache.freshness().elapsed();
            let asked = connection.ask(self, cache.freshness().known_change());
            match timeout(MAX_AGE, asked).await.unwrap_or(Err(StoreError::Busy)) {
                Ok(poll) => {
                    self.counter.store(poll.newest.number, Ordering::Release);
                    cache.apply(begun, poll);
                    if std::mem::take(&mut is_failing) {
                        tracing::info!("the database answers again: cached tokens count");
                    }
                }
                Err(error) => {
                    connection.close();
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(
                            %error,
                            "cannot learn from the database what changed: cached tokens do not count until it answers"
                        );
                    }
                }
            }
        }
    }
}

impl PollConnection {
    async fn ask(&mut self, postgres: &Postgres, known: Option<i64>) -> Result<Poll, StoreError> {
        let client = match &mut self.0 {
            Some(client) => client,
            none => none.insert(postgres.connections.client().await?),
        };
        let after = known.unwrap_or(NOTHING_KNOWN);
        let asked = Offset::ask();
        let row = client.query_typed_one(POLL, &[(&after, Type::INT8)]).await?;
        postgres.clock.answered(&asked, row.try_get("time")?)?;
        postgres.latest.fetch_max(row.try_get("latest_time")?, Ordering::AcqRel);
        read(after, &row)
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
    let sessions = ids.iter().map(|id| SessionID::parse(id)).collect::<Option<_>>();
    Ok(Poll {
        after,
        mark_of_known: row.try_get("mark_of_known")?,
        newest: Change { number: row.try_get("value")?, mark: row.try_get("mark")? },
        later: row.try_get("later")?,
        is_all: row.try_get("is_all")?,
        sessions: sessions.ok_or(StoreError::UnexpectedRow("a change"))?,
    })
}
