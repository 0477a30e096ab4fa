//! Tests sessions with a real store and a manual clock. No provider is contacted.

mod audiences;
mod delegation;
mod grace;
mod revalidation;
mod signed_tokens;
mod workloads;

use std::net::IpAddr;
use std::sync::Arc;

use infra_harness::clock::ManualClock;
use infra_shared::api::{FinishLoginRequest, LoginMethod, RevocationResponse, StartLoginRequest, User};
use infra_shared::login_binding::{BoundVerifier, LoginBinding};
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use infra_shared::token_text::{SessionID, SessionToken};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use tempfile::TempDir;

use super::ticket::Ticket;
use super::*;
use crate::audit::Audit;
use crate::identity::{Allow, IdentityError, ProviderSettings, SigningAlgorithm};
use crate::jwt::{Algorithm, JwtSettings};
use crate::keys::{Keys, RootKeySettings};
use crate::secrets::Backends;
use crate::store::{ClientInfo, EndReason, NewSession, SessionSelector, TicketState, TokenHash, UserFilter};

const REDIRECT_URI: &str = "http://127.0.0.1:8301/callback";

/// Sessions with a store in a temporary directory.
struct Fixture {
    sessions: Sessions,
    clock: ManualClock,
    ticket_key: TicketKey,
    directory: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        Self::with_allow(Allow::Everyone).await
    }

    async fn with_allow(allow: Allow) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let data_dir = directory.path().join("data");
        crate::platform::ensure_private_directory(&data_dir).expect("a data directory");
        let root_key = RootKeySettings::Native { path: directory.path().join("keys/root.key") };
        let keys = Keys::open_or_create(&data_dir, &[root_key]).await.expect("keys");
        let store =
            Store::open(data_dir.join(keys.database_file()), keys.database_key()).await.expect("a store");
        let clock = ManualClock::at("2026-11-23T08:00:00Z".parse().expect("a time"));
        let second = ProviderSettings { name: "second".to_owned(), ..settings(allow.clone()) };
        let providers = [settings(allow), second].map(|settings| {
            Provider::new(settings, Backends::built_in(), Arc::new(clock.clone())).expect("a provider")
        });
        let token_keys = TokenKeys::open(
            JwtSettings { issuer: origin().to_string(), algorithm: Algorithm::ES256 },
            store.clone(),
            keys.field_sealer(),
            Arc::new(clock.clone()),
            Audit::none(),
        );
        let token_keys = token_keys.await.expect("keys");
        let sessions = Sessions::new(SessionSetup {
            store,
            ticket_key: keys.ticket_key(),
            sealer: keys.field_sealer(),
            providers: providers.into(),
            workloads: workloads::configured(),
            token_keys: Some(token_keys),
            bindings: Bindings::new(vec![origin()], Arc::new(DaemonIdentity::new(pin()))),
            limits: SessionLimits::default(),
            admins: admins(),
            clock: Arc::new(clock.clone()),
            audit: Audit::none(),
        });
        Self { sessions, clock, ticket_key: keys.ticket_key(), directory }
    }

    /// Opens a session for alice as a login would and returns its token.
    async fn open_session(&self) -> SessionToken {
        self.open_session_of(alice()).await
    }

    async fn open_session_of(&self, user: User) -> SessionToken {
        let token = SessionToken::mint();
        let created_at = truncate_to_second(self.clock.now());
        let session = NewSession {
            id: token.id().clone(),
            token_hash: TokenHash::of(&token),
            user,
            email_verified: true,
            client_info: ClientInfo::default(),
            refresh_token: None,
            delegation: None,
            created_at,
            expires_at: add(created_at, self.sessions.limits.lifetime),
        };
        self.sessions.store.open_session(session, 48).await.expect("a session");
        token
    }

    /// A caller with a session of this user.
    async fn caller(&self, user: User, email_verified: bool) -> UndelegatedCaller {
        self.caller_from(None, user, email_verified).await
    }

    /// Like [`Self::caller`], for a login from `address`.
    async fn caller_from(
        &self,
        address: Option<IpAddr>,
        user: User,
        email_verified: bool,
    ) -> UndelegatedCaller {
        let token = SessionToken::mint();
        let created_at = truncate_to_second(self.clock.now());
        let session = NewSession {
            id: token.id().clone(),
            token_hash: TokenHash::of(&token),
            user,
            email_verified,
            client_info: ClientInfo { address, ..ClientInfo::default() },
            refresh_token: None,
            delegation: None,
            created_at,
            expires_at: add(created_at, self.sessions.limits.lifetime),
        };
        self.sessions.store.open_session(session, 48).await.expect("a session");
        let caller = self.sessions.authenticate(token.expose(), SessionUse::Recorded).await;
        caller.expect("a caller").require_undelegated().expect("a session of a login")
    }

    fn ticket(&self, verifier: &BoundVerifier) -> SecretString {
        Ticket::mint("okta", REDIRECT_URI, &verifier.challenge(), self.clock.now()).seal(&self.ticket_key)
    }

    async fn finish(&self, ticket: SecretString, verifier: &BoundVerifier) -> LoginError {
        self.finish_with_issuer(ticket, verifier, None).await
    }

    async fn finish_with_issuer(
        &self,
        ticket: SecretString,
        verifier: &BoundVerifier,
        iss: Option<&str>,
    ) -> LoginError {
        let request = FinishLoginRequest {
            ticket,
            code: "a-code".into(),
            code_verifier: verifier.expose().clone(),
            iss: iss.map(ToOwned::to_owned),
            device: None,
            login_method: LoginMethod::Browser,
        };
        let from = std::net::Ipv4Addr::LOCALHOST.into();
        self.sessions.finish_login(&request, from).await.expect_err("no provider can be reached")
    }
}

