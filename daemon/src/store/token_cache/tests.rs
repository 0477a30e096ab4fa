//! Tests of the cache alone. `store/contract/token_cache.rs` has those with an engine.

use std::sync::OnceLock;

use infra_shared::api::{Delegation, LoginMethod, User};
use proptest::prelude::*;
use serde_json::value::to_raw_value;

use super::packed::PackedSession;
use super::*;
use crate::platform::ProcessUsage;
use crate::store::freshness::Change;
use crate::store::{AudienceRestriction, CachedJson, ClientInfo, EndReason, Ended, StoredSession};

/// As in `infrad`, because `weight` counts in its size classes. All unit tests of the daemon use it.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const MIB: usize = 1024 * 1024;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a time")
}

fn cache(bytes: usize) -> TokenCache {
    TokenCache::new(bytes, Freshness::exclusive())
}

/// A new token and its session, which expires after an hour.
fn session(groups: &[&str]) -> (SessionToken, StoredSession) {
    let token = SessionToken::mint();
    let session = StoredSession {
        id: token.id().clone(),
        token_hash: TokenHash::of(&token),
        user: User {
            name: Some("Alice".to_owned()),
            email: None,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            provider: "okta".to_owned(),
            issuer: "https://okta.test".to_owned(),
            subject: "00u1".to_owned(),
        },
        email_verified: true,
        client_info: ClientInfo::default(),
        delegation: None,
        created_at: at(0),
        expires_at: at(3600),
        last_used_at: at(0),
        ended: None,
        revision: 3,
        cached_json: OnceLock::new(),
        is_admitted: OnceLock::new(),
    };
    (token, session)
}

fn restriction(expires_at: Timestamp) -> Arc<AudienceRestriction> {
    Arc::new(AudienceRestriction { audience: "wiki".to_owned(), created_at: at(0), expires_at })
}

/// Caches a session as if it had just been read for its session token.
fn insert(cache: &TokenCache, token: &SessionToken, session: &StoredSession) {
    let read_start = cache.begin_read();
    cache.insert(token.expose(), &found(TokenHash::of(token), session, None), read_start);
}

fn insert_audience_token(
    cache: &TokenCache,
    session: &StoredSession,
    restriction: Arc<AudienceRestriction>,
) -> AudienceToken {
    let token = AudienceToken::mint();
    let found = found(TokenHash::of_audience_token(&token), session, Some(restriction));
    cache.insert(token.expose(), &found, cache.begin_read());
    token
}

fn found(
    token_hash: TokenHash,
    session: &StoredSession,
    restriction: Option<Arc<AudienceRestriction>>,
) -> FoundToken {
    FoundToken { token_hash, session: Arc::new(session.clone()), restriction }
}

fn find(cache: &TokenCache, text: &str) -> Option<FoundToken> {
    cache.find(text, &TokenHash::of_text(text))
}

fn is_cached(cache: &TokenCache, token: &SessionToken) -> bool {
    find(cache, token.expose()).is_some()
}

/// Everything about a session, for comparison.
fn shown(session: &StoredSession) -> String {
    format!("{session:?} {:?}", session.token_hash.0)
}

#[test]
fn cached_session_is_found_as_it_was_stored() {
    let (cache, (token, session)) = (cache(4 * MIB), session(&["a", "b"]));
    assert!(!is_cached(&cache, &token));
    insert(&cache, &token, &session);
    let audience_token = insert_audience_token(&cache, &session, restriction(at(600)));
    for (text, restriction) in [(token.expose(), None), (audience_token.expose(), Some(restriction(at(600))))]
    {
        // The last times from the unpacked copy.
        for _ in 0..20 {
            let found = find(&cache, text).expect("it is cached");
            assert_eq!(shown(&found.session), shown(&session));
            assert_eq!(found.restriction, restriction);
            assert_eq!(found.token_hash.0, TokenHash::of_text(text).0);
        }
    }
    assert_eq!(cache.counts().hits, 40);
}

