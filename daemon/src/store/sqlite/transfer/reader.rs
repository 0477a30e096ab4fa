//! Reads batches of rows.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::keys::FieldSealer;
use crate::store::sqlite::sessions::{DUMMY_ID, delegation};
use crate::store::transfer::{
    AudienceTokenRecord, BATCH, Batch, CLIENT_SECRET_REFERENCE, CREDENTIALS, CertificateRecord,
    ConsumedTicketRecord, GRANT, PRIVATE_KEY, Position, ProviderRecord, RefreshTokenRecord, RolloverRecord,
    Secret, SessionRecord, SettingsRecord,
};
use crate::store::{EndpointHosts, RememberedEndpoints, StoreError, time};

const SESSIONS: &str = "SELECT s.id, s.token_hash, s.issuer, s.subject, s.provider, s.name, s.email, s.email_verified, \
     s.groups, s.device, s.login_method, s.address, s.parent_id, s.audiences, s.label, s.created_at, s.expires_at, s.last_used_at, s.ended_at, s.end_reason, \
     s.revision, r.provider AS token_provider, r.sealed_grant, r.version, r.due_at, r.revoke_after, r.leased_until, \
     r.failures, r.lost_since FROM sessions s LEFT JOIN refresh_tokens r ON r.session_id = s.id \
     WHERE s.id > ?1 AND s.id <> ?2 ORDER BY s.id LIMIT ?3";
const AUDIENCE_TOKENS: &str = "SELECT id, token_hash, session_id, audience, created_at, expires_at FROM audience_tokens \
     WHERE id > ?1 AND id <> ?2 ORDER BY id LIMIT ?3";
const CONSUMED_TICKETS: &str =
    "SELECT id, expires_at FROM consumed_tickets WHERE id > ?1 ORDER BY id LIMIT ?2";

/// Returns the batch at `position`, and where the next one begins.
pub(super) fn read(
    connection: &Connection,
    sealer: &FieldSealer,
    position: &Position,
) -> Result<(Batch, Position), StoreError> {
    Ok(match position {
        Position::Sessions(after) => {
            let sessions: Vec<SessionRecord> = connection
                .prepare_cached(SESSIONS)?
                .query_and_then(params![after, DUMMY_ID, BATCH], |row| session(row, sealer))?
                .collect::<Result<_, StoreError>>()?;
            let last = last(&sessions).map(|it| it.id.clone());
            let next = last.map_or(Position::AudienceTokens(String::new()), Position::Sessions);
            (Batch::Sessions(sessions), next)
        }
        Position::AudienceTokens(after) => {
            let tokens: Vec<AudienceTokenRecord> = connection
                .prepare_cached(AUDIENCE_TOKENS)?
                .query_and_then(params![after, DUMMY_ID, BATCH], audience_token)?
                .collect::<Result<_, StoreError>>()?;
            let last = last(&tokens).map(|it| it.id.clone());
            let next = last.map_or(Position::ConsumedTickets(Vec::new()), Position::AudienceTokens);
            (Batch::AudienceTokens(tokens), next)
        }
        Position::ConsumedTickets(after) => {
            let read = |row: &Row<'_>| {
                Ok::<_, StoreError>(ConsumedTicketRecord { id: row.get(0)?, expires_at: row.get(1)? })
            };
            let tickets: Vec<ConsumedTicketRecord> = connection
                .prepare_cached(CONSUMED_TICKETS)?
                .query_and_then(params![after, BATCH], read)?
                .collect::<Result<_, StoreError>>()?;
            let last = last(&tickets).map(|it| it.id.to_vec());
            (Batch::ConsumedTickets(tickets), last.map_or(Position::Settings, Position::ConsumedTickets))
        }
        Position::Settings | Position::End => {
            (Batch::Settings(Box::new(settings(connection, sealer)?)), Position::End)
        }
    })
}

/// The last record of a batch, if another batch may follow.
fn last<T>(records: &[T]) -> Option<&T> {
    records.last().filter(|_| records.len() == BATCH as usize)
}

fn session(row: &Row<'_>, sealer: &FieldSealer) -> Result<SessionRecord, StoreError> {
    let (id, groups): (String, String) = (row.get("id")?, row.get("groups")?);
    let provider: Option<String> = row.get("token_provider")?;
    let refresh_token = provider.map(|provider| refresh_token(row, sealer, &id, provider)).transpose()?;
    Ok(SessionRecord {
        token_hash: row.get("token_hash")?,
        issuer: row.get("issuer")?,
        subject: row.get("subject")?,
        provider: row.get("provider")?,
        name: row.get("name")?,
        email: row.get("email")?,
        email_verified: row.get("email_verified")?,
        groups: serde_json::from_str(&groups).map_err(|_| StoreError::UnexpectedRow("groups"))?,
        device: row.get("device")?,
        login_method: row.get("login_method")?,
        address: row.get("address")?,
        delegation: delegation(row)?.map(Box::new),
        created_at: row.get("created_at")?,
        expires_at: row.get("expires_at")?,
        last_used_at: row.get("last_used_at")?,
        ended_at: row.get("ended_at")?,
        end_reason: row.get("end_reason")?,
        revision: row.get("revision")?,
        refresh_token,
        id,
    })
}