fn admins() -> Vec<ProviderRule> {
    let (groups, emails) = (vec!["infra-admins".to_owned()], vec!["root@example.com".to_owned()]);
    let allow = Allow::Listed { groups, email_domains: Vec::new(), emails };
    vec![ProviderRule { provider: "okta".to_owned(), allow }]
}

fn origin() -> Origin {
    "infra.test".parse().expect("an origin")
}

fn pin() -> Pin {
    Pin::of_public_key(b"the authority of this daemon")
}

/// Binding of a login at this daemon with its only provider.
fn binding<'a>(origin: &'a Origin, pin: &'a Pin) -> LoginBinding<'a> {
    LoginBinding { origin, pin: Some(pin), provider: "okta", issuer: "https://okta.test" }
}

fn verifier() -> BoundVerifier {
    BoundVerifier::mint(&binding(&origin(), &pin()))
}

fn alice() -> User {
    User {
        name: Some("Alice".to_owned()),
        email: Some("alice@example.com".to_owned()),
        groups: vec!["engineering".to_owned()],
        provider: "okta".to_owned(),
        issuer: "https://okta.test".to_owned(),
        subject: "00u1".to_owned(),
    }
}

pub(super) fn settings(allow: Allow) -> ProviderSettings {
    ProviderSettings {
        client_secret: Backends::built_in().parse("plaintext:nothing to hide").expect("a reference"),
        redirect_uris: vec![REDIRECT_URI.to_owned()],
        scopes: vec!["openid".to_owned()],
        signing_algorithms: vec![SigningAlgorithm::RS256],
        allow,
        // No trusted CA, so the provider cannot be contacted.
        authorities: Some(Vec::new()),
        ..ProviderSettings::unreachable()
    }
}

#[tokio::test]
async fn token_holder_is_authenticated() {
    let fixture = Fixture::new().await;
    let token = fixture.open_session().await;

    let caller = fixture.sessions.authenticate(token.expose(), SessionUse::Recorded).await.expect("a caller");

    assert_eq!(caller.user(), &alice());
    assert_eq!(caller.session().id, *token.id());
    assert_eq!(caller.session().expires_at.to_string(), "2026-11-23T20:00:00Z");
    assert_eq!(caller.session().idle_expires_at.to_string(), "2026-11-23T12:00:00Z");
}

#[tokio::test]
async fn wrong_secret_unknown_id_and_malformed_token_look_alike() {
    let fixture = Fixture::new().await;
    let token = fixture.open_session().await;
    let (id, _) = token.expose().split_once('.').expect("two parts");
    let other = SessionToken::mint();
    let (_, other_secret) = other.expose().split_once('.').expect("two parts");

    for text in
        [format!("{id}.{other_secret}"), other.expose().to_owned(), String::new(), "infra_".to_owned()]
    {
        let refusal =
            fixture.sessions.authenticate(&text, SessionUse::Recorded).await.expect_err("not a good token");
        assert!(matches!(refusal, NotAuthenticated::Unknown), "{refusal:?}");
    }
}

#[tokio::test]
async fn unused_session_expires_exactly_at_inactivity_timeout() {
    let fixture = Fixture::new().await;
    let token = fixture.open_session().await;

    fixture.clock.advance(SignedDuration::from_secs(4 * 3600 - 1));
    fixture.sessions.authenticate(token.expose(), SessionUse::NotRecorded).await.expect("a second is left");
    fixture.clock.advance(SignedDuration::from_secs(1));
    let refusal =
        fixture.sessions.authenticate(token.expose(), SessionUse::Recorded).await.expect_err("the limit");
    assert!(matches!(refusal, NotAuthenticated::Expired), "{refusal:?}");
}