#[test]
fn tokens_of_unpacked_session_share_its_json() {
    let (cache, (token, session)) = (cache(4 * MIB), session(&[]));
    insert(&cache, &token, &session);
    let audience_token = insert_audience_token(&cache, &session, restriction(at(600)));
    let json = CachedJson { session: to_raw_value(&1).expect("JSON"), user: to_raw_value(&2).expect("JSON") };
    // In constant use, until it is kept unpacked.
    for _ in 0..16 {
        assert!(is_cached(&cache, &token));
    }
    let first = find(&cache, token.expose()).expect("it is cached");
    first.session.cached_json.set(json).expect("nothing was rendered");
    let second = find(&cache, audience_token.expose()).expect("it is cached");
    assert!(second.session.cached_json.get().is_some());
    cache.touch(&session.id, at(1));
    let third = find(&cache, token.expose()).expect("it is cached");
    assert!(third.session.cached_json.get().is_none(), "the JSON has the last use");
}

#[test]
fn session_is_not_found_with_another_secret() {
    let (cache, (token, session)) = (cache(MIB), session(&[]));
    insert(&cache, &token, &session);
    let mut text = token.expose().to_owned();
    let last = if text.pop() == Some('a') { 'b' } else { 'a' };
    text.push(last);
    assert!(SessionToken::parse(&text).is_some_and(|forged| forged.id() == token.id()));
    assert!(find(&cache, &text).is_none());
    for text in ["", "infra_", "infra_aud_", &token.expose()[..40]] {
        assert!(find(&cache, text).is_none(), "{text:?}");
    }
}

#[test]
fn removed_session_takes_its_audience_tokens_along() {
    let cache = cache(MIB);
    let ((token, session), (other_token, other)) = (session(&[]), session(&[]));
    insert(&cache, &token, &session);
    insert(&cache, &other_token, &other);
    let audience_token = insert_audience_token(&cache, &session, restriction(at(600)));
    let only_audience_token = insert_audience_token(&cache, &other, restriction(at(600)));
    cache.remove_sessions(std::slice::from_ref(&session.id));
    assert!(!is_cached(&cache, &token) && find(&cache, audience_token.expose()).is_none());
    assert!(is_cached(&cache, &other_token) && find(&cache, only_audience_token.expose()).is_some());
    cache.clear();
    assert!(!is_cached(&cache, &other_token) && find(&cache, only_audience_token.expose()).is_none());
}

#[test]
fn session_without_its_own_token_is_found_by_audience_token() {
    let (cache, (token, session)) = (cache(MIB), session(&[]));
    let audience_token = insert_audience_token(&cache, &session, restriction(at(600)));
    assert!(find(&cache, audience_token.expose()).is_some());
    assert!(is_cached(&cache, &token), "the session is cached once for all its tokens");
}

#[test]
fn read_that_overlaps_change_is_not_cached() {
    let (cache, (token, session), (_, other)) = (cache(MIB), session(&[]), session(&[]));
    for change in [TokenCache::clear, |cache: &TokenCache| cache.remove_sessions(&[])] {
        let read_start = cache.begin_read();
        change(&cache);
        cache.insert(token.expose(), &found(TokenHash::of(&token), &session, None), read_start);
        assert!(!is_cached(&cache, &token));
    }
    let read_start = cache.begin_read();
    cache.remove_sessions(&[other.id]);
    let audience_token = AudienceToken::mint();
    let hash = TokenHash::of_audience_token(&audience_token);
    let restricted = found(hash, &session, Some(restriction(at(600))));
    cache.insert(audience_token.expose(), &restricted, read_start);
    assert!(find(&cache, audience_token.expose()).is_none());
}

#[test]
fn ended_session_is_not_cached() {
    let (cache, (token, session)) = (cache(MIB), session(&[]));
    let ended = Ended { at: at(1), reason: EndReason::Logout };
    insert(&cache, &token, &StoredSession { ended: Some(ended), ..session });
    assert!(!is_cached(&cache, &token));
}

#[test]
fn use_of_session_counts_for_all_its_tokens_and_never_back() {
    let (cache, (token, session)) = (cache(4 * MIB), session(&[]));
    insert(&cache, &token, &session);
    let audience_token = insert_audience_token(&cache, &session, restriction(at(600)));
    let last_use = |text: &str| find(&cache, text).expect("it is cached").session.last_used_at;
    // Packed, and after some uses unpacked.
    for (used_at, expected) in (1..30).map(|second| (second, at(second))).chain([(7, at(29))]) {
        cache.touch(&session.id, at(used_at));
        assert_eq!(last_use(token.expose()), expected);
        assert_eq!(last_use(audience_token.expose()), expected);
    }
}

