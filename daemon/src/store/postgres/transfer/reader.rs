//! Reads and opens batches of rows.

use tokio_postgres::Row;
use zeroize::Zeroizing;

use super::Snapshot;
use crate::keys::{DecryptError, RowKeys, Sealed, SealedRow};
use crate::store::postgres::acme::{ACCOUNTS, SUCCESSES, read_obtained_at};
use crate::store::postgres::audience_tokens::AudienceTokenPlace;
use crate::store::postgres::authorities::{AUTHORITIES, Authorities};
use crate::store::postgres::certificates::{self, CERTIFICATES};
use crate::store::postgres::named_rows::NamedRow;
use crate::store::postgres::provider_endpoints::ENDPOINTS;
use crate::store::postgres::providers::{self, PAGE, provider_key};
use crate::store::postgres::refresh_tokens::{self, SEALED, SEALED_OF_MANY};
use crate::store::postgres::session_rows::{
    COLUMNS, COLUMNS_OF_MANY, DUMMY_ID, HAS_SESSION_ID, LARGE_ROWS, SessionPlace, replace, unread,
};
use crate::store::postgres::statements::{count, parameters};
use crate::store::transfer::{
    AudienceTokenRecord, BATCH, CLIENT_SECRET_REFERENCE, CREDENTIALS, CertificateRecord,
    ConsumedTicketRecord, PRIVATE_KEY, ProviderRecord, RefreshTokenRecord, RolloverRecord, Secret,
    SessionRecord, SettingsRecord, merged,
};
use crate::store::{CertificateRow, RememberedEndpoints, StoreError, time};

/// Far more than a daemon begins until one succeeds.
const MOST_ORDERS: u32 = 1000;
/// The others are only counted.
const LOGGED: u64 = 100;

impl Snapshot {
    /// Returns the sessions after one, and the ID of the last if more may follow.
    pub(super) async fn sessions(
        &mut self,
        after: &str,
    ) -> Result<(Vec<SessionRecord>, Option<String>), StoreError> {
        let select = select_sessions(
            [COLUMNS_OF_MANY, SEALED_OF_MANY],
            &format!("s.id > $1 AND s.id <> $2 AND {HAS_SESSION_ID} ORDER BY s.id LIMIT $3"),
        );
        let mut rows = self.rows(&select, parameters![after, DUMMY_ID, i64::from(BATCH)]).await?;
        let select_again = select_sessions([COLUMNS, SEALED], "s.id = ANY($1)");
        // Each has two seals.
        for ids in unread(&rows, &["sealed", "token_sealed"])?.chunks(LARGE_ROWS / 2) {
            let again = self.rows(&select_again, parameters![ids.to_vec()]).await?;
            replace(&mut rows, again)?;
        }
        let keys = self.keys.clone();
        let sessions = self.opened(&rows, "id", |row| session(row, &keys))?;
        Ok((sessions, last(&rows, "id", BATCH)?))
    }

    pub(super) async fn audience_tokens(
        &mut self,
        after: &str,
    ) -> Result<(Vec<AudienceTokenRecord>, Option<String>), StoreError> {
        let select = format!(
            "SELECT {} FROM audience_tokens a WHERE a.id > $1 AND a.id <> $2 AND octet_length(a.id) <= 64 \
             ORDER BY a.id LIMIT $3",
            AudienceTokenPlace::COLUMNS
        );
        let rows = self.rows(&select, parameters![after, DUMMY_ID, i64::from(BATCH)]).await?;
        let keys = self.keys.clone();
        let tokens = self.opened(&rows, "audience_token_id", |row| audience_token(row, &keys))?;
        Ok((tokens, last(&rows, "audience_token_id", BATCH)?))
    }

    pub(super) async fn consumed_tickets(
        &mut self,
        after: &[u8],
    ) -> Result<(Vec<ConsumedTicketRecord>, Option<Vec<u8>>), StoreError> {
        let select = "SELECT id, expires_at FROM consumed_tickets WHERE id > $1 AND octet_length(id) = 16 \
                      ORDER BY id LIMIT $2";
        let rows = self.rows(select, parameters![after, i64::from(BATCH)]).await?;
        let ticket = |row: &Row| {
            let id: &[u8] = row.try_get("id")?;
            let id = id.try_into().map_err(|_| StoreError::UnexpectedRow("a used ticket"))?;
            Ok(ConsumedTicketRecord { id, expires_at: row.try_get("expires_at")? })
        };
        Ok((self.opened(&rows, "id", ticket)?, last(&rows, "id", BATCH)?))
    }

    /// Counts rows whose keys are none of infrad, which the other functions skip.
    pub(super) async fn count_odd_keys(&mut self) -> Result<(), StoreError> {
        let select = format!(
            "SELECT (SELECT count(*) FROM sessions s WHERE NOT {HAS_SESSION_ID}) \
             + (SELECT count(*) FROM audience_tokens WHERE octet_length(id) > 64) \
             + (SELECT count(*) FROM consumed_tickets WHERE octet_length(id) <> 16) \
             + (SELECT count(*) FROM providers WHERE octet_length(member_id) > 64) \
             + greatest((SELECT count(*) FROM acme_orders) - {MOST_ORDERS}, 0)"
        );
        self.left_out += count(self.row(&select).await?.try_get(0)?)?;
        Ok(())
    }

