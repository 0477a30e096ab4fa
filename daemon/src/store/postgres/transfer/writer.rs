//! Seals and writes batches of rows.

use tokio_postgres::Transaction;

use crate::keys::{FieldSealer, RowKeys};
use crate::store::certificates::{AUTHORITY, NEXT_AUTHORITY};
use crate::store::postgres::acme::{ACCOUNTS, SUCCESSES};
use crate::store::postgres::audience_tokens::AudienceTokenPlace;
use crate::store::postgres::authorities::Authorities;
use crate::store::postgres::provider_endpoints::ENDPOINTS;
use crate::store::postgres::providers::provider_key;
use crate::store::postgres::session_rows::{Contents, SessionPlace};
use crate::store::postgres::statements::parameters;
use crate::store::postgres::{certificates, providers, refresh_tokens};
use crate::store::transfer::{
    AudienceTokenRecord, Batch, CLIENT_SECRET_REFERENCE, CREDENTIALS, ConsumedTicketRecord, PRIVATE_KEY,
    RefreshTokenRecord, SessionRecord, SettingsRecord,
};
use crate::store::{CertificateRow, ProviderRow, StoreError, TokenHash};

/// `member` lists the providers, as one that has stopped.
pub(super) async fn write(
    transaction: &Transaction<'_>,
    keys: &RowKeys,
    sealer: &FieldSealer,
    member: &str,
    batch: &Batch,
) -> Result<(), StoreError> {
    match batch {
        Batch::Sessions(sessions) => {
            write_sessions(transaction, keys, sessions).await?;
            let tokens: Vec<(&str, &RefreshTokenRecord)> = sessions
                .iter()
                .filter_map(|session| Some((session.id.as_str(), session.refresh_token.as_ref()?)))
                .collect();
            write_refresh_tokens(transaction, keys, &tokens).await
        }
        Batch::AudienceTokens(tokens) => write_audience_tokens(transaction, keys, tokens).await,
        Batch::ConsumedTickets(tickets) => write_consumed_tickets(transaction, tickets).await,
        Batch::Settings(settings) => write_settings(transaction, keys, sealer, member, settings).await,
    }
}

