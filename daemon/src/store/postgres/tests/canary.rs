//! What PostgreSQL's files and its log hold: no name, no address, no token.

use infra_harness::canaries::Canaries;
use infra_peers::postgresql::PostgreSQL;
use infra_shared::api::{Delegation, User};
use infra_shared::token_text::{AudienceToken, SessionID, SessionToken};
use zeroize::Zeroizing;

use super::store_on;
use crate::keys::{FieldSealer, Place};
use crate::store::contract::{Fixture, at, revoke, session_with_token};
use crate::store::{
    AudienceTokenRow, CertificateRow, ClientInfo, DelegatedSession, EndReason, EndpointHosts, Job,
    LeaseRequest, NewRefreshToken, NewSession, ProviderRow, RememberedEndpoints, SessionSelector, Store,
    TokenHash, UserFilter,
};

const CONTROL: &str = "control-canary-0123456789";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_and_log_of_server_hold_no_personal_value() {
    // Everything that a statement says, with all parameters.
    let settings = ["log_statement=all", "log_duration=on", "log_parameter_max_length=-1"];
    let Some(mut server) = PostgreSQL::start_with(&settings) else { return };
    let store = store_on(&server).await;
    let canaries = use_store(&store).await;

    // The positive control: a row of another table, written through the same server.
    let mut control = Canaries::default();
    control.add("the control", CONTROL);
    server.sql("infra", "CREATE TABLE control (text text)");
    server.sql("infra", &format!("INSERT INTO control VALUES ('{CONTROL}')"));
    // Everything that is in memory, to the files.
    server.sql_as("postgres", "infra", "CHECKPOINT");
    let log = server.log();
    server.stop();
    let found = control.find_in_files(&server.data(), &[]);
    for place in ["/base/", "/pg_wal/"] {
        assert!(found.iter().any(|found| found.contains(place)), "{place} is not searched: {found:?}");
    }
    assert_eq!(control.find(log.as_bytes()), ["the control"]);
    for statement in ["INSERT INTO sessions", "UPDATE sessions", "INSERT INTO refresh_tokens", "$1 = "] {
        assert!(log.contains(statement), "the log has no {statement}");
    }

    assert_eq!(canaries.find_in_files(&server.data(), &[]), <[&str; 0]>::default());
    assert_eq!(canaries.find(log.as_bytes()), <[&str; 0]>::default());
}

/// Values that the rows hold, apart from tokens and hashes.
const TEXTS: [&str; 21] = [
    "subject-canary",
    "provider-canary",
    "Name Canary.",
    "Email.Canary",
    "email.canary",
    "group-canary",
    "issuer-canary",
    "device-canary",
    "2001:db8:ca:4a",
    "refresh-canary",
    "audience-canary",
    "delegated-canary",
    "label-canary",
    "sealed-canary",
    "policy-canary",
    "endpoint-canary",
    "certificate-canary",
    "chain-canary",
    "directory-canary",
    "announcement-canary",
    "nowhere.invalid",
];

/// A session that `parent` delegates.
fn delegated(parent: &SessionID) -> DelegatedSession {
    let token = SessionToken::mint();
    DelegatedSession {
        id: token.id().clone(),
        token_hash: TokenHash::of(&token),
        delegation: Delegation {
            parent: parent.clone(),
            audiences: vec!["https://delegated-canary.test".to_owned()],
            label: "label-canary".to_owned(),
        },
        address: None,
        created_at: at(5),
        expires_at: at(600),
    }
}

