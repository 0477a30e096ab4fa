//! The CA of daemons that share a store.

use infra_peers::postgresql::{PostgreSQL, USER};

use super::*;
use crate::keys::{SharedKeys, StoredKeys};
use crate::store::{DatabaseHost, MemberID, PostgresDatabase, PostgresSettings};

struct Members {
    server: PostgreSQL,
    directory: TempDir,
    clock: ManualClock,
}

impl Members {
    /// A database with keys and without a CA. `None` if PostgreSQL is not installed.
    async fn new() -> Option<Self> {
        let server = PostgreSQL::start()?;
        server.create_database("infra");
        let directory = tempfile::tempdir().expect("a directory");
        let members = Self { server, directory, clock: ManualClock::at(SystemClock.now()) };
        members.database().create_schema().await.expect("a schema");
        let keys = StoredKeys::create(&members.root_keys(), members.directory.path()).await;
        let added = members.database().add_first_keys(&keys.expect("keys"), members.clock.now()).await;
        added.expect("the first keys");
        Some(members)
    }

    fn root_keys(&self) -> Vec<RootKeySettings> {
        vec![RootKeySettings::Native { path: self.server.authority_file().with_file_name("root.key") }]
    }

    fn database(&self) -> PostgresDatabase {
        let host =
            DatabaseHost::Socket { directory: self.server.socket().to_owned(), port: self.server.port() };
        let settings = PostgresSettings {
            hosts: vec![host],
            name: "infra".to_owned(),
            user: USER.to_owned(),
            password: None,
            client_certificate: None,
            trust: Trust::System,
        };
        PostgresDatabase::new(&settings).expect("a pool")
    }

    /// The CA of one more daemon, which has this name.
    async fn authority(&self, name: &str) -> Arc<LocalAuthority> {
        let database = self.database();
        let stored = database.keys().await.expect("an answer").expect("keys");
        let keys = SharedKeys::open(stored, "the database", &self.root_keys(), self.directory.path()).await;
        let keys = keys.expect("the keys");
        let store = Store::connect(database, keys.row_keys(), MemberID::random()).await.expect("a store");
        let (clock, names) = (Arc::new(self.clock.clone()), vec![name.to_owned()]);
        let authority = LocalAuthority::load_or_create(store, keys.field_sealer(), clock, names);
        authority.await.expect("an authority")
    }
}

#[tokio::test]
async fn one_of_several_daemons_creates_the_ca() {
    let Some(members) = Members::new().await else { return };
    let (one, other, third) =
        tokio::join!(members.authority("a.test"), members.authority("b.test"), members.authority("c.test"));
    assert_eq!((one.pin(), one.pin()), (other.pin(), third.pin()));
    assert_eq!((one.names(), other.names()), (&["a.test".to_owned()][..], &["b.test".to_owned()][..]));
}

#[tokio::test]
async fn daemons_follow_the_ca_that_one_of_them_rotates() {
    let Some(members) = Members::new().await else { return };
    let (one, other) = (members.authority("a.test").await, members.authority("b.test").await);
    let before = one.pin();
    one.rotate(SignedDuration::from_hours(1), false).await.expect("announced");
    assert_eq!(other.maintain().await.expect("an answer"), Maintenance::Nothing);
    assert_eq!((other.pin(), other.next()), (before, one.next()));
    one.rotate(SignedDuration::ZERO, true).await.expect("rotated");
    assert_eq!(other.maintain().await.expect("an answer"), Maintenance::TookOver);
    assert_ne!(other.pin(), before);
    assert_eq!((other.pin(), other.next()), (one.pin(), None));
}
