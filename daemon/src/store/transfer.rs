//! Copies a whole store between a file and a shared database.
//!
//! Both engines give their rows in the same order and form, so that equal stores have equal digests. A source opens the sealed
//! fields of its rows, and a target seals them with its own keys. What only a running daemon needs is left out: leases,
//! members, answers to ACME challenges, recorded changes.

mod corrections;

use infra_shared::api::Delegation;
use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::engine::Engine;
use super::postgres::Postgres;
use super::sqlite::{FileReader, FileWriter};
use super::{DatabaseFile, Fill, RememberedEndpoints, Store, StoreError, time};
use crate::keys::{DecryptError, FieldSealer, Place, Sealed};

/// Rows that are in memory at the same time. Tests have few rows in several batches.
pub(super) const BATCH: u32 = if cfg!(test) { 2 } else { 500 };

/// Some rows of one table, with what belongs to each.
pub(super) enum Batch {
    Sessions(Vec<SessionRecord>),
    AudienceTokens(Vec<AudienceTokenRecord>),
    ConsumedTickets(Vec<ConsumedTicketRecord>),
    /// Everything that has a few rows. The last batch.
    Settings(Box<SettingsRecord>),
}

/// Where a source continues: after the row with this key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Position {
    Sessions(String),
    AudienceTokens(String),
    ConsumedTickets(Vec<u8>),
    Settings,
    End,
}

pub(super) const START: Position = Position::Sessions(String::new());

/// The opened contents of a sealed field.
pub(super) struct Secret(pub(super) Zeroizing<Vec<u8>>);

/// Times are in the form of the database.
#[derive(Serialize)]
pub(super) struct SessionRecord {
    pub(super) id: String,
    pub(super) token_hash: [u8; 32],
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) provider: String,
    pub(super) name: Option<String>,
    pub(super) email: Option<String>,
    pub(super) email_verified: bool,
    pub(super) groups: Vec<String>,
    pub(super) device: Option<String>,
    pub(super) login_method: String,
    pub(super) address: Option<String>,
    pub(super) delegation: Option<Box<Delegation>>,
    pub(super) created_at: i64,
    pub(super) expires_at: i64,
    pub(super) last_used_at: i64,
    pub(super) ended_at: Option<i64>,
    pub(super) end_reason: Option<String>,
    pub(super) revision: i32,
    pub(super) refresh_token: Option<RefreshTokenRecord>,
}

#[derive(Serialize)]
pub(super) struct RefreshTokenRecord {
    pub(super) provider: String,
    pub(super) credential: Secret,
    pub(super) version: i64,
    pub(super) due_at: Option<i64>,
    pub(super) revoke_after: i64,
    pub(super) leased_until: i64,
    pub(super) failures: i32,
    pub(super) lost_since: Option<i64>,
}

#[derive(Serialize)]
pub(super) struct AudienceTokenRecord {
    pub(super) id: String,
    pub(super) token_hash: [u8; 32],
    pub(super) session: String,
    pub(super) audience: String,
    pub(super) created_at: i64,
    pub(super) expires_at: i64,
}

#[derive(Serialize)]
pub(super) struct ConsumedTicketRecord {
    pub(super) id: [u8; 16],
    pub(super) expires_at: i64,
}

#[derive(Default, Serialize)]
pub(super) struct SettingsRecord {
    pub(super) providers: Vec<ProviderRecord>,
    /// By provider.
    pub(super) endpoints: Vec<(String, RememberedEndpoints)>,
    pub(super) certificates: Vec<CertificateRecord>,
    pub(super) rollover: RolloverRecord,
    /// The credentials of ACME accounts, by directory.
    pub(super) accounts: Vec<(String, Secret)>,
    /// ACME orders: ID and begin.
    pub(super) orders: Vec<(i64, i64)>,
    /// When each ACME directory last issued a certificate.
    pub(super) successes: Vec<(String, i64)>,
    /// The end of the pause for ACME orders; 0 for none.
    pub(super) pause_until: i64,
    /// No copy keeps one in the future, so it is not compared.
    #[serde(skip)]
    pub(super) latest_time: i64,
    /// The number of changes. A target never lowers its own, so it is not compared.
    #[serde(skip)]
    pub(super) counter: i64,
}

#[derive(Serialize)]
pub(super) struct ProviderRecord {
    pub(super) name: String,
    pub(super) issuer: String,
    pub(super) allow_policy: String,
    pub(super) client_secret_reference: Secret,
}

