//! Earlier pages put back into the database: ended sessions stay ended, and the guard detects the rollback.

use std::os::unix::fs::FileExt;

use super::*;

const PAGE: usize = 4096;

/// The database file after a checkpoint, so that it contains every write.
fn checkpointed(fixture: &Fixture, store: &Store) -> Vec<u8> {
    let writer = engine(store).connections.writer.lock().expect("the writer");
    let (busy, left): (i64, i64) = writer
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("a checkpoint");
    assert_eq!((busy, left), (0, 0));
    drop(writer);
    fs::read(fixture.path()).expect("the database")
}

/// The numbers of the pages that differ, from 0.
fn differing(before: &[u8], after: &[u8]) -> Vec<usize> {
    let pages = before.chunks(PAGE).zip(after.chunks(PAGE)).enumerate();
    pages.filter(|(_, (before, after))| before != after).map(|(number, _)| number).collect()
}

/// Each page alone, all pages but one, and all pages.
fn choices(pages: &[usize]) -> Vec<Vec<usize>> {
    let alone = pages.iter().map(|page| vec![*page]);
    let but = pages.iter().map(|left| pages.iter().copied().filter(|page| page != left).collect());
    alone.chain(but).chain([pages.to_vec()]).collect()
}

fn put_back(fixture: &Fixture, from: &[u8], pages: &[usize]) {
    let file = fs::File::options().write(true).open(fixture.path()).expect("the database");
    for page in pages {
        let start = page * PAGE;
        file.write_all_at(&from[start..start + PAGE], start as u64).expect("written");
    }
}

fn forget_pages(store: &Store) {
    engine(store)
        .connections
        .read(|reader| Ok(reader.execute_batch("PRAGMA shrink_memory")?))
        .expect("no pages");
}

/// Asserts that `change` survives any choice of its pages being put back.
async fn assert_stays(change: impl AsyncFn(&Store, &NewSession), is_done: impl Fn(&StoredSession) -> bool) {
    let fixture = Fixture::new().await;
    let store = fixture.open().await;
    // Enough sessions for more than one page.
    let others: Vec<NewSession> = (0..60).map(|second| session("00u1", second)).collect();
    for other in &others {
        store.open_session(other.clone(), 100).await.expect("stored");
    }
    let (token, new) = session_with_token("00u2", 100);
    store.open_session(new.clone(), 48).await.expect("stored");
    let before = checkpointed(&fixture, &store);
    change(&store, &new).await;
    let seen = store.guard_counter();
    let after = checkpointed(&fixture, &store);
    drop(store);
    let choices = choices(&differing(&before, &after));
    assert!(choices.len() > 4, "{choices:?}");
    let (mut found_while_it_runs, mut found_at_start) = (0, 0);
    for pages in choices {
        fs::write(fixture.path(), &after).expect("the database");
        let running = fixture.open().await;
        put_back(&fixture, &before, &pages);
        forget_pages(&running);
        match running.find_token(token.expose()).await {
            Ok(Some(found)) => assert!(is_done(&found.session), "{pages:?}, running: {:?}", found.session),
            Ok(None) => {}
            Err(_) => found_while_it_runs += 1,
        }
        drop(running);

        let started = fixture.open().await;
        if started.check_age().is_err() || started.guard_counter() < seen {
            found_at_start += 1;
            continue;
        }
        if let Ok(Some(found)) = started.find_token(token.expose()).await {
            assert!(is_done(&found.session), "{pages:?}, started: {:?}", found.session);
        }
    }
    assert!(found_while_it_runs > 0 && found_at_start > 0, "{found_while_it_runs}, {found_at_start}");
}

#[tokio::test]
async fn ended_session_stays_ended_when_pages_are_put_back() {
    assert_stays(
        async |store, new| {
            assert!(revoke(store, &new.id, 200, EndReason::Logout).await);
        },
        |found| found.ended.is_some(),
    )
    .await;
}

#[tokio::test]
async fn removed_group_stays_removed_when_pages_are_put_back() {
    assert_stays(
        async |store, new| {
            let user = User { groups: vec!["on \"call\"".to_owned()], ..new.user.clone() };
            store.update_user(&new.id, user, true).await.expect("stored");
        },
        |found| found.user.groups.len() == 1,
    )
    .await;
}

#[tokio::test]
async fn verification_detects_missing_session() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await;
    let before = checkpointed(&fixture, &store);
    let (token, new) = session_with_token("00u2", 100);
    store.open_session(new, 48).await.expect("stored");
    store.verify_sessions().await.expect("as it was left");
    let after = checkpointed(&fixture, &store);
    drop(store);
    let mut found = 0;
    for page in differing(&before, &after) {
        fs::write(fixture.path(), &after).expect("the database");
        let store = fixture.open().await;
        put_back(&fixture, &before, &[page]);
        if store.find_token(token.expose()).await.is_ok_and(|found| found.is_some()) {
            continue;
        }
        let verified = store.verify_sessions().await.expect_err("a session is missing");
        assert!(
            matches!(verified, StoreError::RolledBack(_) | StoreError::Database(_)),
            "{page}: {verified}"
        );
        found += 1;
    }
    assert!(found > 0);
}

