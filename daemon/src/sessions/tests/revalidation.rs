//! Revalidation against a real provider on loopback. Both follow the same clock.

mod answers;

use infra_harness::pending_login::AuthorizationResponse;
use infra_harness::provider::{CLIENT_ID, CLIENT_SECRET, Endpoint, Misbehaviour, Provider as Issuer};
use serde_json::{Value, json};

use super::*;
use crate::sessions::stored_credential;
use crate::store::LeaseRequest;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// Sessions with hourly revalidation, and their provider.
struct Setup {
    sessions: Arc<Sessions>,
    clock: ManualClock,
    issuer: Issuer,
    _directory: TempDir,
}

impl Setup {
    async fn new(allow: Allow) -> Self {
        let issuer = Issuer::start();
        let directory = tempfile::tempdir().expect("a directory");
        let data_dir = directory.path().join("data");
        crate::platform::ensure_private_directory(&data_dir).expect("a data directory");
        let root_key = RootKeySettings::Native { path: directory.path().join("keys/root.key") };
        let keys = Keys::open_or_create(&data_dir, &[root_key]).await.expect("keys");
        let store =
            Store::open(data_dir.join(keys.database_file()), keys.database_key()).await.expect("a store");
        let clock = ManualClock::at(infra_shared::clock::SystemClock.now());
        let backends = Backends::built_in();
        let mut settings = ProviderSettings {
            issuer: issuer.issuer().to_owned(),
            client_id: CLIENT_ID.to_owned(),
            client_secret: backends.parse(&format!("plaintext:{CLIENT_SECRET}")).expect("a reference"),
            scopes: ["openid", "email", "profile", "groups"].map(str::to_owned).to_vec(),
            authorities: Some(vec![issuer.authority_certificate()]),
            ..settings(allow)
        };
        settings.request_refresh_tokens();
        let provider = Provider::new(settings, backends, Arc::new(clock.clone())).expect("a provider");
        let limits = SessionLimits {
            inactivity_timeout: SignedDuration::from_hours(12),
            max_per_user: 1000,
            revalidate_every: Some(SignedDuration::from_hours(1)),
            ..SessionLimits::default()
        };
        let sessions = Sessions::new(SessionSetup {
            store,
            ticket_key: keys.ticket_key(),
            sealer: keys.field_sealer(),
            providers: vec![provider],
            workloads: Workloads::default(),
            token_keys: None,
            bindings: Bindings::new(vec![origin()], Arc::new(DaemonIdentity::new(pin()))),
            limits,
            admins: Vec::new(),
            clock: Arc::new(clock.clone()),
            audit: Audit::none(),
        });
        Self { sessions: Arc::new(sessions), clock, issuer, _directory: directory }
    }

    /// Signs alice in and returns the ID of her session.
    async fn log_in(&self) -> SessionID {
        self.try_log_in().await.expect("a session")
    }

    async fn try_log_in(&self) -> Result<SessionID, LoginError> {
        let (origin, pin) = (origin(), pin());
        let bound = LoginBinding { issuer: self.issuer.issuer(), ..binding(&origin, &pin) };
        let verifier = BoundVerifier::mint(&bound);
        let started = self
            .sessions
            .start_login(&StartLoginRequest {
                provider: "okta".to_owned(),
                redirect_uri: REDIRECT_URI.to_owned(),
                state: "a-state-of-22-characters".to_owned(),
                code_challenge: verifier.challenge(),
            })
            .await
            .expect("a login");
        let response = tokio::task::block_in_place(|| {
            AuthorizationResponse::of(&started.authorization_url, &self.issuer)
        });
        let request = FinishLoginRequest {
            ticket: started.ticket,
            code: response.parameter("code").into(),
            code_verifier: verifier.expose().clone(),
            iss: Some(response.parameter("iss")),
            device: None,
            login_method: LoginMethod::Browser,
        };
        let from = std::net::Ipv4Addr::LOCALHOST.into();
        self.sessions.finish_login(&request, from).await.map(|finished| finished.session.id)
    }

    fn advance(&self, by: SignedDuration) {
        self.clock.advance(by);
        self.issuer.set_clock(self.clock.now().duration_since(infra_shared::clock::SystemClock.now()));
    }

    async fn revalidate(&self) -> usize {
        self.run_jobs(JobKind::Revalidation).await
    }