#[tokio::test]
async fn use_extends_inactivity_timeout_but_not_lifetime() {
    let fixture = Fixture::new().await;
    let token = fixture.open_session().await;

    for _ in 0..3 {
        fixture.clock.advance(SignedDuration::from_secs(4 * 3600 - 1));
        fixture
            .sessions
            .authenticate(token.expose(), SessionUse::Recorded)
            .await
            .expect("it was used in time");
    }
    fixture.clock.set("2026-11-23T19:59:59Z".parse().expect("a time"));
    let caller =
        fixture.sessions.authenticate(token.expose(), SessionUse::Recorded).await.expect("a second is left");
    assert_eq!(caller.session().idle_expires_at, caller.session().expires_at);
    fixture.clock.advance(SignedDuration::from_secs(1));
    let refusal =
        fixture.sessions.authenticate(token.expose(), SessionUse::Recorded).await.expect_err("the limit");
    assert!(matches!(refusal, NotAuthenticated::Expired), "{refusal:?}");
}

#[tokio::test]
async fn looking_does_not_extend_inactivity_timeout() {
    let fixture = Fixture::new().await;
    let token = fixture.open_session().await;

    fixture.clock.advance(SignedDuration::from_hours(3));
    let caller =
        fixture.sessions.authenticate(token.expose(), SessionUse::NotRecorded).await.expect("a caller");
    assert_eq!(caller.session().idle_expires_at.to_string(), "2026-11-23T12:00:00Z");
    let caller = fixture.sessions.authenticate(token.expose(), SessionUse::Recorded).await.expect("a caller");
    assert_eq!(caller.session().idle_expires_at.to_string(), "2026-11-23T15:00:00Z");
}

#[tokio::test]
async fn clock_step_back_revives_no_ended_session_or_ticket() {
    let fixture = Fixture::new().await;
    let token = fixture.open_session().await;
    let caller = fixture.sessions.authenticate(token.expose(), SessionUse::Recorded).await.expect("a caller");
    fixture.sessions.log_out(&caller).await.expect("stored");

    fixture.clock.advance(SignedDuration::from_hours(-2));

    let refusal =
        fixture.sessions.authenticate(token.expose(), SessionUse::Recorded).await.expect_err("ended");
    assert!(matches!(refusal, NotAuthenticated::Store(StoreError::ClockBehind { .. })), "{refusal:?}");
    let verifier = BoundVerifier::mint(&binding(&origin(), &pin()));
    let refusal = fixture.finish(fixture.ticket(&verifier), &verifier).await;
    assert!(matches!(refusal, LoginError::Store(StoreError::ClockBehind { .. })), "{refusal:?}");
    fixture.sessions.check_store().await.expect_err("the daemon is not ready");

    fixture.clock.advance(SignedDuration::from_hours(2));

    let refusal =
        fixture.sessions.authenticate(token.expose(), SessionUse::Recorded).await.expect_err("ended");
    assert!(matches!(refusal, NotAuthenticated::Revoked), "{refusal:?}");
    fixture.sessions.check_store().await.expect("the daemon is ready");
}

#[tokio::test]
async fn session_stays_expired_when_clock_is_corrected() {
    let fixture = Fixture::new().await;
    let token = fixture.open_session().await;
    fixture.clock.advance(SignedDuration::from_hours(13));
    fixture.sessions.store.purge(fixture.clock.now()).await.expect("the latest time");
    // Within the tolerance for clock corrections, so the latest stored time decides.
    fixture.clock.advance(SignedDuration::from_mins(-4));
    let refusal =
        fixture.sessions.authenticate(token.expose(), SessionUse::NotRecorded).await.expect_err("expired");
    assert!(matches!(refusal, NotAuthenticated::Expired), "{refusal:?}");
    let newer = fixture.open_session().await;
    fixture.sessions.authenticate(newer.expose(), SessionUse::Recorded).await.expect("a caller");
}

#[tokio::test]
async fn session_reported_as_expired_stays_expired() {
    let fixture = Fixture::new().await;
    let token = fixture.open_session().await;
    fixture.clock.advance(SignedDuration::from_hours(4));
    fixture.sessions.authenticate(token.expose(), SessionUse::NotRecorded).await.expect_err("the limit");

    fixture.clock.advance(SignedDuration::from_hours(-2));

    let refusal =
        fixture.sessions.authenticate(token.expose(), SessionUse::Recorded).await.expect_err("still expired");
    assert!(matches!(refusal, NotAuthenticated::Expired), "{refusal:?}");
}