#[derive(Serialize)]
pub(super) struct CertificateRecord {
    pub(super) name: String,
    pub(super) certificate: Vec<u8>,
    pub(super) private_key: Secret,
}

#[derive(Default, Serialize)]
pub(super) struct RolloverRecord {
    pub(super) sequence: i64,
    pub(super) announced: String,
    pub(super) takeover_at: Option<i64>,
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    pub sessions: u64,
    /// The sessions that are valid at the time of the copy.
    pub live: u64,
    /// Rows of the source that infrad did not write, and that no daemon accepts.
    pub left_out: u64,
    /// Rows with a value that infrad never writes. The copy has the nearest valid one.
    pub corrected: u64,
}

/// The clocks of daemons and databases differ by less.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// A digest over batches, and their counts.
#[derive(Default)]
struct Contents {
    digest: Sha256,
    sessions: u64,
    live: u64,
}

impl Contents {
    fn add(&mut self, batch: &Batch, now: i64) {
        match batch {
            Batch::Sessions(sessions) => {
                self.records(b"session", sessions);
                self.sessions += sessions.len() as u64;
                let is_live =
                    |session: &&SessionRecord| session.ended_at.is_none() && session.expires_at > now;
                self.live += sessions.iter().filter(is_live).count() as u64;
            }
            Batch::AudienceTokens(tokens) => self.records(b"audience token", tokens),
            Batch::ConsumedTickets(tickets) => self.records(b"consumed ticket", tickets),
            Batch::Settings(settings) => self.records(b"settings", std::slice::from_ref(settings)),
        }
    }

    fn records(&mut self, kind: &[u8], records: &[impl Serialize]) {
        for record in records {
            // It contains secrets.
            let text = Zeroizing::new(serde_json::to_vec(record).expect("texts and numbers are JSON"));
            for part in [kind, &text] {
                self.digest.update((part.len() as u64).to_be_bytes());
                self.digest.update(part);
            }
        }
    }

    /// Fails if `copy` has other contents.
    fn expect_same(
        self,
        copy: Self,
        database: &str,
        [left_out, corrected]: [u64; 2],
    ) -> Result<Copied, StoreError> {
        let (sessions, live) = (self.sessions, self.live);
        if (sessions, self.digest.finalize()) != (copy.sessions, copy.digest.finalize()) {
            return Err(StoreError::CopyDiffers { database: database.to_owned() });
        }
        Ok(Copied { sessions, live, left_out, corrected })
    }
}

impl Store {
    /// Copies the file `from` to this store, which `fill` empties for it, and compares every row. `sealer` is the one of this
    /// store.
    pub async fn fill(
        &self,
        fill: &Fill,
        from: DatabaseFile,
        sealer: FieldSealer,
        now: Timestamp,
    ) -> Result<Copied, StoreError> {
        let Engine::Postgres(database) = &self.engine else { return Err(StoreError::NotShared) };
        Box::pin(fill_database(database, fill, from, sealer, time::to_database(now))).await
    }
}

async fn fill_database(
    database: &Postgres,
    fill: &Fill,
    from: DatabaseFile,
    sealer: FieldSealer,
    now: i64,
) -> Result<Copied, StoreError> {
    let (mut source, mut contents, mut copy) =
        (FileReader::open(from).await?, Contents::default(), Contents::default());
    let mut corrected = 0;
    while let Some(mut batch) = source.next().await? {
        // The clock of the file's host may have been ahead.
        corrected += batch.correct(i64::MAX);
        contents.add(&batch, now);
        database.write_batch(fill, &batch, &sealer).await?;
    }
    let mut written = database.snapshot(sealer).await?;
    while let Some(batch) = written.next().await? {
        copy.add(&batch, now);
    }
    contents.expect_same(copy, database.describe(), [0, corrected])
}