fn refresh_token(
    row: &Row<'_>,
    sealer: &FieldSealer,
    session: &str,
    provider: String,
) -> Result<RefreshTokenRecord, StoreError> {
    Ok(RefreshTokenRecord {
        provider,
        credential: Secret::open(sealer, GRANT, session, row.get("sealed_grant")?)?,
        version: row.get("version")?,
        due_at: row.get("due_at")?,
        revoke_after: row.get("revoke_after")?,
        leased_until: row.get("leased_until")?,
        failures: row.get("failures")?,
        lost_since: row.get("lost_since")?,
    })
}

fn audience_token(row: &Row<'_>) -> Result<AudienceTokenRecord, StoreError> {
    Ok(AudienceTokenRecord {
        id: row.get(0)?,
        token_hash: row.get(1)?,
        session: row.get(2)?,
        audience: row.get(3)?,
        created_at: row.get(4)?,
        expires_at: row.get(5)?,
    })
}

fn settings(connection: &Connection, sealer: &FieldSealer) -> Result<SettingsRecord, StoreError> {
    let providers = all(
        connection,
        "SELECT name, issuer, admission, client_secret_reference FROM providers ORDER BY name",
        |row| {
            let name: String = row.get(0)?;
            Ok(ProviderRecord {
                client_secret_reference: Secret::open(sealer, CLIENT_SECRET_REFERENCE, &name, row.get(3)?)?,
                issuer: row.get(1)?,
                allow_policy: row.get(2)?,
                name,
            })
        },
    )?;
    let certificates =
        all(connection, "SELECT name, certificate, private_key FROM certificates ORDER BY name", |row| {
            let name: String = row.get(0)?;
            let private_key = Secret::open(sealer, PRIVATE_KEY, &name, row.get(2)?)?;
            Ok(CertificateRecord { certificate: row.get(1)?, private_key, name })
        })?;
    let accounts =
        all(connection, "SELECT directory, credentials FROM acme_accounts ORDER BY directory", |row| {
            let directory: String = row.get(0)?;
            let credentials = Secret::open(sealer, CREDENTIALS, &directory, row.get(1)?)?;
            Ok((directory, credentials))
        })?;
    let pair = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let (counter, latest_time) =
        connection.query_row("SELECT counter, latest_time FROM rollback_guard", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let pause: Option<i64> =
        connection.query_row("SELECT until FROM acme_pause", [], |row| row.get(0)).optional()?;
    Ok(SettingsRecord {
        providers,
        endpoints: all(
            connection,
            "SELECT provider, issuer, hosts, changed_at, hosts_before FROM provider_endpoints ORDER BY provider",
            endpoints,
        )?,
        certificates,
        rollover: connection.query_row(
            "SELECT sequence, announced, takeover_at FROM ca_rollover",
            [],
            |row| {
                Ok(RolloverRecord { sequence: row.get(0)?, announced: row.get(1)?, takeover_at: row.get(2)? })
            },
        )?,
        accounts,
        orders: all(connection, "SELECT id, begun_at FROM acme_orders ORDER BY id", pair)?,
        successes: all(
            connection,
            "SELECT directory, obtained_at FROM acme_successes ORDER BY directory",
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?,
        pause_until: pause.unwrap_or_default(),
        latest_time,
        counter,
    })
}

fn endpoints(row: &Row<'_>) -> Result<(String, RememberedEndpoints), StoreError> {
    let hosts = |text: String| -> Result<EndpointHosts, StoreError> {
        serde_json::from_str(&text).map_err(|_| StoreError::UnexpectedRow("the hosts of a provider"))
    };
    let changed = match (row.get::<_, Option<i64>>(3)?, row.get::<_, Option<String>>(4)?) {
        (Some(at), Some(before)) => Some((time::from_database(at)?, hosts(before)?)),
        _ => None,
    };
    let endpoints = RememberedEndpoints { issuer: row.get(1)?, hosts: hosts(row.get(2)?)?, changed };
    Ok((row.get(0)?, endpoints))
}

fn all<T>(
    connection: &Connection,
    select: &str,
    read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    connection.prepare(select)?.query_and_then([], read)?.collect()
}
