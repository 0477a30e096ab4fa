//! Writes batches of rows to a new database.

use std::path::Path;

use rusqlite::{Connection, Transaction, params};

use crate::keys::{DigestKey, FieldSealer};
use crate::store::sqlite::{copy, guard};
use crate::store::transfer::{
    AudienceTokenRecord, Batch, CLIENT_SECRET_REFERENCE, CREDENTIALS, GRANT, PRIVATE_KEY, RefreshTokenRecord,
    SessionRecord, SettingsRecord,
};
use crate::store::{EndpointHosts, StoreError, time};

pub(super) fn write(
    transaction: &Transaction<'_>,
    sealer: &FieldSealer,
    batch: &Batch,
) -> Result<(), StoreError> {
    match batch {
        Batch::Sessions(sessions) => sessions.iter().try_for_each(|it| session(transaction, sealer, it)),
        Batch::AudienceTokens(tokens) => tokens.iter().try_for_each(|it| audience_token(transaction, it)),
        Batch::ConsumedTickets(tickets) => {
            let mut insert = transaction
                .prepare_cached("INSERT INTO consumed_tickets (id, expires_at) VALUES (?1, ?2)")?;
            for ticket in tickets {
                insert.execute(params![ticket.id, ticket.expires_at])?;
            }
            Ok(())
        }
        Batch::Settings(settings) => self::settings(transaction, sealer, settings),
    }
}

/// Makes the digests of the rollback guard from what was written, and verifies the database. `counter` is the one to exceed.
pub(super) fn finish(
    connection: &mut Connection,
    path: &Path,
    key: &DigestKey,
    (counter, latest_time): (u64, i64),
) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    guard::accept(&transaction, key, counter, latest_time)?;
    transaction.commit()?;
    copy::verify(connection, path)
}

fn session(
    transaction: &Transaction<'_>,
    sealer: &FieldSealer,
    session: &SessionRecord,
) -> Result<(), StoreError> {
    let json = |texts: &[String]| serde_json::to_string(texts).expect("a list of strings is JSON");
    let (groups, delegation) = (json(&session.groups), session.delegation.as_deref());
    transaction
        .prepare_cached(
            "INSERT INTO sessions (id, token_hash, issuer, subject, provider, name, email, email_verified, groups, device, \
             login_method, address, created_at, expires_at, last_used_at, ended_at, end_reason, revision, parent_id, \
             audiences, label) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
        )?
        .execute(params![
            session.id,
            session.token_hash,
            session.issuer,
            session.subject,
            session.provider,
            session.name,
            session.email,
            session.email_verified,
            groups,
            session.device,
            session.login_method,
            session.address,
            session.created_at,
            session.expires_at,
            session.last_used_at,
            session.ended_at,
            session.end_reason,
            session.revision,
            delegation.map(|it| it.parent.as_str()),
            delegation.map(|it| json(&it.audiences)),
            delegation.map(|it| it.label.as_str()),
        ])?;
    let Some(token) = &session.refresh_token else { return Ok(()) };
    refresh_token(transaction, sealer, &session.id, token)
}

fn refresh_token(
    transaction: &Transaction<'_>,
    sealer: &FieldSealer,
    session: &str,
    token: &RefreshTokenRecord,
) -> Result<(), StoreError> {
    let grant = token.credential.seal(sealer, GRANT, session);
    transaction
        .prepare_cached(
            "INSERT INTO refresh_tokens (session_id, provider, sealed_grant, version, due_at, revoke_after, leased_until, \
             failures, lost_since) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            session,
            token.provider,
            grant.as_bytes(),
            token.version,
            token.due_at,
            token.revoke_after,
            token.leased_until,
            token.failures,
            token.lost_since,
        ])?;
    Ok(())
}

fn audience_token(transaction: &Transaction<'_>, token: &AudienceTokenRecord) -> Result<(), StoreError> {
    transaction
        .prepare_cached(
            "INSERT INTO audience_tokens (id, token_hash, session_id, audience, created_at, expires_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            token.id,
            token.token_hash,
            token.session,
            token.audience,
            token.created_at,
            token.expires_at,
        ])?;
    Ok(())
}

fn settings(
    transaction: &Transaction<'_>,
    sealer: &FieldSealer,
    settings: &SettingsRecord,
) -> Result<(), StoreError> {
    for provider in &settings.providers {
        let reference =
            provider.client_secret_reference.seal(sealer, CLIENT_SECRET_REFERENCE, &provider.name);
        transaction.execute(
            "INSERT INTO providers (name, issuer, admission, client_secret_reference) VALUES (?1, ?2, ?3, ?4)",
            params![provider.name, provider.issuer, provider.allow_policy, reference.as_bytes()],
        )?;
    }
    let json = |hosts: &EndpointHosts| serde_json::to_string(hosts).expect("texts are JSON");
    for (provider, endpoints) in &settings.endpoints {
        let changed = endpoints.changed.as_ref();
        transaction.execute(
            "INSERT INTO provider_endpoints (provider, issuer, hosts, changed_at, hosts_before) \
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                provider,
                endpoints.issuer,
                json(&endpoints.hosts),
                changed.map(|(at, _)| time::to_database(*at)),
                changed.map(|(_, before)| json(before)),
            ],
        )?;
    }
    for certificate in &settings.certificates {
        let private_key = certificate.private_key.seal(sealer, PRIVATE_KEY, &certificate.name);
        transaction.execute(
            "INSERT INTO certificates (name, certificate, private_key) VALUES (?1, ?2, ?3)",
            params![certificate.name, certificate.certificate, private_key.as_bytes()],
        )?;
    }
    acme(transaction, sealer, settings)?;
    let rollover = &settings.rollover;
    transaction.execute(
        "UPDATE ca_rollover SET sequence = ?1, announced = ?2, takeover_at = ?3",
        params![rollover.sequence, rollover.announced, rollover.takeover_at],
    )?;
    Ok(())
}

fn acme(
    transaction: &Transaction<'_>,
    sealer: &FieldSealer,
    settings: &SettingsRecord,
) -> Result<(), StoreError> {
    for (directory, credentials) in &settings.accounts {
        let credentials = credentials.seal(sealer, CREDENTIALS, directory);
        transaction.execute(
            "INSERT INTO acme_accounts (directory, credentials) VALUES (?1, ?2)",
            params![directory, credentials.as_bytes()],
        )?;
    }
    for order in &settings.orders {
        transaction.execute("INSERT INTO acme_orders (id, begun_at) VALUES (?1, ?2)", [order.0, order.1])?;
    }
    for (directory, obtained_at) in &settings.successes {
        transaction.execute(
            "INSERT INTO acme_successes (directory, obtained_at) VALUES (?1, ?2)",
            params![directory, obtained_at],
        )?;
    }
    if settings.pause_until > 0 {
        transaction.execute("INSERT INTO acme_pause (only, until) VALUES (1, ?1)", [settings.pause_until])?;
    }
    Ok(())
}