#[tokio::test]
async fn used_ticket_stays_used_when_pages_are_put_back() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await;
    let before = checkpointed(&fixture, &store);
    assert_eq!(store.consume_ticket([7; 16], at(300)).await.expect("stored"), TicketState::Unused);
    let after = checkpointed(&fixture, &store);
    drop(store);
    for pages in choices(&differing(&before, &after)) {
        fs::write(fixture.path(), &after).expect("the database");
        let store = fixture.open().await;
        put_back(&fixture, &before, &pages);
        engine(&store)
            .connections
            .writer
            .lock()
            .expect("the writer")
            .execute_batch("PRAGMA shrink_memory")
            .expect("no pages");
        let again = store.consume_ticket([7; 16], at(300)).await;
        assert!(!matches!(again, Ok(TicketState::Unused)), "{pages:?}: {again:?}");
    }
}

#[tokio::test]
async fn rolled_back_store_rejects_requests_until_accepted() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await;
    let (token, new) = session_with_token("00u1", 0);
    let (other_token, other) = session_with_token("00u2", 0);
    store.open_session(new.clone(), 48).await.expect("stored");
    store.open_session(other, 48).await.expect("stored");
    let before = checkpointed(&fixture, &store);
    revoke(&store, &new.id, 10, EndReason::Logout).await;
    let after = checkpointed(&fixture, &store);
    assert!(store.find_token(other_token.expose()).await.expect("an answer").is_some());
    put_back(&fixture, &before, &differing(&before, &after));
    forget_pages(&store);
    for _ in 0..2 {
        let refusal = store.find_token(token.expose()).await.expect_err("an earlier state");
        assert!(matches!(refusal, StoreError::RolledBack(_)), "{refusal}");
        assert!(store.find_token(other_token.expose()).await.is_err(), "what else was put back is not known");
        assert!(store.find_cached_token(other_token.expose()).is_none());
        assert!(store.open_session(session("00u3", 20), 48).await.is_err());
        assert!(store.check().await.is_err());
    }

    engine(&store)
        .connections
        .writer
        .lock()
        .expect("the writer")
        .execute_batch("PRAGMA shrink_memory")
        .expect("no pages");
    let seen = store.guard_counter() + 1;
    assert_eq!(store.accept_rollback(seen, at(20)).await.expect("accepted"), 2);
    assert!(store.guard_counter() > seen);
    store.check().await.expect("it serves");
    store.verify_sessions().await.expect("as it was accepted");
    for token in [&token, &other_token] {
        let found = store.find_token(token.expose()).await.expect("an answer").expect("a row");
        assert!(found.session.ended.is_some());
    }
    store.open_session(session("00u3", 20), 48).await.expect("stored");
    drop(store);
    let store = fixture.open().await;
    store.check().await.expect("it serves");
    store.verify_sessions().await.expect("as it was left");
}

#[tokio::test]
async fn copy_of_store_matches_its_digests() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await;
    let (_, new) = session_with_token("00u1", 0);
    store.open_session(new.clone(), 48).await.expect("stored");
    store.open_session(session("00u1", 1), 48).await.expect("stored");
    store.consume_ticket([7; 16], at(300)).await.expect("stored");
    let before = checkpointed(&fixture, &store);
    revoke(&store, &new.id, 10, EndReason::Logout).await;
    let after = checkpointed(&fixture, &store);
    let copy = fixture.directory.path().join("copy");
    let (key, sealer) = (fixture.keys.backup_keys().database_key(), fixture.keys.field_sealer());
    let to = DatabaseFile { path: copy.clone(), key, sealer: sealer.clone() };
    store.copy_to(to, sealer, at(10)).await.expect("a copy");
    verify_file(copy.clone(), fixture.keys.backup_keys().database_key()).await.expect("it agrees");
    drop(store);

    let (mut refused, pages) = (0, differing(&before, &after));
    for page in &pages {
        fs::write(fixture.path(), &after).expect("the database");
        put_back(&fixture, &before, &[*page]);
        refused += usize::from(verify_file(fixture.path(), fixture.keys.database_key()).await.is_err());
    }
    // One page may hold only the header of the file.
    assert!(refused + 1 >= pages.len(), "{refused} of {}", pages.len());
}

#[tokio::test]
async fn digests_match_after_sessions_end_and_are_purged() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await;
    for second in 0..5 {
        store.open_session(session("00u1", second), 3).await.expect("stored");
    }
    store.revoke(SessionSelector::ALL, at(50), EndReason::Operator).await.expect("stored");
    store.open_session(session("00u1", 4000), 3).await.expect("stored");
    store.verify_sessions().await.expect("as it was left");
    let dropped = store.purge(at(4) + SignedDuration::from_hours(25)).await.expect("dropped");
    assert_eq!(dropped, 5);
    store.verify_sessions().await.expect("as it was left");
    drop(store);
    fixture.open().await.check().await.expect("as it was left");
}

#[tokio::test]
async fn older_guard_row_stops_next_write() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await;
    store.open_session(session("00u1", 0), 48).await.expect("stored");
    let set_back = "UPDATE rollback_guard SET counter = counter - 1";
    engine(&store).connections.writer.lock().expect("the writer").execute(set_back, []).expect("set back");
    let refusal = store.open_session(session("00u3", 20), 48).await.expect_err("an earlier guard");
    assert!(matches!(refusal, StoreError::RolledBack(_)), "{refusal}");
    assert!(store.check().await.is_err());
}
