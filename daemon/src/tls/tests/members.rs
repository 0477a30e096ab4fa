//! The CA and challenges of two members that share a store.

use std::collections::HashSet;
use std::time::Duration;

use infra_peers::postgresql::{PostgreSQL, USER};

use super::*;
use crate::audit::Audit;
use crate::keys::{RowKeys, StoredKeys};
use crate::store::{DatabaseHost, MemberID, PostgresDatabase, PostgresSettings, StoreError};
use crate::tls::resolver::{Protocol, Resolver};
use crate::tls::shared_challenges::SharedChallenges;

/// A server, and the keys and the clock of its members.
struct Members {
    server: PostgreSQL,
    fixture: Fixture,
}

impl Members {
    /// `None` if there is no PostgreSQL, which is reported.
    async fn start() -> Option<Self> {
        let server = PostgreSQL::start()?;
        server.create_database("infra");
        let members = Self { server, fixture: Fixture::new().await };
        let database = members.database();
        database.create_schema().await.expect("the schema");
        let now = members.fixture.clock.now();
        database.add_first_keys(&StoredKeys::fixed(), &RowKeys::fixed(), now).await.expect("stored");
        Some(members)
    }

    fn database(&self) -> PostgresDatabase {
        let (directory, port) = (self.server.socket().to_owned(), self.server.port());
        let settings = PostgresSettings {
            hosts: vec![DatabaseHost::Socket { directory, port }],
            name: "infra".to_owned(),
            user: USER.to_owned(),
            password: None,
            client_certificate: None,
            trust: Trust::System,
        };
        PostgresDatabase::new(&settings).expect("a pool")
    }

    async fn store(&self) -> Store {
        let keys = Arc::new(RowKeys::fixed());
        Store::connect(self.database(), keys, MemberID::random()).await.expect("a store")
    }

    async fn certificates(&self, name: &str) -> Arc<Certificates> {
        self.start_member(name).await.expect("certificates")
    }

    async fn start_member(&self, name: &str) -> Result<Arc<Certificates>, TlsError> {
        let (store, clock) = (self.store().await, Arc::new(self.fixture.clock.clone()));
        let sealer = self.fixture.keys.field_sealer();
        let names = vec![name.to_owned()];
        let local = LocalAuthority::load_or_create(store.clone(), sealer.clone(), clock.clone(), names);
        let local = local.await?;
        let server = format!("https://{name}").parse().expect("an origin");
        Certificates::open(local, OtherSource::None, vec![server], store, sealer, clock, Audit::none()).await
    }

    fn sql(&self, statements: &str) -> String {
        self.server.sql("infra", statements)
    }
}

/// Someone who can write to the tables copies the certificates, and puts them back later.
const COPY: &str = "DROP TABLE IF EXISTS copied; CREATE TABLE copied AS SELECT * FROM certificates";
const PUT_BACK: &str = "DELETE FROM certificates; INSERT INTO certificates SELECT * FROM copied";

