//! Facts about the servers of a database, for `infrad check --live`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::types::Type;

use super::connector::Connector;
use super::database::PostgresDatabase;
use super::error::describe;
use super::settings::DatabaseHost;

/// How long all questions to one server may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A setting of the session, which another client sees only behind a pooler in transaction mode.
const PROBE: &str = "infrad.probe";

/// What one of the configured hosts answered.
pub struct HostReport {
    pub host: String,
    pub facts: Result<ServerFacts, String>,
}

#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is one answer of the server")]
pub struct ServerFacts {
    /// For people, such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// Major and minor, such as 150018.
    pub version_number: i32,
    /// The version of TLS between server and client or pooler; `None` over a socket.
    pub tls: Option<String>,
    pub is_standby: bool,
    /// Which standbys confirm a commit before it is acknowledged; empty for none.
    pub synchronous_standbys: String,
    pub connected_standbys: i64,
    pub synchronous_commit: String,
    pub is_durable: bool,
    pub is_superuser: bool,
    /// How far the server's clock is ahead of this one.
    pub clock_ahead: SignedDuration,
    /// Whether a pooler gives each transaction another session.
    pub is_pooled: bool,
    pub schema: Option<u32>,
}

impl PostgresDatabase {
    /// Asks each of the configured hosts. `now` is read before and after, because an answer takes time.
    pub async fn diagnose(&self, now: impl Fn() -> Timestamp) -> Vec<HostReport> {
        let connector = self.connections.connector();
        let mut reports = Vec::new();
        for host in &connector.settings().hosts {
            let asking = async {
                let client = connector.connect_to(host, TargetSessionAttrs::Any).await?;
                let mut facts = ask(&client, &now).await.map_err(|error| describe(&error))?;
                facts.is_pooled = is_pooled(&client, connector, host).await?;
                Ok(facts)
            };
            let facts = timeout(PATIENCE, asking).await;
            let facts =
                facts.unwrap_or_else(|_| Err(format!("it did not answer within {} s", PATIENCE.as_secs())));
            reports.push(HostReport { host: host.to_string(), facts });
        }
        reports
    }
}

async fn ask(client: &Client, now: &impl Fn() -> Timestamp) -> Result<ServerFacts, tokio_postgres::Error> {
    let settings = client
        .query_typed_one(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int, pg_is_in_recovery(), \
             current_setting('synchronous_standby_names'), (SELECT count(*) FROM pg_stat_replication), \
             current_setting('synchronous_commit'), \
             current_setting('fsync')::bool AND current_setting('full_page_writes')::bool, \
             (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), \
             (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid())",
            &[],
        )
        .await?;
    let before = now();
    let clock = client
        .query_typed_one("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint", &[])
        .await?
        .try_get::<_, i64>(0)?;
    let after = now();
    let middle = before + after.duration_since(before) / 2;
    let exists = client.query_typed_one("SELECT to_regclass('schema_version') IS NOT NULL", &[]).await?;
    let schema = if exists.try_get(0)? {
        client.query_typed_opt("SELECT version FROM schema_version", &[]).await?
    } else {
        None
    };
    let schema = schema.map(|row| row.try_get::<_, i32>(0)).transpose()?;
    Ok(ServerFacts {
        version: settings.try_get(0)?,
        version_number: settings.try_get(1)?,
        is_standby: settings.try_get(2)?,
        synchronous_standbys: settings.try_get(3)?,
        connected_standbys: settings.try_get(4)?,
        synchronous_commit: settings.try_get(5)?,
        is_durable: settings.try_get(6)?,
        is_superuser: settings.try_get::<_, Option<bool>>(7)?.unwrap_or_default(),
        tls: settings.try_get(8)?,
        clock_ahead: SignedDuration::from_millis(clock - middle.as_millisecond()),
        is_pooled: false,
        schema: schema.and_then(|schema| u32::try_from(schema).ok()),
    })
}

/// Whether a second connection sees the session of the first one, which is idle. A pooler in transaction mode gives it the
/// same session.
async fn is_pooled(client: &Client, connector: &Connector, host: &DatabaseHost) -> Result<bool, String> {
    let set = async |value: &str| {
        let statement = "SELECT set_config($1, $2, false)";
        let set = client.execute_typed(statement, &[(&PROBE, Type::TEXT), (&value, Type::TEXT)]).await;
        set.map(drop).map_err(|error| describe(&error))
    };
    set("seen").await?;
    let other = connector.connect_to(host, TargetSessionAttrs::Any).await?;
    let seen = other
        .query_typed_one("SELECT coalesce(current_setting($1, true), '') = 'seen'", &[(&PROBE, Type::TEXT)])
        .await
        .and_then(|row| row.try_get(0))
        .map_err(|error| describe(&error))?;
    set("").await?;
    Ok(seen)
}