    async fn revoke_tokens(&self) -> usize {
        self.run_jobs(JobKind::Revocation).await
    }

    async fn run_jobs(&self, kind: JobKind) -> usize {
        let mut count = 0;
        for provider in self.sessions.providers() {
            let mut jobs = ProviderJobs::new(kind, &provider.settings().name);
            loop {
                count += self.sessions.start_due(&mut jobs).await.expect("an answer");
                if !jobs.wait_for_one().await {
                    break;
                }
            }
        }
        count
    }

    fn count(&self, outcome: &'static str) -> u64 {
        let counts = self.sessions.counts().revalidations;
        counts.get(&("okta".to_owned(), outcome)).copied().unwrap_or_default()
    }

    async fn stored(&self, id: &SessionID) -> crate::store::StoredSession {
        self.sessions.store.find_session(id).await.expect("an answer").expect("a row")
    }

    async fn ended(&self, id: &SessionID) -> Option<EndReason> {
        self.stored(id).await.ended.map(|ended| ended.reason)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmed_session_continues_with_rotated_refresh_token() {
    let setup = Setup::new(Allow::Everyone).await;
    let id = setup.log_in().await;
    assert_eq!(setup.revalidate().await, 0, "nothing is due yet");
    let mut seen = setup.issuer.live_refresh_tokens();
    for _ in 0..5 {
        setup.advance(MINUTE * 55);
        assert_eq!(setup.revalidate().await, 1);
        let [live] = &setup.issuer.live_refresh_tokens()[..] else { panic!("one token counts") };
        assert!(!seen.contains(live), "the token was not replaced");
        seen.push(live.clone());
        assert_eq!(setup.ended(&id).await, None);
    }
    assert_eq!(setup.issuer.calls(Endpoint::Token), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deactivated_user_is_signed_out_within_interval() {
    let setup = Setup::new(Allow::Everyone).await;
    let id = setup.log_in().await;
    setup.issuer.deactivate("alice");
    for _ in 0..59 {
        setup.advance(MINUTE);
        setup.revalidate().await;
    }
    assert_eq!(setup.ended(&id).await, Some(EndReason::ProviderRejected));
    assert_eq!(setup.sessions.counts().revalidations.get(&("okta".to_owned(), "rejected")), Some(&1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unavailable_provider_ends_no_session() {
    let setup = Setup::new(Allow::Everyone).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(setup.log_in().await);
    }
    for status in [500, 503, 429] {
        setup.issuer.misbehave(Misbehaviour::default().out_of_order(Endpoint::Token, status));
        setup.issuer.forget_requests();
        for _ in 0..120 {
            setup.advance(MINUTE);
            setup.revalidate().await;
        }
        let calls = setup.issuer.calls(Endpoint::Token);
        assert!((5..=60).contains(&calls), "{status}: asked {calls} times");
    }
    for id in &ids {
        assert_eq!(setup.ended(id).await, None, "a user was signed out");
    }
    setup.issuer.behave();
    setup.advance(MINUTE * 16);
    assert_eq!(setup.revalidate().await, 5);
    assert_eq!(setup.sessions.counts().revalidations.get(&("okta".to_owned(), "confirmed")), Some(&5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn response_unrelated_to_user_ends_no_session() {
    let setup = Setup::new(Allow::Everyone).await;
    let id = setup.log_in().await;
    let answers: [(u16, &'static str); 6] = [
        (401, r#"{"error":"invalid_client"}"#),
        (400, r#"{"error":"unauthorized_client"}"#),
        (400, r#"{"error":"invalid_request"}"#),
        (200, "<html>"),
        (200, r#"{"token_type":"Bearer"}"#),
        (302, ""),
    ];
    for (status, body) in answers {
        setup.issuer.misbehave(Misbehaviour::default().answer(Endpoint::Token, move |answer| {
            answer.status = status;
            answer.body = body.as_bytes().to_vec();
        }));
        setup.advance(MINUTE * 55);
        assert_eq!(setup.revalidate().await, 1, "{status} {body}");
        assert_eq!(setup.ended(&id).await, None, "{status} {body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_updated_and_unadmitted_user_is_signed_out() {
    let allow =
        Allow::Listed { groups: vec!["engineering".to_owned()], email_domains: vec![], emails: vec![] };
    let setup = Setup::new(allow).await;
    let id = setup.log_in().await;
    let groups = |groups: Value| Misbehaviour::default().claim("groups", groups);
    setup.issuer.misbehave(groups(json!(["engineering", "on-call"])));
    setup.advance(MINUTE * 55);
    setup.revalidate().await;
    assert_eq!(setup.stored(&id).await.user.groups, ["engineering", "on-call"]);
    assert_eq!(setup.ended(&id).await, None);

    setup.issuer.misbehave(groups(json!(["Everyone"])));
    setup.advance(MINUTE * 55);
    setup.revalidate().await;
    assert_eq!(setup.ended(&id).await, Some(EndReason::DeniedByPolicy));
}

/// Hostile cases RF-01 to RF-03: OpenID Connect Core §12.2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn session_ends_if_daemon_dies_before_storing_refresh_token() {
    let setup = Setup::new(Allow::Everyone).await;
    let id = setup.log_in().await;
    setup.advance(MINUTE * 55);
    // Do what a daemon does before it is killed.
    let (store, sealer) = (&setup.sessions.store, setup.sessions.sealer.clone());
    let request = LeaseRequest {
        provider: "okta".to_owned(),
        sealer,
        now: setup.clock.now(),
        lease_duration: SignedDuration::from_secs(25),
        max_delay: MINUTE * 60,
        limit: 10,
    };
    let rows = store.lease_due_refresh_tokens(request).await.expect("an answer");
    let credential =
        stored_credential::parse(&rows.first().expect("one is due").credential).expect("a credential");
    let provider = setup.sessions.find_provider("okta").expect("the provider");
    assert!(provider.refresh(&credential).await.is_ok());

    assert_eq!(setup.revalidate().await, 0, "it is leased");
    // The next start tries again at once, with a token that is spent: many providers forgive that for some seconds.
    store.end_leases("okta", setup.clock.now()).await.expect("stored");
    assert_eq!(setup.revalidate().await, 1);
    assert_eq!(setup.ended(&id).await, Some(EndReason::ResponseLost), "the result of the refresh is unknown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_workers_revalidate_each_session_once() {
    let setup = Setup::new(Allow::Everyone).await;
    for _ in 0..50 {
        setup.log_in().await;
    }
    setup.advance(MINUTE * 55);
    setup.issuer.forget_requests();
    let (first, second) = tokio::join!(setup.revalidate(), setup.revalidate());
    assert_eq!(first + second, 50);
    assert_eq!(setup.issuer.calls(Endpoint::Token), 50);
    assert_eq!(setup.issuer.live_refresh_tokens().len(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_token_is_revoked_after_session_end_and_outage() {
    let setup = Setup::new(Allow::Everyone).await;
    let (left, idle) = (setup.log_in().await, setup.log_in().await);
    assert_eq!(setup.revoke_tokens().await, 0);
    setup.sessions.end_session(&left, EndReason::Logout).await.expect("ended");
    setup
        .issuer
        .misbehave(Misbehaviour::default().answer(Endpoint::Revocation, |answer| answer.status = 503));
    assert_eq!(setup.revoke_tokens().await, 1);
    assert_eq!(setup.issuer.calls(Endpoint::Revocation), 1);
    assert_eq!(setup.revoke_tokens().await, 0, "it waits for a while");
    setup.issuer.behave();
    setup.advance(MINUTE);
    assert_eq!(setup.revoke_tokens().await, 1);
    assert_eq!(setup.issuer.live_refresh_tokens().len(), 1, "the tokens of the other session stay");
    assert_eq!(setup.revoke_tokens().await, 0, "it is done");

    // The other session expires unobserved.
    setup.advance(SignedDuration::from_hours(13));
    assert_eq!(setup.revoke_tokens().await, 1);
    assert!(setup.issuer.live_refresh_tokens().is_empty());
    assert_eq!(setup.ended(&idle).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn login_succeeds_without_refresh_token() {
    let setup = Setup::new(Allow::Everyone).await;
    setup.issuer.misbehave(Misbehaviour::default().json(Endpoint::Token, |body| {
        body.as_object_mut().expect("an object").remove("refresh_token");
    }));
    let id = setup.log_in().await;
    setup.advance(MINUTE * 120);
    assert_eq!(setup.revalidate().await, 0);
    assert_eq!(setup.ended(&id).await, None);
}