#[tokio::test]
async fn clock_off_by_an_hour_neither_ends_nor_revives_sessions() {
    for hour in [SignedDuration::from_hours(1), SignedDuration::from_hours(-1)] {
        let fixture = Fixture::new().await;
        let (used, ended) = (fixture.open_session().await, fixture.open_session().await);
        let caller =
            fixture.sessions.authenticate(ended.expose(), SessionUse::NotRecorded).await.expect("a caller");
        fixture.sessions.log_out(&caller).await.expect("stored");
        fixture.clock.advance(SignedDuration::from_mins(90));
        let is_as_it_was = async |when: &str| {
            let caller = fixture.sessions.authenticate(used.expose(), SessionUse::Recorded).await;
            let caller = caller.unwrap_or_else(|error| panic!("{hour} {when}: {error}"));
            assert_eq!(caller.session().expires_at.to_string(), "2026-11-23T20:00:00Z", "{hour} {when}");
            let refusal = fixture.sessions.authenticate(ended.expose(), SessionUse::Recorded).await;
            assert!(matches!(refusal, Err(NotAuthenticated::Revoked)), "{hour} {when}: {refusal:?}");
        };
        is_as_it_was("before").await;
        fixture.clock.advance(hour);
        is_as_it_was("off").await;
        fixture.clock.advance(-hour);
        is_as_it_was("back").await;
        // The lifetime was not extended: the session expires twelve hours after the login.
        fixture.clock.set("2026-11-23T20:00:00Z".parse().expect("a time"));
        let refusal =
            fixture.sessions.authenticate(used.expose(), SessionUse::Recorded).await.expect_err("over");
        assert!(matches!(refusal, NotAuthenticated::Expired), "{refusal:?}");
    }
}

#[tokio::test]
async fn session_and_ticket_survive_32_bit_time_overflow() {
    for (before, limit) in
        [("2038-01-19T03:10:00Z", "2038-01-19T15:10:00Z"), ("2106-02-07T06:25:00Z", "2106-02-07T18:25:00Z")]
    {
        let fixture = Fixture::new().await;
        fixture.clock.set(before.parse().expect("a time"));
        let token = fixture.open_session().await;
        let verifier = verifier();
        let (in_time, late) = (fixture.ticket(&verifier), fixture.ticket(&verifier));
        // The next five minutes include 2³¹ and 2³² seconds after 1970.
        fixture.clock.advance(SignedDuration::from_secs(299));
        let refusal = fixture.finish(in_time, &verifier).await;
        assert!(matches!(refusal, LoginError::Identity(_)), "the ticket was still good: {refusal:?}");
        fixture.clock.advance(SignedDuration::from_secs(1));
        assert!(matches!(fixture.finish(late, &verifier).await, LoginError::TicketExpired));

        let caller =
            fixture.sessions.authenticate(token.expose(), SessionUse::Recorded).await.expect("a caller");
        assert_eq!(caller.session().expires_at.to_string(), limit);
        for _ in 0..3 {
            fixture.clock.advance(SignedDuration::from_mins(230));
            fixture.sessions.authenticate(token.expose(), SessionUse::Recorded).await.expect("in use");
        }
        fixture.clock.set(limit.parse().expect("a time"));
        let refusal =
            fixture.sessions.authenticate(token.expose(), SessionUse::Recorded).await.expect_err("over");
        assert!(matches!(refusal, NotAuthenticated::Expired), "{refusal:?}");
    }
}

#[tokio::test]
async fn logout_proof_revokes_only_its_own_session() {
    let fixture = Fixture::new().await;
    let (token, other) = (fixture.open_session().await, fixture.open_session().await);

    fixture.sessions.log_out_by_proof(token.id(), &other.logout_proof()).await.expect("not told");
    fixture.sessions.authenticate(token.expose(), SessionUse::NotRecorded).await.expect("still good");

    fixture.sessions.log_out_by_proof(token.id(), &token.logout_proof()).await.expect("stored");
    let refusal =
        fixture.sessions.authenticate(token.expose(), SessionUse::NotRecorded).await.expect_err("ended");
    assert!(matches!(refusal, NotAuthenticated::Revoked), "{refusal:?}");
    fixture.sessions.authenticate(other.expose(), SessionUse::NotRecorded).await.expect("another session");
}

