//! Which daemons run, as of their last heartbeat.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;

use super::statements::{count, well_formed};
use super::{Postgres, moving, schema};
use crate::keys::{RowPlace, SealedRow};
use crate::store::members::{Member, MemberDescription};
use crate::store::{MemberID, StoreError};

/// Members that were not seen for this long are forgotten.
const FORGOTTEN_AFTER: &str = "1 day";

/// What a row says of its member, sealed.
#[derive(Serialize, Deserialize)]
struct Contents {
    name: String,
    #[serde(default)]
    address: String,
    version: String,
}

impl Postgres {
    /// Records that this member runs, and the last change that it knows. Fails if daemons may not use the store.
    pub(in crate::store) async fn heartbeat(
        &self,
        description: &MemberDescription,
    ) -> Result<(), StoreError> {
        let MemberDescription { name, address, version } = description.clone();
        let contents = Contents { name, address, version };
        let contents = serde_json::to_vec(&contents).expect("texts are JSON");
        let sealed = self.rows.seal(&place(&self.member), &contents);
        let newest_key = number(self.rows.newest_version())?;
        let schema = number(schema::known())?;
        let known = self.counter.load(Ordering::Acquire);
        let written = self
            .connections
            .run(async |client| {
                let transaction = client.transaction().await?;
                moving::expect_ready(&transaction, self.connections.describe()).await?;
                transaction
                    .execute_typed(
                        "INSERT INTO members (id, key_version, sealed, schema, newest_key, known, lag) \
                         SELECT $1, $2, $3, $4, $5, $6, greatest(value - $6, 0) FROM counter \
                         ON CONFLICT (id) DO UPDATE SET \
                         key_version = excluded.key_version, sealed = excluded.sealed, schema = excluded.schema, \
                         newest_key = excluded.newest_key, known = excluded.known, lag = excluded.lag, seen_at = now()",
                        &[
                            (&self.member.as_str(), Type::TEXT),
                            (&sealed.key_version, Type::INT4),
                            (&sealed.bytes, Type::BYTEA),
                            (&schema, Type::INT4),
                            (&newest_key, Type::INT4),
                            (&known, Type::INT8),
                        ],
                    )
                    .await?;
                transaction
                    .execute_typed(
                        &format!("DELETE FROM members WHERE seen_at < now() - interval '{FORGOTTEN_AFTER}' \
                             OR seen_at > now() + interval '1 min'"),
                        &[],
                    )
                    .await?;
                Ok(transaction.commit().await?)
            })
            .await;
        self.writes.remember(&written);
        written
    }

    /// Forgets this member, when it stops.
    pub(in crate::store) async fn leave(&self) -> Result<(), StoreError> {
        self.connections
            .run(async |client| {
                client
                    .execute_typed(
                        "DELETE FROM members WHERE id = $1",
                        &[(&self.member.as_str(), Type::TEXT)],
                    )
                    .await?;
                Ok(())
            })
            .await
    }

    /// Lists the members, oldest first.
    pub(in crate::store) async fn members(&self) -> Result<Vec<Member>, StoreError> {
        let rows = self
            .connections
            .run(async |client| {
                let select = "SELECT id, key_version, CASE WHEN octet_length(sealed) <= 4096 THEN sealed ELSE '' END, newest_key, \
                    (extract(epoch FROM started_at) * 1000)::bigint, (extract(epoch FROM seen_at) * 1000)::bigint, \
                    (extract(epoch FROM now() - seen_at) * 1000)::bigint, lag \
                    FROM members ORDER BY started_at, id";
                Ok(client.query_typed(select, &[]).await?)
            })
            .await?;
        well_formed(rows.iter().map(|row| self.member(row)))
    }

    fn member(&self, row: &tokio_postgres::Row) -> Result<Member, StoreError> {
        let unexpected = || StoreError::UnexpectedRow("a member");
        let id = MemberID::from_database(row.try_get(0)?);
        let sealed = SealedRow { key_version: row.try_get(1)?, bytes: row.try_get(2)? };
        let opened = self.rows.open(&place(&id), &sealed).map_err(|_| unexpected())?;
        let contents: Contents = serde_json::from_slice(&opened).map_err(|_| unexpected())?;
        let moment = |milliseconds| Timestamp::from_millisecond(milliseconds).map_err(|_| unexpected());
        Ok(Member {
            is_this: id == self.member,
            id,
            name: contents.name,
            address: contents.address,
            version: contents.version,
            data_key_version: u32::try_from(row.try_get::<_, i32>(3)?).map_err(|_| unexpected())?,
            started_at: moment(row.try_get(4)?)?,
            seen_at: moment(row.try_get(5)?)?,
            unseen_milliseconds: row.try_get::<_, i64>(6)?.max(0).unsigned_abs(),
            lag: count(row.try_get(7)?)?,
        })
    }
}

fn place(id: &MemberID) -> RowPlace<'_> {
    RowPlace { table: "members", id: id.as_str().as_bytes(), ..RowPlace::default() }
}

fn number(version: u32) -> Result<i32, StoreError> {
    i32::try_from(version).map_err(|_| StoreError::UnexpectedRow("a version"))
}