#[test]
fn expired_entries_leave_and_free_their_memory() {
    let (cache, (token, session), (other_token, mut other)) = (cache(4 * MIB), session(&[]), session(&[]));
    let empty = cache.counts().bytes;
    other.expires_at = at(7200);
    insert(&cache, &token, &session);
    insert(&cache, &other_token, &other);
    let audience_token = insert_audience_token(&cache, &other, restriction(at(600)));
    assert!(find(&cache, audience_token.expose()).is_some());
    cache.remove_expired(at(600));
    assert!(find(&cache, audience_token.expose()).is_none() && is_cached(&cache, &token));
    cache.remove_expired(at(3600));
    assert!(!is_cached(&cache, &token) && is_cached(&cache, &other_token));
    cache.remove_expired(at(7200));
    assert!(!is_cached(&cache, &other_token));
    assert_eq!(cache.counts().bytes, empty);
}

#[test]
fn knowledge_that_is_not_current_does_not_count() {
    let elapsed = Arc::new(AtomicU64::new(10));
    let clock = elapsed.clone();
    let read_clock = move || Duration::from_secs(clock.load(Ordering::SeqCst));
    let cache = TokenCache::new(MIB, Freshness::polled(Box::new(read_clock)));
    let (token, session) = session(&[]);
    insert(&cache, &token, &session);
    assert!(!is_cached(&cache, &token));
    let poll = Poll {
        after: 0,
        mark_of_known: None,
        newest: Change { number: 0, mark: None },
        later: 0,
        is_all: false,
        sessions: Vec::new(),
    };
    // The first poll cannot tell what changed before it.
    cache.apply(Duration::from_secs(10), poll);
    assert!(!is_cached(&cache, &token));
    insert(&cache, &token, &session);
    assert!(is_cached(&cache, &token));
    elapsed.store(11, Ordering::SeqCst);
    assert!(!is_cached(&cache, &token));
}

#[test]
fn only_session_tokens_are_found_in_grace() {
    let elapsed = Arc::new(AtomicU64::new(10));
    let clock = elapsed.clone();
    let read_clock = move || Duration::from_secs(clock.load(Ordering::SeqCst));
    let cache = TokenCache::new(MIB, Freshness::polled(Box::new(read_clock)));
    cache.freshness().set_grace(Duration::from_secs(5));
    let (token, session) = session(&[]);
    let empty = Change { number: 0, mark: None };
    let poll =
        Poll { after: 0, mark_of_known: None, newest: empty, later: 0, is_all: false, sessions: Vec::new() };
    cache.apply(Duration::from_secs(10), poll);
    insert(&cache, &token, &session);
    let audience_token = insert_audience_token(&cache, &session, restriction(at(600)));
    let hash = TokenHash::of_audience_token(&audience_token);
    let in_grace = |text: &str| cache.find_in_grace(text).is_some();
    assert!(is_cached(&cache, &token) && !in_grace(token.expose()));
    cache.freshness().miss(true);
    elapsed.store(12, Ordering::SeqCst);
    assert!(!is_cached(&cache, &token) && in_grace(token.expose()));
    assert!(!in_grace(audience_token.expose()));
    cache.remove_token(token.expose(), &hash);
    assert!(in_grace(token.expose()), "only its holder removes it");
    cache.remove_token(token.expose(), &session.token_hash);
    assert!(!in_grace(token.expose()));
    insert(&cache, &token, &session);
    elapsed.store(16, Ordering::SeqCst);
    assert!(!in_grace(token.expose()));
}