#[tokio::test]
async fn session_is_ended_when_policy_no_longer_admits_user() {
    let allow = |email: &str| Allow::Listed {
        groups: Vec::new(),
        email_domains: Vec::new(),
        emails: vec![email.to_owned()],
    };
    let admitted = Fixture::with_allow(allow("alice@example.com")).await;
    let token = admitted.open_session().await;
    assert_eq!(admitted.sessions.revoke_outside_configuration().await.expect("a count"), 0);
    admitted.sessions.authenticate(token.expose(), SessionUse::NotRecorded).await.expect("still good");

    let left_out = Fixture::with_allow(allow("bob@example.com")).await;
    let token = left_out.open_session().await;
    assert_eq!(left_out.sessions.revoke_outside_configuration().await.expect("a count"), 1);
    let refusal =
        left_out.sessions.authenticate(token.expose(), SessionUse::NotRecorded).await.expect_err("ended");
    assert!(matches!(refusal, NotAuthenticated::Revoked), "{refusal:?}");
    let stored = left_out.sessions.store.find_session(token.id()).await.expect("an answer").expect("a row");
    assert_eq!(stored.ended.expect("an end").reason, EndReason::ConfigurationChanged);
}

/// Members with different configurations share sessions during a rolling update.
#[tokio::test]
async fn session_outside_own_configuration_is_rejected_not_ended() {
    let emails = vec!["bob@example.com".to_owned()];
    let allow = Allow::Listed { groups: Vec::new(), email_domains: Vec::new(), emails };
    let fixture = Fixture::with_allow(allow).await;
    let token = fixture.open_session().await;
    let accepted = AcceptedTokens::SESSION_TOKEN;
    for _ in 0..2 {
        let refusal = fixture.sessions.authenticate(token.expose(), SessionUse::NotRecorded).await;
        assert!(matches!(refusal, Err(NotAuthenticated::Revoked)), "{refusal:?}");
        assert!(fixture.sessions.authenticate_cached(token.expose(), accepted).is_none());
    }
    let stored = fixture.sessions.store.find_session(token.id()).await.expect("an answer").expect("a row");
    assert_eq!(stored.ended, None);
}

#[tokio::test]
async fn login_with_unregistered_redirect_uri_is_rejected() {
    let fixture = Fixture::new().await;
    let request = StartLoginRequest {
        provider: "okta".to_owned(),
        redirect_uri: "http://127.0.0.1:9999/callback".to_owned(),
        state: "s".repeat(43),
        code_challenge: verifier().challenge(),
    };
    let refusal = fixture.sessions.start_login(&request).await.expect_err("not registered");
    assert!(matches!(refusal, LoginError::UnregisteredRedirectURI), "{refusal:?}");
    let refusal = fixture
        .sessions
        .start_login(&StartLoginRequest { provider: "other".to_owned(), ..request })
        .await
        .expect_err("not configured");
    assert!(matches!(refusal, LoginError::UnknownProvider), "{refusal:?}");
}

#[tokio::test]
async fn malformed_ticket_is_rejected() {
    let fixture = Fixture::new().await;
    let verifier = verifier();
    let refusal = fixture.finish("not-a-ticket".into(), &verifier).await;
    assert!(matches!(refusal, LoginError::Ticket(_)), "{refusal:?}");
}

#[tokio::test]
async fn ticket_expires_after_five_minutes() {
    let fixture = Fixture::new().await;
    let verifier = verifier();
    let ticket = fixture.ticket(&verifier);

    fixture.clock.advance(SignedDuration::from_secs(300));
    let refusal = fixture.finish(ticket, &verifier).await;
    assert!(matches!(refusal, LoginError::TicketExpired), "{refusal:?}");
}

#[tokio::test]
async fn verifier_of_another_login_is_rejected() {
    let fixture = Fixture::new().await;
    let (verifier, other) = (verifier(), verifier());
    let refusal = fixture.finish(fixture.ticket(&verifier), &other).await;
    assert!(matches!(refusal, LoginError::CodeVerifierMismatch), "{refusal:?}");
}

#[tokio::test]
async fn login_relayed_from_another_daemon_or_issuer_is_refused() {
    let fixture = Fixture::new().await;
    let relay: Origin = "relay.test".parse().expect("an origin");
    let (origin, pin, other_pin) = (origin(), pin(), Pin::of_public_key(b"the relay's authority"));
    let bound = binding(&origin, &pin);
    for elsewhere in [
        LoginBinding { origin: &relay, ..bound },
        LoginBinding { pin: Some(&other_pin), ..bound },
        LoginBinding { pin: None, ..bound },
        LoginBinding { provider: "other", ..bound },
        LoginBinding { issuer: "https://okta.test/", ..bound },
    ] {
        let verifier = BoundVerifier::mint(&elsewhere);
        let refusal = fixture.finish(fixture.ticket(&verifier), &verifier).await;
        assert!(matches!(refusal, LoginError::BindingMismatch), "{refusal:?}");
    }
}

