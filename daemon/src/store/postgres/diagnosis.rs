//! Facts about the servers of a database, for `infrad check --live`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::types::Type;

use super::connector::{ConnectFailure, Connector};
use super::database::PostgresDatabase;
use super::error::describe;
use super::schema;
use super::settings::DatabaseHost;

/// How long all questions to one server may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a write may take. Then the server waits for another one.
const WRITE: Duration = Duration::from_secs(4);
/// The rights on the tables of infra that the role lacks.
const LACKING: &str = "SELECT p || ' on ' || c.relname::text FROM pg_class v \
    JOIN pg_class c ON c.relnamespace = v.relnamespace AND c.relowner = v.relowner AND c.relkind = 'r' \
    CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p \
    WHERE v.oid = to_regclass('schema_version') AND NOT has_table_privilege(c.oid, p) ORDER BY 1";
/// A setting of the session, which another client sees only behind a pooler in transaction mode.
const PROBE: &str = "infrad.probe";

/// What one of the configured hosts answered.
pub struct HostReport {
    pub host: String,
    pub facts: Result<ServerFacts, ConnectFailure>,
}

/// What a write of `infrad check --live` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// There is no schema yet, or the server is a standby.
    Untested,
    Done,
    /// No answer in this many seconds.
    Hangs(u64),
    Failed(String),
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
    /// How many of them confirm commits. `None` if the role may not see it.
    pub confirming_standbys: Option<i64>,
    pub synchronous_commit: String,
    pub is_durable: bool,
    pub is_superuser: bool,
    /// How far the server's clock is ahead of this one.
    pub clock_ahead: SignedDuration,
    /// Whether a pooler gives each transaction another session.
    pub is_pooled: bool,
    pub schema: Option<u32>,
    /// The rights that the role lacks, such as `INSERT on sessions`.
    pub lacking: Vec<String>,
    pub written: Written,
}

impl PostgresDatabase {
    /// Asks each of the configured hosts. `now` is read before and after, because an answer takes time.
    pub async fn diagnose(&self, now: impl Fn() -> Timestamp) -> Vec<HostReport> {
        let connector = self.connections.connector();
        let mut reports = Vec::new();
        for host in &connector.settings().hosts {
            let asking = async {
                let client = connector.connect_to(host, TargetSessionAttrs::Any).await?;
                let mut facts = ask(&client, &now).await?;
                facts.is_pooled = is_pooled(&client, connector, host).await?;
                if !facts.is_standby && facts.schema.is_some() && facts.lacking.is_empty() {
                    facts.written = write(&client, connector, host).await;
                }
                Ok(facts)
            };
            let facts = timeout(PATIENCE, asking).await;
            let facts = facts.unwrap_or_else(|_| Err(ConnectFailure::unanswered(PATIENCE)));
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
             (SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()), \
             (SELECT CASE WHEN bool_or(sync_state IS NULL) THEN NULL \
                 ELSE count(*) FILTER (WHERE sync_state IN ('sync', 'quorum')) END FROM pg_stat_replication), \
             NOT pg_is_in_recovery() AND current_setting('transaction_read_only')::bool",
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
    let readable = "SELECT coalesce(has_table_privilege(to_regclass('schema_version'), 'SELECT'), false)";
    let schema = if client.query_typed_one(readable, &[]).await?.try_get(0)? {
        client.query_typed_opt("SELECT version FROM schema_version", &[]).await?
    } else {
        None
    };
    let schema = schema.map(|row| row.try_get::<_, i32>(0)).transpose()?;
    let mut lacking = Vec::new();
    if settings.try_get::<_, bool>(10)? {
        lacking.push("writing: `default_transaction_read_only` is on".to_owned());
    }
    if let Some(row) = client.query_typed_opt(schema::HIDDEN, &[]).await? {
        lacking.push(format!("USAGE on the schema {}", row.try_get::<_, &str>(0)?));
    }
    for row in client.query_typed(LACKING, &[]).await? {
        lacking.push(row.try_get(0)?);
    }
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
        confirming_standbys: settings.try_get(9)?,
        lacking,
        written: Written::Untested,
    })
}

/// Whether a second connection sees the session of the first one, which is idle. A pooler in transaction mode gives it the
/// same session.
async fn is_pooled(
    client: &Client,
    connector: &Connector,
    host: &DatabaseHost,
) -> Result<bool, ConnectFailure> {
    let set = async |value: &str| {
        let statement = "SELECT set_config($1, $2, false)";
        let set = client.execute_typed(statement, &[(&PROBE, Type::TEXT), (&value, Type::TEXT)]).await;
        set.map(drop)
    };
    set("seen").await?;
    let other = connector.connect_to(host, TargetSessionAttrs::Any).await?;
    let seen = other
        .query_typed_one("SELECT coalesce(current_setting($1, true), '') = 'seen'", &[(&PROBE, Type::TEXT)])
        .await
        .and_then(|row| row.try_get(0))?;
    set("").await?;
    Ok(seen)
}

/// Writes what is there already, as durably as the daemon does.
async fn write(client: &Client, connector: &Connector, host: &DatabaseHost) -> Written {
    let writing = client.execute_typed("UPDATE write_probe SET contents = contents", &[]);
    match timeout(WRITE, writing).await {
        Ok(Ok(_)) => Written::Done,
        Ok(Err(error)) => Written::Failed(describe(&error)),
        Err(_) => {
            connector.cancel(host, client).await;
            Written::Hangs(WRITE.as_secs())
        }
    }
}