/// Calls the operations that store a value of a session, or search for one.
async fn use_store(store: &Store) -> Canaries {
    let keys = Fixture::new().await.keys;
    let sealer = keys.field_sealer();
    let (token, new) = session_with_token("subject-canary", 0);
    let refresh_token = NewRefreshToken {
        provider: "provider-canary".to_owned(),
        sealer: sealer.clone(),
        credential: Zeroizing::new(b"refresh-canary".to_vec()),
        due_at: at(60),
    };
    let new = NewSession {
        user: User {
            name: Some("Name Canary.".to_owned()),
            email: Some("Email.Canary@example.com".to_owned()),
            groups: vec!["group-canary".to_owned()],
            provider: "provider-canary".to_owned(),
            issuer: "https://issuer-canary.test".to_owned(),
            ..new.user
        },
        client_info: ClientInfo {
            device: Some("device-canary".to_owned()),
            address: Some("2001:db8:ca:4a::1".parse().expect("an address")),
            ..new.client_info
        },
        refresh_token: Some(refresh_token),
        ..new
    };
    let User { issuer, subject, .. } = new.user.clone();
    store.open_session(new.clone(), 1).await.expect("stored");
    assert!(store.find_token(token.expose()).await.expect("an answer").is_some());
    store.touch_session(&new.id, at(5)).await.expect("stored");
    let changed = User { groups: vec!["later-group-canary".to_owned()], ..new.user.clone() };
    store.update_user(&new.id, changed, true).await.expect("stored");
    assert_eq!(store.sessions_of(&issuer, &subject, at(6)).await.expect("an answer").len(), 1);
    for name in ["subject-canary", "email.canary@example.com"] {
        assert_eq!(store.sessions_named(name, 9, at(6)).await.expect("an answer").len(), 1, "{name}");
    }
    store.open_delegated_session(delegated(&new.id), 9).await.expect("stored");
    let audience_token = AudienceToken::mint();
    let audience_row = AudienceTokenRow {
        id: audience_token.id().clone(),
        token_hash: TokenHash::of_audience_token(&audience_token),
        session: new.id.clone(),
        audience: "https://audience-canary.test".to_owned(),
        created_at: at(5),
        expires_at: at(600),
    };
    store.issue_audience_token(audience_row.clone(), 9).await.expect("stored");
    assert!(store.find_token(audience_token.expose()).await.expect("an answer").is_some());
    let request = LeaseRequest {
        provider: "provider-canary".to_owned(),
        sealer: sealer.clone(),
        now: at(60),
        lease_duration: jiff::SignedDuration::from_secs(30),
        max_delay: jiff::SignedDuration::from_mins(30),
        limit: 9,
    };
    let leased = store.lease_due_refresh_tokens(request).await.expect("an answer");
    let leased = leased.first().expect("a lease");
    let credential = Zeroizing::new(b"second-refresh-canary".to_vec());
    assert!(
        store.swap_refresh_token(&new.id, leased.version, sealer.clone(), credential).await.expect("stored")
    );
    use_configured(store, &sealer, &issuer).await;
    // The second session ends the first, and a selector by name ends the second.
    let (second_token, second) = session_with_token("subject-canary", 8);
    let second = NewSession { user: new.user.clone(), ..second };
    store.open_session(second.clone(), 1).await.expect("stored");
    let named = UserFilter::Named("email.CANARY@example.com".to_owned());
    let named = SessionSelector::Users { filter: named, except: None };
    assert_eq!(store.revoke(named, at(9), EndReason::Operator).await.expect("stored").len(), 1);
    assert!(!revoke(store, &second.id, 9, EndReason::Logout).await);
    store.forget_addresses(9).await.expect("stored");
    store.purge(at(400_000)).await.expect("stored");

    let mut canaries = Canaries::default();
    for text in TEXTS {
        canaries.add(text, text);
    }
    for (name, text, hash) in [
        ("a session token", token.expose(), &new.token_hash),
        ("another session token", second_token.expose(), &second.token_hash),
        ("an audience token", audience_token.expose(), &audience_row.token_hash),
    ] {
        let (_, secret) = text.split_once('.').expect("an ID and a secret");
        canaries.add(name, secret);
        canaries.add(&format!("the hash of {name}"), hash.0);
    }
    canaries
}

/// Calls the operations that store a value of the configuration, or a certificate.
async fn use_configured(store: &Store, sealer: &FieldSealer, issuer: &str) {
    let field =
        |table, column| sealer.seal(Place { table, row: "row", column, version: 1 }, b"sealed-canary");
    let provider = ProviderRow {
        name: "provider-canary".to_owned(),
        issuer: issuer.to_owned(),
        allow_policy: "{\"emails\":[\"policy-canary@example.com\"]}".to_owned(),
        client_secret_reference: field("providers", "client_secret_reference"),
    };
    let providers = vec![provider];
    let compared = store.compare_providers(&providers).await.expect("an answer");
    store.replace_providers(providers, &compared).await.expect("stored");
    let hosts = EndpointHosts::from([("token_endpoint".to_owned(), "endpoint-canary.test".to_owned())]);
    let endpoints = RememberedEndpoints { issuer: issuer.to_owned(), hosts, changed: None };
    store.remember_provider_endpoints("provider-canary".to_owned(), endpoints).await.expect("stored");
    let certificate = CertificateRow {
        name: "certificate-canary".to_owned(),
        certificate: b"chain-canary".to_vec(),
        private_key: field("certificates", "private_key"),
    };
    let lease = store.expect_lease(Job::Acme).await.expect("a lease");
    store.save_certificate(certificate, &lease).await.expect("stored");
    let directory = "https://directory-canary.test/".to_owned();
    let credentials = field("acme_accounts", "credentials");
    store.save_acme_account(directory.clone(), credentials, &lease).await.expect("stored");
    store.settle_orders(directory, at(7), &lease).await.expect("stored");
    store.number_announcement("announcement-canary".to_owned(), at(7)).await.expect("stored");
}
