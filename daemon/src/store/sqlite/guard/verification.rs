//! Compares the digests with the stored data.

use rusqlite::{Connection, Transaction};

use super::digest::{self, Digest, GUARDED, SessionState};
use super::known_state::{Effect, KnownState, pack_id};
use super::row::GuardRow;
use crate::keys::DigestKey;
use crate::store::StoreError;
use crate::store::sqlite::sessions::DUMMY_ID;

/// Sessions read between pauses.
const BATCH: usize = 256;

/// Digests computed from the stored data.
struct Stored {
    sessions: Digest,
    /// Over changed sessions, read from the table instead of the index.
    changes: Digest,
}

/// Loads the guard's row and all changes, and compares them. Runs before the first request, so it reads only changed
/// sessions, through an index.
pub(super) fn load(
    connection: &Connection,
    key: &DigestKey,
) -> Result<(GuardRow, KnownState, bool), StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    load_in(&snapshot, key)
}

fn load_in(snapshot: &Connection, key: &DigestKey) -> Result<(GuardRow, KnownState, bool), StoreError> {
    let row = GuardRow::read(snapshot)?;
    let (mut known, mut changes) = (KnownState::default(), Digest::default());
    let mut select = snapshot.prepare(
        "SELECT id, revision, ended_at IS NOT NULL FROM sessions INDEXED BY sessions_changed WHERE revision > 0",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (id, revision, is_ended) =
            (row.get_ref(0)?.as_str().unwrap_or_default(), row.get(1)?, row.get(2)?);
        changes.add(&digest::changed_session(key, id, revision, is_ended));
        known.apply_one(Effect::Session { id: pack_id(id), revision, is_ended });
    }
    add_others(snapshot, key, &mut changes, &mut known)?;
    let agrees = changes == row.changes;
    Ok((row, known, agrees))
}

/// Adds used tickets and providers.
fn add_others(
    connection: &Connection,
    key: &DigestKey,
    changes: &mut Digest,
    known: &mut KnownState,
) -> Result<(), StoreError> {
    let mut select = connection.prepare("SELECT id FROM consumed_tickets")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let id: [u8; 16] = row.get(0)?;
        changes.add(&digest::used_ticket(key, &id));
        known.apply_one(Effect::TicketUsed(id));
    }
    let mut select = connection.prepare("SELECT name, issuer, admission FROM providers")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (name, issuer, allow_policy): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        changes.add(&digest::provider(key, &name, &issuer, &allow_policy));
    }
    Ok(())
}

/// Reads all sessions. Calls `pause` between batches.
fn read_all(connection: &Connection, key: &DigestKey, mut pause: impl FnMut()) -> Result<Stored, StoreError> {
    let mut stored = Stored { sessions: Digest::default(), changes: Digest::default() };
    let mut select =
        connection.prepare(&format!("SELECT {GUARDED} FROM sessions WHERE id <> '{DUMMY_ID}'"))?;
    let (mut rows, mut buffer, mut count) = (select.query([])?, Vec::with_capacity(512), 0_usize);
    while let Some(row) = rows.next()? {
        let state = SessionState::read(row, key, &mut buffer)?;
        stored.sessions.add(&state.mac);
        if let Some(change) = state.change_mac(key) {
            stored.changes.add(&change);
        }
        count += 1;
        if count.is_multiple_of(BATCH) {
            pause();
        }
    }
    Ok(stored)
}

/// Compares all sessions with the digests in one snapshot. Returns the snapshot's counter and any mismatch.
pub(in crate::store::sqlite) fn verify(
    connection: &Connection,
    key: &DigestKey,
    pause: impl FnMut(),
) -> Result<(u64, Option<&'static str>), StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    let (row, _, agrees) = load_in(&snapshot, key)?;
    let mut stored = read_all(&snapshot, key, pause)?;
    add_others(&snapshot, key, &mut stored.changes, &mut KnownState::default())?;
    let found = if !agrees || stored.changes != row.changes {
        Some("changed or ended sessions differ from the rollback guard")
    } else if stored.sessions != row.sessions {
        Some("the sessions differ from the rollback guard")
    } else {
        None
    };
    Ok((row.counter, found))
}

/// Recomputes the digests under the key `new`, if they match under `old`.
pub(in crate::store::sqlite) fn rekey(
    connection: &mut Connection,
    old: &DigestKey,
    new: &DigestKey,
) -> Result<GuardRow, StoreError> {
    if let (_, Some(what)) = verify(connection, old, || ())? {
        return Err(StoreError::RolledBack(what.to_owned()));
    }
    let transaction = connection.transaction()?;
    let row = recompute(&transaction, new, &GuardRow::read(&transaction)?)?;
    row.write(&transaction)?;
    transaction.commit()?;
    Ok(row)
}

/// Returns `row` with digests of the stored data.
fn recompute(transaction: &Transaction<'_>, key: &DigestKey, row: &GuardRow) -> Result<GuardRow, StoreError> {
    let mut stored = read_all(transaction, key, || ())?;
    add_others(transaction, key, &mut stored.changes, &mut KnownState::default())?;
    Ok(GuardRow { sessions: stored.sessions, changes: stored.changes, ..row.clone() })
}

/// Replaces the digests with those of the stored data and raises the counter above `seen`. Returns the new state.
pub(in crate::store::sqlite) fn accept(
    transaction: &Transaction<'_>,
    key: &DigestKey,
    seen: u64,
    latest: i64,
) -> Result<(GuardRow, KnownState), StoreError> {
    let before = GuardRow::read(transaction)?;
    let row = GuardRow { counter: before.counter.max(seen) + 1, latest, ..before };
    recompute(transaction, key, &row)?.write(transaction)?;
    let (row, known, _) = load_in(transaction, key)?;
    Ok((row, known))
}