#[tokio::test]
async fn wrong_response_issuer_uses_up_no_ticket() {
    let fixture = Fixture::new().await;
    let verifier = verifier();
    let ticket = fixture.ticket(&verifier);
    let refusal = fixture.finish_with_issuer(ticket.clone(), &verifier, Some("https://other.test")).await;
    assert!(matches!(refusal, LoginError::Identity(IdentityError::ResponseIssuer(_))), "{refusal:?}");
    assert!(!refusal.counts_toward_rate_limit());
    let id = Ticket::open(&ticket, &fixture.ticket_key).expect("a ticket").id;
    let consumed = fixture.sessions.store.consume_ticket(id, fixture.clock.now()).await.expect("stored");
    assert_eq!(consumed, TicketState::Unused);
}

#[test]
fn minted_ticket_has_own_id_and_whole_second_expiry() {
    let moment: Timestamp = "2026-11-23T08:00:00.5Z".parse().expect("a time");
    let ticket = Ticket::mint("okta", REDIRECT_URI, "challenge", moment);
    assert_eq!(ticket.expires_at.to_string(), "2026-11-23T08:05:00Z");
    let other = Ticket::mint("okta", REDIRECT_URI, "challenge", moment);
    assert_ne!(ticket.id, other.id);
}

#[tokio::test]
async fn administrator_needs_group_or_verified_email_at_provider() {
    let setup = Fixture::new().await;
    let user = |provider: &str, email: &str, groups: &[&str]| User {
        email: Some(email.to_owned()),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        provider: provider.to_owned(),
        subject: format!("{provider}-{email}-{groups:?}"),
        ..alice()
    };
    for (user, email_verified, is_admin) in [
        (user("okta", "eve@example.com", &["infra-admins"]), false, true),
        (user("okta", "Root@Example.com", &[]), true, true),
        (user("okta", "root@example.com", &[]), false, false),
        (user("second", "root@example.com", &["infra-admins"]), true, false),
        (user("okta", "eve@example.com", &["Infra-Admins", "infra-admins2"]), true, false),
    ] {
        let caller = setup.caller(user.clone(), email_verified).await;
        let listed = setup.sessions.list_as_administrator(&caller, UserFilter::All).await.expect("an answer");
        assert_eq!(listed.is_some(), is_admin, "{user:?}");
    }
}

#[tokio::test]
async fn session_is_revoked_only_by_its_user_or_administrator() {
    let setup = Fixture::new().await;
    let other = User { subject: "00u2".to_owned(), email: Some("bob@example.com".to_owned()), ..alice() };
    let admin = User { subject: "00u3".to_owned(), groups: vec!["infra-admins".to_owned()], ..alice() };
    let (mine, mine_too) = (setup.caller(alice(), true).await, setup.caller(alice(), true).await);
    let (other, admin) = (setup.caller(other, true).await, setup.caller(admin, true).await);
    let end = async |caller: &UndelegatedCaller, target: &Caller| {
        setup.sessions.revoke_for(caller, &target.session().id).await.expect("an answer")
    };
    let reason = async |target: &Caller| {
        let stored = setup.sessions.store.find_session(&target.session().id).await.expect("an answer");
        stored.expect("a row").ended.map(|ended| ended.reason)
    };

    assert!(!end(&other, &mine).await);
    assert_eq!(reason(&mine).await, None);
    assert_eq!(setup.sessions.list_own(&mine).await.expect("sessions").len(), 2);
    assert!(end(&mine_too, &mine).await);
    assert_eq!(reason(&mine).await, Some(EndReason::Revoked));
    assert!(!end(&mine_too, &mine).await, "it had ended");
    assert!(end(&admin, &other).await);
    assert_eq!(reason(&other).await, Some(EndReason::Administrator));
    assert!(end(&mine_too, &mine_too).await);
    assert_eq!(reason(&mine_too).await, Some(EndReason::Logout));
    assert_eq!(setup.sessions.list_own(&mine).await.expect("sessions"), []);
}