    /// Skips and counts rows that infrad did not write. Logs the first ones, with their ID if it is a text.
    fn opened<T>(
        &mut self,
        rows: &[Row],
        id: &str,
        open: impl Fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut opened = Vec::with_capacity(rows.len());
        for row in rows {
            match open(row) {
                Ok(record) => opened.push(record),
                Err(StoreError::UnexpectedRow(what)) => {
                    if self.left_out < LOGGED {
                        let id: &str = row.try_get(id).unwrap_or_default();
                        tracing::error!(
                            id,
                            what,
                            "left out of the copy: infrad did not write this row like this"
                        );
                    }
                    self.left_out += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(opened)
    }

    pub(super) async fn settings(&mut self) -> Result<SettingsRecord, StoreError> {
        let (sealer, keys) = (self.sealer.clone(), self.keys.clone());
        let counter = self.row("SELECT value, latest_time FROM counter").await?;
        let rollover = self.row("SELECT sequence, left(announced, 200) FROM ca_rollover").await?;
        let (certificates, takeover_at) = self.certificates().await?;
        let pause = self.row("SELECT until FROM acme_pause").await?;
        let provider = |row: &Row| {
            let contents = providers::open(&keys, row)?;
            let field = CLIENT_SECRET_REFERENCE;
            let reference = Secret::open(&sealer, field, &contents.name, contents.client_secret_reference)?;
            Ok(ProviderRecord {
                name: contents.name,
                issuer: contents.issuer,
                allow_policy: contents.allow_policy,
                client_secret_reference: reference,
            })
        };
        let (mut listed, mut after) = (Vec::new(), Some(<(String, Vec<u8>)>::default()));
        while let Some((member, name)) = after {
            let page = self.rows(providers::SELECT, parameters![member, name, i64::from(PAGE)]).await?;
            listed.extend(self.opened(&page, "member_id", provider)?);
            after = providers::last(&page)?;
        }
        let orders = format!(
            "SELECT id, begun_at FROM (SELECT id, begun_at FROM acme_orders ORDER BY begun_at DESC LIMIT {MOST_ORDERS}) \
             AS newest ORDER BY id"
        );
        let orders = self.rows(&orders, &[]).await?;
        let order = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?));
        Ok(SettingsRecord {
            providers: merged(listed),
            endpoints: self.named(&ENDPOINTS, |_, contents| endpoints(&contents)).await?,
            certificates,
            rollover: RolloverRecord {
                sequence: rollover.try_get(0)?,
                announced: rollover.try_get(1)?,
                takeover_at,
            },
            accounts: self
                .named(&ACCOUNTS, |directory, contents| {
                    Secret::open(&sealer, CREDENTIALS, directory, contents.to_vec())
                })
                .await?,
            orders: orders.iter().map(order).collect::<Result<_, StoreError>>()?,
            successes: self.named(&SUCCESSES, |_, contents| read_obtained_at(&contents)).await?,
            pause_until: pause.try_get(0)?,
            latest_time: counter.try_get(1)?,
            counter: counter.try_get(0)?,
        })
    }

    /// The certificates in the order of their names, and when the next CA takes over. A file has a row for each CA.
    async fn certificates(&mut self) -> Result<(Vec<CertificateRecord>, Option<i64>), StoreError> {
        let sealer = self.sealer.clone();
        let record = |CertificateRow { name, certificate, private_key }: CertificateRow| {
            let private_key = Secret::open(&sealer, PRIVATE_KEY, &name, private_key.as_bytes().to_vec())?;
            Ok::<_, StoreError>(CertificateRecord { name, certificate, private_key })
        };
        let read = |name: &str, contents: Zeroizing<Vec<u8>>| {
            if name == AUTHORITIES {
                let parsed = Authorities::parse(&contents);
                let authorities = parsed.ok_or(StoreError::UnexpectedRow("the row of the CA"))?;
                let records = authorities.rows()?.into_iter().flatten().map(record);
                return Ok((records.collect::<Result<Vec<_>, _>>()?, authorities.takeover_at));
            }
            let parsed = certificates::parse(&contents);
            let (certificate, key) = parsed.ok_or(StoreError::UnexpectedRow("a certificate"))?;
            let (certificate, private_key) = (certificate.to_vec(), Sealed::from_store(key.to_vec()));
            Ok((vec![record(CertificateRow { name: name.to_owned(), certificate, private_key })?], None))
        };
        let named = self.named(&CERTIFICATES, read).await?;
        let takeover_at = named.iter().find_map(|(_, (_, takeover_at))| *takeover_at);
        let mut records: Vec<_> = named.into_iter().flat_map(|(_, (records, _))| records).collect();
        records.sort_by(|one, other| one.name.cmp(&other.name));
        Ok((records, takeover_at))
    }

    /// All rows of a table, in the order of their names. Skips and counts those that infrad did not write.
    async fn named<T>(
        &mut self,
        table: &NamedRow,
        read: impl Fn(&str, Zeroizing<Vec<u8>>) -> Result<T, StoreError>,
    ) -> Result<Vec<(String, T)>, StoreError> {
        let NamedRow { table: name, key } = table;
        let select = format!(
            "SELECT {key} AS name_key, key_version, CASE WHEN octet_length(sealed) <= 262144 THEN sealed ELSE '' END AS sealed \
             FROM {name} WHERE {key} > $1 ORDER BY {key} LIMIT $2"
        );
        let keys = self.keys.clone();
        let open = |row: &Row| {
            let (name, contents) = table.open(&keys, row.try_get("name_key")?, row)?;
            let contents = read(&name, contents)?;
            Ok::<_, StoreError>((name, contents))
        };
        let (mut named, mut after) = (Vec::new(), Some(Vec::<u8>::new()));
        while let Some(last_key) = after {
            let rows = self.rows(&select, parameters![last_key, i64::from(PAGE)]).await?;
            named.extend(self.opened(&rows, "name_key", open)?);
            after = last(&rows, "name_key", PAGE)?;
        }
        named.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(named)
    }
}

/// Of a session and its refresh token, with the expressions of their seals.
fn select_sessions([columns, token_sealed]: [&str; 2], condition: &str) -> String {
    format!(
        "SELECT {columns}, r.provider_key, r.key_version AS token_key_version, {token_sealed} AS token_sealed, r.version, \
         r.due_at, r.revoke_after, r.leased_until, r.failures, r.lost_since FROM sessions s \
         LEFT JOIN refresh_tokens r ON r.session_id = s.id WHERE {condition}"
    )
}

/// The key of the last of up to `limit` rows, if more may follow.
fn last<'a, T: tokio_postgres::types::FromSql<'a>>(
    rows: &'a [Row],
    column: &str,
    limit: u32,
) -> Result<Option<T>, StoreError> {
    let last = rows.last().filter(|_| rows.len() == limit as usize);
    Ok(last.map(|row| row.try_get(column)).transpose()?)
}

fn session(row: &Row, keys: &RowKeys) -> Result<SessionRecord, StoreError> {
    let place = SessionPlace::of_row(row)?;
    let (token_hash, contents) = place.open(keys, row)?;
    let refresh_token = refresh_token(row, keys, &place.id, &contents.provider)?;
    Ok(SessionRecord {
        id: place.id,
        token_hash: token_hash.0,
        issuer: contents.issuer,
        subject: contents.subject,
        provider: contents.provider,
        name: contents.name,
        email: contents.email,
        email_verified: contents.email_verified,
        groups: contents.groups,
        device: contents.device,
        login_method: contents.login_method,
        address: contents.address,
        delegation: contents.delegation,
        created_at: place.created_at,
        expires_at: place.expires_at,
        last_used_at: row.try_get("last_used_at")?,
        ended_at: row.try_get("ended_at")?,
        end_reason: row.try_get("end_reason")?,
        revision: row.try_get("revision")?,
        refresh_token,
    })
}

/// The refresh token of a session, which is of the same provider.
fn refresh_token(
    row: &Row,
    keys: &RowKeys,
    session: &str,
    provider: &str,
) -> Result<Option<RefreshTokenRecord>, StoreError> {
    let unexpected = || StoreError::UnexpectedRow("a refresh token");
    let Some(key) = row.try_get::<_, Option<&[u8]>>("provider_key")? else { return Ok(None) };
    if key != provider_key(keys, provider) {
        return Err(unexpected());
    }
    let sealed =
        SealedRow { key_version: row.try_get("token_key_version")?, bytes: row.try_get("token_sealed")? };
    let credential = keys.open(&refresh_tokens::place(session, key), &sealed);
    Ok(Some(RefreshTokenRecord {
        provider: provider.to_owned(),
        credential: Secret(credential.map_err(|DecryptError| unexpected())?),
        version: row.try_get("version")?,
        due_at: row.try_get("due_at")?,
        revoke_after: row.try_get("revoke_after")?,
        leased_until: row.try_get("leased_until")?,
        failures: row.try_get("failures")?,
        lost_since: row.try_get("lost_since")?,
    }))
}

fn audience_token(row: &Row, keys: &RowKeys) -> Result<AudienceTokenRecord, StoreError> {
    let place = AudienceTokenPlace::of_row(row)?;
    let (token_hash, restriction) = place.open(keys, row)?;
    Ok(AudienceTokenRecord {
        id: place.id,
        token_hash: token_hash.0,
        session: place.session,
        audience: restriction.audience,
        created_at: place.created_at,
        expires_at: place.expires_at,
    })
}

fn endpoints(contents: &[u8]) -> Result<RememberedEndpoints, StoreError> {
    let unexpected = |_| StoreError::UnexpectedRow("the hosts of a provider");
    let mut endpoints: RememberedEndpoints = serde_json::from_slice(contents).map_err(unexpected)?;
    if let Some((at, _)) = &mut endpoints.changed {
        // A file holds milliseconds.
        *at = time::from_database(time::to_database(*at))?;
    }
    Ok(endpoints)
}