/// A poll cannot find a change that someone hid in the database.
#[test]
fn session_counts_until_it_must_be_read_again() {
    let elapsed = Arc::new(AtomicU64::new(1_000));
    let clock = elapsed.clone();
    let read_clock = move || Duration::from_secs(clock.load(Ordering::SeqCst));
    let cache = TokenCache::new(4 * MIB, Freshness::polled(Box::new(read_clock)));
    let poll_at = |second: u64| {
        elapsed.store(second, Ordering::SeqCst);
        let none = Change { number: 0, mark: None };
        let sessions = Vec::new();
        let after = i64::from(second == 1_000);
        let poll = Poll { after, mark_of_known: None, newest: none, later: 0, is_all: false, sessions };
        cache.apply(Duration::from_secs(second), poll);
    };
    poll_at(1_000);
    let (token, session) = session(&["before"]);
    insert(&cache, &token, &session);
    let audience_token = insert_audience_token(&cache, &session, restriction(at(600)));
    let groups = |text: &str| find(&cache, text).map(|found| found.session.user.groups.clone());
    cache.touch(&session.id, at(7));
    for (second, counts) in [(1_001, true), (1_300, true), (1_301, false)] {
        poll_at(second);
        for text in [token.expose(), audience_token.expose()] {
            assert_eq!(groups(text).is_some(), counts, "{second}");
        }
    }
    insert(&cache, &token, &session);
    let found = find(&cache, token.expose()).expect("it was read again");
    assert_eq!(found.session.last_used_at, at(7), "uses that are not stored yet still count");
    poll_at(1_601);
    assert!(is_cached(&cache, &token));
    poll_at(1_602);
    let mut changed = session.clone();
    changed.user.groups = vec!["after".to_owned()];
    insert(&cache, &token, &changed);
    assert_eq!(groups(token.expose()), Some(changed.user.groups.clone()));
    cache.remove_ended(&session.id);
    assert!(!is_cached(&cache, &token));
}

#[test]
fn full_cache_evicts_entries_that_are_not_used() {
    let cache = cache(4 * MIB);
    let used: Vec<_> = (0..200).map(|_| session(&["staff"])).collect();
    for (token, session) in &used {
        insert(&cache, token, session);
    }
    for _ in 0..200 {
        for _ in 0..200 {
            let (token, session) = session(&["staff"]);
            insert(&cache, &token, &session);
        }
        assert!(used.iter().all(|(token, _)| is_cached(&cache, token)));
    }
    let counts = cache.counts();
    assert!(counts.evictions > 1000 && counts.bytes <= 4 * MIB, "{counts:?}");
}

#[test]
fn walk_over_more_tokens_than_fit_finds_some() {
    let cache = cache(4 * MIB);
    let sessions: Vec<_> = (0..40_000).map(|_| session(&["staff"])).collect();
    let mut hits = 0;
    for _ in 0..2 {
        hits = 0;
        for (token, session) in &sessions {
            if is_cached(&cache, token) {
                hits += 1;
            } else {
                insert(&cache, token, session);
            }
        }
    }
    assert!(hits > 4000, "{hits} of 40000");
}

#[test]
fn oversized_session_displaces_no_others() {
    let cache = cache(4 * MIB);
    let small: Vec<_> = (0..100).map(|_| session(&[])).collect();
    for (token, session) in &small {
        insert(&cache, token, session);
    }
    let groups: Vec<String> = (0..256).map(|number| format!("{number:0>256}")).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    for _ in 0..100 {
        let (token, session) = session(&groups);
        insert(&cache, &token, &session);
        assert!(!is_cached(&cache, &token));
    }
    assert!(small.iter().all(|(token, _)| is_cached(&cache, token)));
    assert_eq!(cache.counts().evictions, 0);
}

/// After a failed change, whose sessions are not known.
#[test]
fn family_is_removed_with_its_parent() {
    let cache = cache(4 * MIB);
    let (parent_token, parent) = session(&[]);
    let delegated = |parent: &SessionID| {
        let (token, session) = session(&["a"]);
        let (parent, audiences) = (parent.clone(), vec!["wiki".to_owned()]);
        let delegation = Some(Box::new(Delegation { parent, audiences, label: "agent".to_owned() }));
        (token, StoredSession { delegation, ..session })
    };
    let other = SessionToken::mint();
    let children = [delegated(&parent.id), delegated(&parent.id)];
    let (child_of_other, of_other) = delegated(other.id());
    let insert_all = || {
        insert(&cache, &parent_token, &parent);
        for (token, session) in &children {
            insert(&cache, token, session);
        }
        insert(&cache, &child_of_other, &of_other);
    };
    let are_cached = || {
        let children = children.iter().map(|(token, _)| token);
        children
            .chain([&parent_token, &child_of_other])
            .map(|token| is_cached(&cache, token))
            .collect::<Vec<_>>()
    };
    insert_all();
    assert_eq!(are_cached(), [true; 4]);
    cache.remove_families(std::slice::from_ref(&parent.id));
    assert_eq!(are_cached(), [false, false, false, true]);
    insert_all();
    cache.remove_token(parent_token.expose(), &TokenHash::of(&parent_token));
    assert_eq!(are_cached(), [false, false, false, true]);
}