#[tokio::test]
async fn idle_session_is_unlisted_and_newer_one_is_reported() {
    let setup = Fixture::new().await;
    let old = setup.caller(alice(), true).await;
    assert_eq!(setup.sessions.find_newer(&old).await.expect("an answer"), None);
    setup.clock.advance(SignedDuration::from_mins(10));
    let new = setup.caller(alice(), true).await;
    let newer = setup.sessions.find_newer(&old).await.expect("an answer").expect("a newer one");
    assert_eq!((newer.count, &newer.newest.session.id), (1, &new.session().id));
    assert_eq!(setup.sessions.find_newer(&new).await.expect("an answer"), None);

    setup.clock.advance(SignedDuration::from_mins(1));
    let newest = setup.caller(alice(), true).await;
    let newer = setup.sessions.find_newer(&old).await.expect("an answer").expect("newer ones");
    assert_eq!((newer.count, &newer.newest.session.id), (2, &newest.session().id));
    assert!(setup.sessions.revoke_for(&old, &newest.session().id).await.expect("an answer"));

    setup.clock.advance(SignedDuration::from_mins(234));
    let listed = setup.sessions.list_own(&new).await.expect("sessions");
    assert_eq!(listed.iter().map(|listed| &listed.session.id).collect::<Vec<_>>(), [&new.session().id]);
}

#[tokio::test]
async fn idle_session_is_not_counted_as_live() {
    let setup = Fixture::new().await;
    setup.clock.advance(SignedDuration::from_millis(400));
    let (used, _unused) = (setup.caller(alice(), true).await, setup.caller(alice(), true).await);
    let is_counted_as_listed = async |expected: usize| {
        let listed = setup.sessions.list_as_operator(UserFilter::All).await.expect("sessions").len();
        let counted = setup.sessions.count_live().await.expect("a count");
        assert_eq!((listed, counted), (expected, expected as u64), "at {}", setup.clock.now());
    };
    setup.clock.advance(SignedDuration::from_secs(3600));
    setup.sessions.store.touch_session(&used.session().id, setup.clock.now()).await.expect("stored");
    setup.clock.advance(SignedDuration::from_millis(3 * 3_600_000 - 401));
    is_counted_as_listed(2).await;
    setup.clock.advance(SignedDuration::from_millis(1));
    is_counted_as_listed(1).await;
    setup.clock.advance(SignedDuration::from_millis(3_599_999));
    is_counted_as_listed(1).await;
    setup.clock.advance(SignedDuration::from_millis(1));
    is_counted_as_listed(0).await;
}

#[tokio::test]
async fn use_is_stored_once_a_minute() {
    let setup = Fixture::new().await;
    let token = setup.open_session().await;
    let used_at = async |after: i64| {
        setup.clock.advance(SignedDuration::from_secs(after));
        setup.sessions.authenticate(token.expose(), SessionUse::Recorded).await.expect("a caller");
        setup.sessions.store.find_session(token.id()).await.expect("an answer").expect("a row").last_used_at
    };
    let first = used_at(0).await;
    assert_eq!(used_at(59).await, first, "a moment ago is as good as now");
    assert_eq!(used_at(1).await, first + SignedDuration::from_secs(60));
    assert_eq!(used_at(30).await, first + SignedDuration::from_secs(60));
}

#[tokio::test]
async fn use_is_stored_often_for_short_inactivity_timeout() {
    let mut setup = Fixture::new().await;
    setup.sessions.limits.inactivity_timeout = SignedDuration::from_mins(5);
    let token = setup.open_session().await;
    // Every use, 15 s apart, is stored.
    for _ in 0..41 {
        setup.clock.advance(SignedDuration::from_secs(15));
        setup.sessions.authenticate(token.expose(), SessionUse::Recorded).await.expect("in use");
    }
    let stored = setup.sessions.store.find_session(token.id()).await.expect("an answer").expect("a row");
    assert_eq!(stored.last_used_at, setup.clock.now());
    setup.clock.advance(SignedDuration::from_secs(299));
    setup.sessions.authenticate(token.expose(), SessionUse::NotRecorded).await.expect("a second is left");
}

#[tokio::test]
async fn ended_session_is_recorded_when_client_disconnects() {
    let setup = Fixture::new().await;
    let (mine, other) = (setup.caller(alice(), true).await, setup.caller(alice(), true).await);
    let ending = setup.sessions.revoke_for(&mine, &other.session().id);
    let mut ending = Box::pin(ending);
    // The first step that waits may be the look-up of the session.
    let began = async {
        while setup.sessions.revocations.try_write().is_ok() {
            if tokio::time::timeout(std::time::Duration::ZERO, &mut ending).await.is_ok() {
                break;
            }
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), began).await.expect("it began");
    drop(ending);
    setup.sessions.finish_revocations().await;
    assert_eq!(setup.sessions.counts().ended.get("revoked"), Some(&1));
}