async fn follow(certificates: &Certificates) {
    certificates.follow(&mut None).await.expect("the store answers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_start_together_create_one_authority() {
    let Some(members) = Members::start().await else { return };
    let started = tokio::join!(
        members.certificates("a.test"),
        members.certificates("b.test"),
        members.certificates("a.test"),
    );
    let pins: HashSet<_> = [started.0, started.1, started.2].iter().map(|it| it.local().pin()).collect();
    assert_eq!(pins.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollover_of_one_member_is_followed_by_another() {
    let Some(members) = Members::start().await else { return };
    let (one, other) = (members.certificates("infra.test").await, members.certificates("infra.test").await);
    let before = one.local().pin();
    assert_eq!(before, other.local().pin());

    one.rotate_authority(SignedDuration::from_hours(24), false).await.expect("another CA");
    let (next, _) = one.local().next().expect("a next CA");
    assert_eq!(other.local().next(), None);
    follow(&other).await;
    assert_eq!(other.local().next(), one.local().next());
    let announced = one.daemon_identity().sequence();
    assert!(announced.is_some());
    assert_eq!(other.daemon_identity().sequence(), announced, "the same announcement has one number");
    assert_eq!(other.daemon_identity().pins_at(members.fixture.clock.now()), [before, next]);
    // An announced CA is not replaced unless it is asked for, on no member.
    let again = other.rotate_authority(SignedDuration::from_hours(48), false).await;
    assert!(matches!(again, Err(TlsError::AlreadyAnnounced { pin, .. }) if pin == next));

    members.fixture.clock.advance(SignedDuration::from_hours(25));
    assert_eq!(one.local().maintain().await.expect("maintained"), Maintenance::TookOver);
    // It is due on the other member too, which finds that it was done.
    assert_eq!(other.local().maintain().await.expect("maintained"), Maintenance::TookOver);
    for member in [&one, &other] {
        follow(member).await;
        assert_eq!((member.local().pin(), member.local().next()), (next, None));
        let sent = infra_shared::http::pin_of_certificate(&member.local().key().cert[1]);
        assert_eq!(sent, Some(next), "the chain is that of the new CA");
    }
    assert_eq!(one.daemon_identity().sequence(), other.daemon_identity().sequence());
    assert_eq!(members.certificates("infra.test").await.local().pin(), next);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_with_different_names_have_leaves_of_their_own() {
    let Some(members) = Members::start().await else { return };
    let (one, other) = (members.certificates("a.test").await, members.certificates("b.test").await);
    one.rotate_authority(SignedDuration::from_hours(24), false).await.expect("another CA");
    let number = || (one.daemon_identity().sequence(), other.daemon_identity().sequence());
    follow(&other).await;
    let numbers = number();
    // Different announcements: members do not outbid each other for ever.
    for _ in 0..3 {
        follow(&one).await;
        follow(&other).await;
        assert_eq!(number(), numbers);
    }
    for (member, name) in [(&one, "a.test"), (&other, "b.test")] {
        follow(member).await;
        let chain = &member.local().key().cert;
        let (_, leaf) = x509_parser::parse_x509_certificate(&chain[0]).expect("a certificate");
        let names = leaf.subject_alternative_name().expect("an extension").expect("names");
        assert!(format!("{names:?}").contains(name), "{names:?}");
    }
}

/// Follows, finds that the store has lost the CA or has an earlier one, and stores it again.
async fn refuse(certificates: &Certificates) -> StoreError {
    let pin = certificates.local().pin();
    let refused = certificates.follow(&mut None).await;
    assert_eq!(certificates.local().pin(), pin);
    let Err(TlsError::Store(error)) = refused else { panic!("it follows: {refused:?}") };
    assert!(error.is_lost_authority(), "{error}");
    let [state]: [CertificateState; 1] = certificates.states().try_into().expect("one source");
    assert_eq!(state.last_error, Some(error.to_string()), "status shows it");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn earlier_authority_is_refused_and_replaced() {
    let Some(members) = Members::start().await else { return };
    let (one, other) = (members.certificates("infra.test").await, members.certificates("infra.test").await);
    members.sql(COPY);
    one.rotate_authority(SignedDuration::ZERO, false).await.expect("another CA");
    follow(&other).await;
    let pin = one.local().pin();
    for written in [PUT_BACK, "UPDATE certificates SET sealed = '\\x00'", "DELETE FROM certificates"] {
        members.sql(written);
        let error = refuse(&other).await;
        assert_eq!(matches!(error, StoreError::EarlierAuthority { .. }), written == PUT_BACK, "{error}");
        for member in [&one, &other] {
            follow(member).await;
            assert_eq!(member.local().pin(), pin, "{written}");
        }
        assert_eq!(members.certificates("infra.test").await.local().pin(), pin, "{written}");
    }
    members.sql(PUT_BACK);
    other.rotate_authority(SignedDuration::from_hours(24), false).await.expect("another CA");
    follow(&one).await;
    assert_eq!((one.local().pin(), one.local().next()), (pin, other.local().next()));
}

/// Clients that saw a higher number would ignore the next announcement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn number_in_the_future_is_not_announced() {
    let Some(members) = Members::start().await else { return };
    let (one, other) = (members.certificates("infra.test").await, members.certificates("infra.test").await);
    one.rotate_authority(SignedDuration::from_hours(24), false).await.expect("another CA");
    follow(&other).await;
    let before = other.daemon_identity().sequence();
    members.sql("UPDATE ca_rollover SET sequence = 9000000000000000000");
    follow(&other).await;
    assert_eq!(other.daemon_identity().sequence(), before);
    members.fixture.clock.advance(SignedDuration::from_mins(1));
    one.publish().await.expect("published");
    let number = one.daemon_identity().sequence();
    assert!(number > before && number < Some(9_000_000_000_000_000_000), "{number:?}");
}

/// The replaced one may be stolen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_next_authority_does_not_take_over() {
    let Some(members) = Members::start().await else { return };
    let one = members.certificates("infra.test").await;
    let before = one.local().pin();
    one.rotate_authority(SignedDuration::from_hours(24), false).await.expect("another CA");
    members.sql(COPY);
    one.rotate_authority(SignedDuration::from_hours(48), true).await.expect("another CA");
    let (next, _) = one.local().next().expect("a next CA");
    // A member that starts knows no later one, and stores something else under the same number.
    members.sql(PUT_BACK);
    members.fixture.clock.advance(SignedDuration::from_hours(25));
    assert_ne!(members.certificates("infra.test").await.local().pin(), before);
    refuse(&one).await;
    assert_eq!(one.local().next().map(|(pin, _)| pin), Some(next));
    assert_eq!(members.certificates("infra.test").await.local().pin(), before);

    members.sql(PUT_BACK);
    members.fixture.clock.advance(SignedDuration::from_hours(24));
    one.local().maintain().await.expect_err("the announced one is missing");
    assert_eq!(one.local().pin(), before);
    refuse(&one).await;
    assert_eq!(one.local().maintain().await.expect("maintained"), Maintenance::TookOver);
    assert_eq!(one.local().pin(), next);

    members.sql(PUT_BACK);
    let started = members.certificates("infra.test").await;
    assert_ne!(started.local().pin(), next);
    refuse(&one).await;
    follow(&started).await;
    assert_eq!(started.local().pin(), next);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_authority_is_replaced_only_if_operator_allows() {
    let Some(members) = Members::start().await else { return };
    let before = members.certificates("infra.test").await.local().pin();
    for lost in ["UPDATE certificates SET sealed = '\\x00'", "DELETE FROM certificates"] {
        members.sql(lost);
        let refused = members.start_member("infra.test").await.err();
        assert!(matches!(refused, Some(TlsError::Store(StoreError::NoAuthority { .. }))), "{refused:?}");
    }
    let store = members.store().await;
    for is_lost in [true, false] {
        assert_eq!(store.allow_new_authority().await.expect("stored"), is_lost);
    }
    assert_ne!(members.certificates("infra.test").await.local().pin(), before);
    assert!(!store.allow_new_authority().await.expect("an answer"));
}

/// As after a restore: whoever can read the CA of the other keys must not lose it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authority_is_not_stored_beside_other_keys() {
    let Some(members) = Members::start().await else { return };
    let one = members.certificates("infra.test").await;
    let pin = one.local().pin();
    members.sql("UPDATE certificates SET sealed = '\\x00'; UPDATE keys SET check_mac = sha256('other')");
    let refused = one.follow(&mut None).await;
    assert!(matches!(refused, Err(TlsError::Store(StoreError::UnexpectedRow(_)))), "{refused:?}");
    assert_eq!((one.local().pin(), members.sql("SELECT sealed FROM certificates").as_str()), (pin, "\\x00"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_member_does_not_replace_newer_authority() {
    let Some(members) = Members::start().await else { return };
    let (one, other) = (members.certificates("infra.test").await, members.certificates("infra.test").await);
    one.rotate_authority(SignedDuration::from_hours(24), false).await.expect("another CA");
    members.fixture.clock.advance(SignedDuration::from_hours(25));
    // Another member holds the lease: nothing is written, and nothing fails.
    let store = members.store().await;
    let lease = store.expect_lease(Job::Authority).await.expect("a lease");
    assert_eq!(one.local().maintain().await.expect("maintained"), Maintenance::Nothing);
    let refused = other.rotate_authority(SignedDuration::ZERO, true).await;
    assert!(matches!(refused, Err(TlsError::Store(_))), "{refused:?}");
    store.end_lease(lease).await;
    assert_eq!(one.local().maintain().await.expect("maintained"), Maintenance::TookOver);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn challenge_is_answered_by_every_member() {
    let Some(members) = Members::start().await else { return };
    let resolver = async |store: &Store| {
        let names = vec!["infra.test".to_owned()];
        let clock = Arc::new(members.fixture.clock.clone());
        let challenges = SharedChallenges::new(store.clone(), clock, &names);
        Resolver::with_challenges(members.fixture.authority(&["infra.test"]).await, Some(challenges))
    };
    let (store, other_store) = (members.store().await, members.store().await);
    let (one, other) = (resolver(&store).await, resolver(&other_store).await);
    // The other member remembers this for a second.
    assert!(other.challenge(Protocol::AcmeTls, "infra.test").await.is_none());
    let lease = store.expect_lease(Job::Acme).await.expect("a lease");
    let answer = acme::challenge_answer("infra.test");
    let pending = one.answer(Protocol::AcmeTls, "infra.test", &answer, &lease).await.expect("an answer");
    for resolver in [&one, &other] {
        let found = resolver.challenge(Protocol::AcmeTls, "INFRA.test").await.expect("an answer");
        assert_eq!(found.cert[0], *answer.certificate());
        assert!(resolver.challenge(Protocol::SelfCheck, "infra.test").await.is_none());
        assert!(resolver.challenge(Protocol::AcmeTls, "other.test").await.is_none());
    }
    drop(pending);
    // A member that lost its lease answers for nothing.
    members.server.sql("infra", "UPDATE leases SET holder = 'another', fence = fence + 1");
    let lost =
        one.answer(Protocol::AcmeTls, "infra.test", &acme::challenge_answer("infra.test"), &lease).await;
    assert!(matches!(lost, Err(TlsError::Store(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcome_of_challenge_look_up_is_remembered() {
    let Some(members) = Members::start().await else { return };
    let store = members.store().await;
    let remembering = |time| {
        let clock = Arc::new(members.fixture.clock.clone());
        SharedChallenges::new(store.clone(), clock, &["infra.test".to_owned()]).remembering_for(time)
    };
    let (long, short) = (remembering(Duration::MAX), remembering(Duration::ZERO));
    let lease = store.expect_lease(Job::Acme).await.expect("a lease");
    let answer = acme::challenge_answer("infra.test");
    short.publish(Protocol::AcmeTls, "infra.test", &answer, &lease).await.expect("stored");
    let rename = |from: &str, to: &str| {
        members.server.sql("infra", &format!("ALTER TABLE {from} RENAME TO {to}"));
    };
    rename("acme_challenges", "hidden");
    for challenges in [&long, &short] {
        assert!(challenges.find(Protocol::AcmeTls, "infra.test").await.is_none());
    }
    rename("hidden", "acme_challenges");
    assert!(long.find(Protocol::AcmeTls, "infra.test").await.is_none(), "it looked up again");
    let found = short.find(Protocol::AcmeTls, "infra.test").await.expect("an answer");
    assert_eq!(found.cert[0], *answer.certificate());
}