/// Sessions of every size, their audience tokens, unpacked copies and the JSON of them. Blocks of very different sizes
/// leave gaps, and jemalloc returns freed pages after seconds only.
#[test]
fn memory_of_full_cache_stays_within_bound() {
    const SIZE: usize = 32 * MIB;
    const MOST_RESIDENT: usize = SIZE * 7 / 4;
    let all_groups: Vec<String> = (0..256).map(|group| format!("{group:\u{1}>200}")).collect();
    let resident = || ProcessUsage::now().expect("the usage of this process").resident_bytes;
    let cache = cache(SIZE);
    let before = resident();
    for number in 0..20_000_usize {
        // Most users have few groups.
        let count = if number % 10 == 0 { number % 257 } else { number % 5 };
        let groups: Vec<&str> = all_groups.iter().map(String::as_str).take(count).collect();
        let (token, session) = session(&groups);
        insert(&cache, &token, &session);
        let audience_token = insert_audience_token(&cache, &session, restriction(at(600)));
        for text in [token.expose(), audience_token.expose()] {
            if let Some(found) = find(&cache, text) {
                found.session.cached_json.get_or_init(|| CachedJson {
                    session: to_raw_value(&"2026-11-30T08:00:00.000Z".repeat(6)).expect("JSON"),
                    user: to_raw_value(&found.session.user).expect("JSON"),
                });
            }
        }
    }
    let (taken, counts) = (resident() - before, cache.counts());
    assert!(counts.evictions > 0 && counts.bytes > SIZE * 3 / 4, "{counts:?}");
    assert!(counts.bytes <= SIZE, "{counts:?}");
    assert!(taken <= MOST_RESIDENT as u64, "{taken} bytes of memory for {counts:?}");
    cache.clear();
    assert!(cache.counts().bytes < MIB);
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,20}", "\\PC{0,200}"]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn packed_session_is_unpacked_unchanged(
        texts in proptest::array::uniform3(text()),
        optional in proptest::array::uniform3(proptest::option::of(text())),
        groups in proptest::collection::vec(text(), 0..300),
        address in proptest::option::of(any::<std::net::IpAddr>()),
        (audiences, label) in (proptest::option::of(proptest::collection::vec(text(), 0..20)), text()),
        (email_verified, is_pasted, revision) in any::<(bool, bool, u32)>(),
        times in proptest::array::uniform3(0_i64..4_000_000_000_000),
    ) {
        let ([provider, issuer, subject], [name, email, device]) = (texts, optional);
        let [created_at, expires_at, last_used_at] =
            times.map(|time| Timestamp::from_millisecond(time).expect("a time"));
        let login_method = if is_pasted { LoginMethod::Paste } else { LoginMethod::Browser };
        let (_, template) = session(&[]);
        let parent = SessionToken::mint().id().clone();
        let delegation =
            audiences.map(|audiences| Box::new(Delegation { parent: parent.clone(), audiences, label }));
        let session = StoredSession {
            user: User { name, email, groups, provider, issuer, subject },
            client_info: ClientInfo { device, login_method, address },
            delegation,
            email_verified, created_at, expires_at, last_used_at, revision,
            ..template
        };
        let packed = PackedSession::pack(&session).expect("a live session");
        prop_assert_eq!(packed.id(), session.id.as_str());
        let expected = session.delegation.as_ref().map(|_| parent.as_str());
        prop_assert_eq!(packed.parent(), expected);
        let unpacked = packed.unpack(session.token_hash.0, last_used_at);
        prop_assert_eq!(shown(&unpacked), shown(&session));
    }
}