#[tokio::test]
async fn idle_sessions_are_ended_for_good_by_bulk_revocation() {
    let setup = Fixture::new().await;
    let (idle, idle_too) = (setup.caller(alice(), true).await, setup.caller(alice(), true).await);
    setup.clock.advance(SignedDuration::from_mins(250));
    let mine = setup.caller(alice(), true).await;
    assert!(setup.sessions.revoke_for(&mine, &idle.session().id).await.expect("an answer"));
    let filter = UserFilter::Named("ALICE@example.com".to_owned());
    let user = SessionSelector::Users { filter, except: None };
    assert_eq!(setup.sessions.revoke_as_operator(user.clone()).await.expect("an answer"), 2);
    assert_eq!(setup.sessions.revoke_as_operator(user).await.expect("an answer"), 0);
    // After the clock steps back, a revived session would be visible.
    setup.clock.advance(-SignedDuration::from_mins(240));
    for caller in [&idle, &idle_too, &mine] {
        let stored = setup.sessions.store.find_session(&caller.session().id).await.expect("an answer");
        assert!(stored.expect("a row").ended.is_some());
    }
    setup.clock.advance(SignedDuration::from_mins(240));
    let other = setup.caller(alice(), true).await;
    setup.clock.advance(SignedDuration::from_hours(13));
    assert_eq!(setup.sessions.revoke_as_operator(SessionSelector::ALL).await.expect("an answer"), 1);
    let ended = SessionSelector::Ids(vec![other.session().id.clone()]);
    assert_eq!(setup.sessions.revoke_as_operator(ended).await.expect("an answer"), 0);
}

#[tokio::test]
async fn revoking_others_includes_idle_but_not_own_session() {
    let setup = Fixture::new().await;
    let bob = User { subject: "00u2".to_owned(), email: Some("bob@example.com".to_owned()), ..alice() };
    let admin = User { subject: "00u3".to_owned(), groups: vec!["infra-admins".to_owned()], ..alice() };
    let idle = setup.caller(alice(), true).await;
    setup.clock.advance(SignedDuration::from_mins(250));
    let (mine, other) = (setup.caller(alice(), true).await, setup.caller(alice(), true).await);
    let (bob, admin) = (setup.caller(bob, true).await, setup.caller(admin, true).await);
    let reason = async |target: &Caller| {
        let stored = setup.sessions.store.find_session(&target.session().id).await.expect("an answer");
        stored.expect("a row").ended.map(|ended| ended.reason)
    };
    let end = async |caller: &UndelegatedCaller, user: Option<&str>| {
        setup.sessions.revoke_others_for(caller, user.map(ToOwned::to_owned)).await.expect("an answer")
    };

    assert_eq!(end(&bob, Some("alice@example.com")).await, None);
    assert_eq!(end(&bob, Some("bob@example.com")).await, None, "nor the own ones by that way");
    let ended = |revoked, includes_current| Some(RevocationResponse { revoked, includes_current });
    assert_eq!(end(&mine, None).await, ended(2, true));
    assert_eq!(end(&mine, None).await, ended(0, true));
    for (session, expected) in
        [(&idle, Some(EndReason::Revoked)), (&other, Some(EndReason::Revoked)), (&mine, None), (&bob, None)]
    {
        assert_eq!(reason(session).await, expected);
    }

    assert_eq!(end(&admin, Some("00u2")).await, ended(1, false));
    assert_eq!(reason(&bob).await, Some(EndReason::Administrator));
    // The administrator has the first user's e-mail address but another subject. The caller's own session is kept.
    assert_eq!(end(&admin, Some("ALICE@example.com")).await, ended(1, true));
    assert_eq!(reason(&mine).await, Some(EndReason::Administrator));
    assert_eq!(reason(&admin).await, None);
}

#[tokio::test]
async fn addresses_are_hidden_and_erased_when_recording_is_off() {
    let mut setup = Fixture::new().await;
    setup.sessions.limits.record_addresses = true;
    let caller = setup.caller_from("192.0.2.7".parse().ok(), alice(), true).await;
    let told = async |setup: &Fixture| {
        let listed = setup.sessions.list_own(&caller).await.expect("sessions");
        listed.into_iter().next().expect("a session").address
    };
    assert_eq!(told(&setup).await.as_deref(), Some("192.0.2.7"));
    assert_eq!(setup.sessions.forget_addresses().await.expect("an answer"), 0);
    setup.sessions.limits.record_addresses = false;
    assert_eq!(told(&setup).await, None);
    assert_eq!(setup.sessions.forget_addresses().await.expect("an answer"), 1);
    setup.sessions.limits.record_addresses = true;
    assert_eq!(told(&setup).await, None);
}