/// Copies a shared database to the new file `to`, and compares every row. `sealer` is the one of the database. Reads and
/// writes continue meanwhile.
pub(super) async fn copy_to_file(
    database: &Postgres,
    sealer: FieldSealer,
    to: DatabaseFile,
    now: Timestamp,
) -> Result<Copied, StoreError> {
    let not_after = time::to_database(now.saturating_add(CLOCK_TOLERANCE).unwrap_or(Timestamp::MAX));
    let (now, name) = (time::to_database(now), to.path.display().to_string());
    let (mut contents, mut copy) = (Contents::default(), Contents::default());
    let mut source = database.snapshot(sealer).await?;
    let mut target = FileWriter::create(to).await?;
    let mut corrected = 0;
    while let Some(mut batch) = source.next().await? {
        corrected += batch.correct(not_after);
        contents.add(&batch, now);
        target.write(batch).await?;
    }
    let mut written = target.finish().await?;
    while let Some(batch) = written.next().await? {
        copy.add(&batch, now);
    }
    written.close().await?;
    contents.expect_same(copy, &name, [source.left_out(), corrected])
}

/// The providers that members listed, as one daemon with a file would have stored them. Members that differ about a provider
/// leave a row that equals no configuration, so that the next start decides about all its sessions.
pub(super) fn merged(mut listed: Vec<ProviderRecord>) -> Vec<ProviderRecord> {
    const DIFFERENT: &str = "different";
    listed.sort_by(|one, other| one.name.cmp(&other.name));
    let mut merged: Vec<ProviderRecord> = Vec::with_capacity(listed.len());
    for provider in listed {
        match merged.last_mut().filter(|before| before.name == provider.name) {
            Some(same) if same.issuer == provider.issuer && same.allow_policy == provider.allow_policy => {}
            Some(same) => DIFFERENT.clone_into(&mut same.allow_policy),
            None => merged.push(provider),
        }
    }
    merged
}

/// The place of a sealed field, as its callers seal it.
fn place<'a>([table, column]: [&'a str; 2], row: &'a str) -> Place<'a> {
    Place { table, row, column, version: 1 }
}

pub(super) const CLIENT_SECRET_REFERENCE: [&str; 2] = ["providers", "client_secret_reference"];
pub(super) const PRIVATE_KEY: [&str; 2] = ["certificates", "private_key"];
pub(super) const CREDENTIALS: [&str; 2] = ["acme_accounts", "credentials"];
/// Only in a file. In a shared database, the row itself is sealed.
pub(super) const GRANT: [&str; 2] = ["refresh_tokens", "sealed_grant"];

impl Secret {
    pub(super) fn open(
        sealer: &FieldSealer,
        field: [&str; 2],
        row: &str,
        bytes: Vec<u8>,
    ) -> Result<Self, StoreError> {
        let opened = sealer.open(place(field, row), &Sealed::from_store(bytes));
        opened.map(Self).map_err(|DecryptError| StoreError::UnexpectedRow("a sealed field"))
    }

    pub(super) fn seal(&self, sealer: &FieldSealer, field: [&str; 2], row: &str) -> Sealed {
        sealer.seal(place(field, row), &self.0)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(name: &str, allow_policy: &str) -> ProviderRecord {
        ProviderRecord {
            name: name.to_owned(),
            issuer: "https://okta.test".to_owned(),
            allow_policy: allow_policy.to_owned(),
            client_secret_reference: Secret(Zeroizing::new(b"env:A".to_vec())),
        }
    }

    #[test]
    fn members_that_differ_about_provider_leave_row_of_neither() {
        let names = |listed: Vec<ProviderRecord>| {
            let names = merged(listed).into_iter().map(|it| format!("{} {}", it.name, it.allow_policy));
            names.collect::<Vec<_>>()
        };
        assert_eq!(names(vec![provider("b", "x"), provider("a", "x"), provider("b", "x")]), ["a x", "b x"]);
        let differing = vec![provider("a", "x"), provider("a", "y"), provider("a", "x")];
        assert_eq!(names(differing), ["a different"]);
    }

    #[test]
    fn digest_depends_on_records_and_their_order_only() {
        let ticket = |byte| ConsumedTicketRecord { id: [byte; 16], expires_at: 7 };
        let digest = |batches: Vec<Vec<u8>>| {
            let mut contents = Contents::default();
            for batch in batches {
                contents.add(&Batch::ConsumedTickets(batch.into_iter().map(ticket).collect()), 0);
            }
            contents.digest.finalize()
        };
        assert_eq!(digest(vec![vec![1, 2], vec![3]]), digest(vec![vec![1], vec![2, 3], vec![]]));
        assert_ne!(digest(vec![vec![1, 2]]), digest(vec![vec![2, 1]]));
        assert_ne!(digest(vec![vec![1, 2]]), digest(vec![vec![1]]));
    }
}