async fn write_sessions(
    transaction: &Transaction<'_>,
    keys: &RowKeys,
    sessions: &[SessionRecord],
) -> Result<(), StoreError> {
    let (mut token_macs, mut user_keys, mut subject_keys, mut email_keys) =
        <(Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
    let (mut key_versions, mut sealed, mut has_address) = <(Vec<_>, Vec<_>, Vec<_>)>::default();
    for session in sessions {
        let (place, contents) = (place_of(session, keys), contents_of(session));
        let (row, columns) =
            (place.seal(keys, &TokenHash(session.token_hash), &contents), contents.columns(keys));
        token_macs.push(place.token_mac);
        user_keys.push(place.user_key);
        subject_keys.push(columns.subject_key.to_vec());
        email_keys.push(columns.email_key);
        key_versions.push(row.key_version);
        sealed.push(row.bytes);
        has_address.push(columns.has_address);
    }
    let ids: Vec<&str> = sessions.iter().map(|it| it.id.as_str()).collect();
    let parents: Vec<Option<&str>> =
        sessions.iter().map(|it| it.delegation.as_ref().map(|it| it.parent.as_str())).collect();
    let end_reasons: Vec<Option<&str>> = sessions.iter().map(|it| it.end_reason.as_deref()).collect();
    let times = |time: fn(&SessionRecord) -> i64| sessions.iter().map(time).collect::<Vec<i64>>();
    let insert = "INSERT INTO sessions (id, token_mac, user_key, subject_key, email_key, key_version, sealed, has_address, \
                  created_at, expires_at, last_used_at, ended_at, end_reason, revision, parent_id) \
                  SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";
    transaction
        .execute_typed(
            insert,
            parameters![
                ids,
                token_macs,
                user_keys,
                subject_keys,
                email_keys,
                key_versions,
                sealed,
                has_address,
                times(|it| it.created_at),
                times(|it| it.expires_at),
                times(|it| it.last_used_at),
                sessions.iter().map(|it| it.ended_at).collect::<Vec<Option<i64>>>(),
                end_reasons,
                sessions.iter().map(|it| it.revision).collect::<Vec<i32>>(),
                parents,
            ],
        )
        .await?;
    Ok(())
}

fn place_of(session: &SessionRecord, keys: &RowKeys) -> SessionPlace {
    SessionPlace {
        id: session.id.clone(),
        token_mac: keys.token_mac(&session.token_hash).to_vec(),
        user_key: keys.user_key(&session.issuer, &session.subject).to_vec(),
        created_at: session.created_at,
        expires_at: session.expires_at,
    }
}

fn contents_of(session: &SessionRecord) -> Contents {
    Contents {
        issuer: session.issuer.clone(),
        subject: session.subject.clone(),
        provider: session.provider.clone(),
        name: session.name.clone(),
        email: session.email.clone(),
        email_verified: session.email_verified,
        groups: session.groups.clone(),
        device: session.device.clone(),
        login_method: session.login_method.clone(),
        address: session.address.clone(),
        delegation: session.delegation.clone(),
    }
}

async fn write_refresh_tokens(
    transaction: &Transaction<'_>,
    keys: &RowKeys,
    tokens: &[(&str, &RefreshTokenRecord)],
) -> Result<(), StoreError> {
    let (mut provider_keys, mut key_versions, mut sealed) = <(Vec<_>, Vec<_>, Vec<_>)>::default();
    for (session, token) in tokens {
        let provider = provider_key(keys, &token.provider);
        let row = keys.seal(&refresh_tokens::place(session, &provider), &token.credential.0);
        provider_keys.push(provider.to_vec());
        key_versions.push(row.key_version);
        sealed.push(row.bytes);
    }
    let sessions: Vec<&str> = tokens.iter().map(|(session, _)| *session).collect();
    let numbers =
        |number: fn(&RefreshTokenRecord) -> i64| tokens.iter().map(|(_, it)| number(it)).collect::<Vec<_>>();
    let times = |time: fn(&RefreshTokenRecord) -> Option<i64>| {
        tokens.iter().map(|(_, it)| time(it)).collect::<Vec<_>>()
    };
    let insert = "INSERT INTO refresh_tokens (session_id, provider_key, key_version, sealed, version, due_at, revoke_after, \
                  leased_until, failures, lost_since) \
                  SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    transaction
        .execute_typed(
            insert,
            parameters![
                sessions,
                provider_keys,
                key_versions,
                sealed,
                numbers(|it| it.version),
                times(|it| it.due_at),
                numbers(|it| it.revoke_after),
                numbers(|it| it.leased_until),
                tokens.iter().map(|(_, it)| it.failures).collect::<Vec<i32>>(),
                times(|it| it.lost_since),
            ],
        )
        .await?;
    Ok(())
}

async fn write_audience_tokens(
    transaction: &Transaction<'_>,
    keys: &RowKeys,
    tokens: &[AudienceTokenRecord],
) -> Result<(), StoreError> {
    let (mut token_macs, mut key_versions, mut sealed) = <(Vec<_>, Vec<_>, Vec<_>)>::default();
    for token in tokens {
        let mut place = AudienceTokenPlace {
            id: token.id.clone(),
            token_mac: Vec::new(),
            session: token.session.clone(),
            created_at: token.created_at,
            expires_at: token.expires_at,
        };
        let row = place.seal(keys, &TokenHash(token.token_hash), &token.audience);
        token_macs.push(place.token_mac);
        key_versions.push(row.key_version);
        sealed.push(row.bytes);
    }
    let texts = |text: fn(&AudienceTokenRecord) -> &str| tokens.iter().map(text).collect::<Vec<&str>>();
    let times = |time: fn(&AudienceTokenRecord) -> i64| tokens.iter().map(time).collect::<Vec<i64>>();
    let insert = "INSERT INTO audience_tokens (id, token_mac, session_id, key_version, sealed, created_at, expires_at) \
                  SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7)";
    transaction
        .execute_typed(
            insert,
            parameters![
                texts(|it| &it.id),
                token_macs,
                texts(|it| &it.session),
                key_versions,
                sealed,
                times(|it| it.created_at),
                times(|it| it.expires_at),
            ],
        )
        .await?;
    Ok(())
}

async fn write_consumed_tickets(
    transaction: &Transaction<'_>,
    tickets: &[ConsumedTicketRecord],
) -> Result<(), StoreError> {
    let ids: Vec<Vec<u8>> = tickets.iter().map(|ticket| ticket.id.to_vec()).collect();
    let times: Vec<i64> = tickets.iter().map(|ticket| ticket.expires_at).collect();
    let insert = "INSERT INTO consumed_tickets (id, expires_at) SELECT * FROM unnest($1, $2)";
    transaction.execute_typed(insert, parameters![ids, times]).await?;
    Ok(())
}

async fn write_settings(
    transaction: &Transaction<'_>,
    keys: &RowKeys,
    sealer: &FieldSealer,
    member: &str,
    settings: &SettingsRecord,
) -> Result<(), StoreError> {
    let listed: Vec<ProviderRow> = settings
        .providers
        .iter()
        .map(|it| ProviderRow {
            name: it.name.clone(),
            issuer: it.issuer.clone(),
            allow_policy: it.allow_policy.clone(),
            client_secret_reference: it.client_secret_reference.seal(
                sealer,
                CLIENT_SECRET_REFERENCE,
                &it.name,
            ),
        })
        .collect();
    providers::replace(transaction, keys, member, &[], &listed).await?;
    for (provider, endpoints) in &settings.endpoints {
        let hosts = serde_json::to_vec(endpoints).expect("texts are JSON");
        ENDPOINTS.save(transaction, keys, provider, &hosts).await?;
    }
    write_certificates(transaction, keys, sealer, settings).await?;
    for (directory, credentials) in &settings.accounts {
        let credentials = credentials.seal(sealer, CREDENTIALS, directory);
        ACCOUNTS.save(transaction, keys, directory, credentials.as_bytes()).await?;
    }
    for (directory, obtained_at) in &settings.successes {
        SUCCESSES.save(transaction, keys, directory, &obtained_at.to_be_bytes()).await?;
    }
    let (orders, begun_at): (Vec<i64>, Vec<i64>) = settings.orders.iter().copied().unzip();
    let insert = "INSERT INTO acme_orders (id, begun_at) SELECT * FROM unnest($1, $2)";
    transaction.execute_typed(insert, parameters![orders, begun_at]).await?;
    let pause = "UPDATE acme_pause SET until = $1";
    transaction.execute_typed(pause, parameters![settings.pause_until]).await?;
    let rollover = &settings.rollover;
    transaction
        .execute_typed(
            "UPDATE ca_rollover SET sequence = $1, announced = $2",
            parameters![rollover.sequence, rollover.announced],
        )
        .await?;
    // Members compare the number of the last change with what they know, so it never falls.
    let counter = "UPDATE counter SET value = greatest(value, $1), latest_time = $2";
    transaction.execute_typed(counter, parameters![settings.counter, settings.latest_time]).await?;
    Ok(())
}

/// The CA and the next one are one row.
async fn write_certificates(
    transaction: &Transaction<'_>,
    keys: &RowKeys,
    sealer: &FieldSealer,
    settings: &SettingsRecord,
) -> Result<(), StoreError> {
    let (mut current, mut next) = (None, None);
    for it in &settings.certificates {
        let private_key = it.private_key.seal(sealer, PRIVATE_KEY, &it.name);
        let row = CertificateRow { name: it.name.clone(), certificate: it.certificate.clone(), private_key };
        match row.name.as_str() {
            AUTHORITY => current = Some(row),
            NEXT_AUTHORITY => next = Some(row),
            _ => certificates::save(transaction, keys, &row).await?,
        }
    }
    let authorities = Authorities::new(1, current.as_ref(), next.as_ref(), settings.rollover.takeover_at);
    authorities.save(transaction, keys).await
}
