//! Tests of a provider's keys over time: a real provider on loopback, a manual clock, and the requests that the
//! provider saw.

use std::sync::Arc;
use std::time::Duration;

use infra_harness::clock::ManualClock;
use infra_harness::https::{Answer, Delivery};
use infra_harness::pending_login::AuthorizationResponse;
use infra_harness::provider::{CLIENT_ID, CLIENT_SECRET, Endpoint, Misbehaviour, Provider as OpenIDProvider};
use infra_shared::clock::{Clock, SystemClock};
use infra_shared::login_binding::LoginBinding;
use jiff::SignedDuration;
use serde_json::json;

use super::*;

const REDIRECT_URI: &str = "http://127.0.0.1:8301/callback";

struct Fixture {
    openid: OpenIDProvider,
    provider: Arc<Provider>,
    clock: ManualClock,
}

/// A login that is ready for the code exchange.
struct Ready {
    code: SecretString,
    verifier: BoundVerifier,
    nonce: SecretString,
}

impl Fixture {
    fn new() -> Self {
        Self::with_limits(&ExchangeLimits::default())
    }

    fn with_limits(exchanges: &ExchangeLimits) -> Self {
        let openid = OpenIDProvider::start();
        let clock = ManualClock::at(SystemClock.now());
        let settings = ProviderSettings {
            kind: ProviderKind::Oidc,
            issuer: openid.issuer().to_owned(),
            client_id: CLIENT_ID.to_owned(),
            client_secret: Backends::built_in().parse(&format!("plaintext:{CLIENT_SECRET}")).expect("one"),
            redirect_uris: vec![REDIRECT_URI.to_owned()],
            scopes: ["openid", "email", "profile", "groups"].map(str::to_owned).to_vec(),
            signing_algorithms: vec![SigningAlgorithm::RS256],
            authorities: Some(vec![openid.authority_certificate()]),
            ..ProviderSettings::unreachable()
        };
        let provider =
            Provider::with_limits(settings, Backends::built_in(), Arc::new(clock.clone()), exchanges, LIMITS);
        Self { openid, provider: Arc::new(provider.expect("a provider")), clock }
    }

    /// Makes the provider issue ID tokens by the local clock from now on.
    fn behave(&self) {
        self.misbehave(Misbehaviour::default());
    }

    fn misbehave(&self, misbehaviour: Misbehaviour) {
        let now = self.clock.now().as_second();
        self.openid.misbehave(misbehaviour.id_token(move |draft| {
            draft.set_claim("iat", json!(now));
            draft.set_claim("exp", json!(now + 300));
        }));
    }

    async fn ready(&self) -> Ready {
        let origin = "https://infra.test".parse().expect("an origin");
        let bound =
            LoginBinding { origin: &origin, pin: None, provider: "okta", issuer: self.openid.issuer() };
        let (verifier, nonce) = (BoundVerifier::mint(&bound), SecretString::from(random()));
        let (state, code_challenge) = (random(), verifier.challenge());
        let request = AuthorizationRequest {
            redirect_uri: REDIRECT_URI,
            state: &state,
            nonce: &nonce,
            code_challenge: &code_challenge,
        };
        let url = self.provider.authorization_url(&request).await.expect("a URL").to_string();
        let response = tokio::task::block_in_place(|| AuthorizationResponse::of(&url, &self.openid));
        Ready { code: response.parameter("code").into(), verifier, nonce }
    }

    async fn log_in(&self) -> Result<VerifiedIdentity, IdentityError> {
        self.exchange(&self.ready().await).await
    }

    async fn exchange(&self, ready: &Ready) -> Result<VerifiedIdentity, IdentityError> {
        let Ready { code, verifier, nonce } = ready;
        let permit = self.provider.acquire_permit(std::net::Ipv4Addr::LOCALHOST.into()).await?;
        let code_exchange = CodeExchange { code, verifier, redirect_uri: REDIRECT_URI, nonce };
        let exchanged = self.provider.exchange(permit, code_exchange).await;
        exchanged.map(|exchanged| exchanged.identity).map_err(|failed| failed.error)
    }
}

fn random() -> String {
    infra_shared::random::alphanumeric(43)
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_refetched_at_most_every_30_seconds() {
    let fixture = Fixture::new();
    fixture.log_in().await.expect("an honest login");
    fixture.openid.rotate_keys();
    fixture.log_in().await.expect("new keys are fetched");
    assert_eq!(fixture.openid.calls(Endpoint::Keys), 2);

    fixture.openid.rotate_keys();
    for _ in 0..5 {
        let refused = fixture.log_in().await.expect_err("within half a minute");
        assert!(refused.to_string().contains("unknown_key"), "{refused}");
    }
    assert_eq!(fixture.openid.calls(Endpoint::Keys), 2);
    fixture.clock.advance(SignedDuration::from_secs(31));
    fixture.log_in().await.expect("half a minute later");
    assert_eq!(fixture.openid.calls(Endpoint::Keys), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_keys_are_replaced_by_next_exchange() {
    let fixture = Fixture::new();
    fixture.misbehave(Misbehaviour::default().json(Endpoint::Keys, |set| {
        set["keys"].as_array_mut().expect("a list").remove(0);
    }));
    let refused = fixture.log_in().await.expect_err("its key is not there");
    assert!(refused.to_string().contains("unknown_key"), "{refused}");
    assert_eq!(fixture.openid.calls(Endpoint::Keys), 1, "what was just fetched is not asked for again");
    fixture.behave();
    fixture.log_in().await.expect("the next honest login");
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_keys_are_used_for_a_day_of_outage() {
    let fixture = Fixture::new();
    fixture.log_in().await.expect("an honest login");
    let away =
        || Misbehaviour::default().answer(Endpoint::Keys, |answer| *answer = Answer::text(503, "away"));
    for hours in [2, 10, 11] {
        fixture.clock.advance(SignedDuration::from_hours(hours));
        fixture.misbehave(away());
        fixture.log_in().await.unwrap_or_else(|error| panic!("{hours} hours later: {error}"));
    }
    fixture.clock.advance(SignedDuration::from_hours(2));
    fixture.misbehave(away());
    let refused = fixture.log_in().await.expect_err("the keys are more than a day old");
    assert!(matches!(refused, IdentityError::Unavailable(_)), "{refused}");
    fixture.behave();
    fixture.log_in().await.expect("the provider is back");
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_provider_leaves_time_for_exchange() {
    let timeout = Duration::from_secs(12);
    let fixture = Fixture::with_limits(&ExchangeLimits { timeout, ..ExchangeLimits::default() });
    fixture.log_in().await.expect("an honest login");
    fixture.clock.advance(SignedDuration::from_hours(2));
    let hang = |answer: &mut Answer| answer.delivery = Delivery::Never;
    fixture.misbehave(Misbehaviour::default().answer(Endpoint::Discovery, hang).answer(Endpoint::Keys, hang));
    fixture.log_in().await.expect("cached metadata and keys are used");
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_step_back_expires_cached_keys() {
    let fixture = Fixture::new();
    fixture.log_in().await.expect("an honest login");
    fixture.clock.advance(SignedDuration::from_hours(-1));
    fixture.behave();
    fixture.log_in().await.expect("they are fetched again");
    assert_eq!(fixture.openid.calls(Endpoint::Keys), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_key_fetch_builds_no_queue() {
    let fixture = Arc::new(Fixture::new());
    fixture.log_in().await.expect("an honest login");
    fixture.clock.advance(SignedDuration::from_hours(2));
    fixture.misbehave(
        Misbehaviour::default().answer(Endpoint::Keys, |answer| answer.delivery = Delivery::Never),
    );
    let mut ready = Vec::new();
    for _ in 0..8 {
        ready.push(fixture.ready().await);
    }
    let before = fixture.openid.calls(Endpoint::Keys);
    let exchanges: Vec<_> = ready
        .into_iter()
        .map(|ready| {
            let fixture = Arc::clone(&fixture);
            tokio::spawn(async move { fixture.exchange(&ready).await })
        })
        .collect();
    for exchange in exchanges {
        exchange.await.expect("no panic").expect("the keys of before still count");
    }
    // All share a fetch, or two on a busy machine. In a queue, each would fetch.
    let fetches = fixture.openid.calls(Endpoint::Keys) - before;
    assert!(fetches <= 2, "{fetches} fetches");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_over_code_limit_is_rejected_before_queue() {
    let [client, other] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
    let fixture = Fixture::with_limits(&ExchangeLimits { concurrent: 1, ..ExchangeLimits::default() });
    for _ in 0..30 {
        fixture.provider.rejected_codes.begin_attempt(client).expect("within the budget").rejected();
    }
    let _only_permit = fixture.provider.acquire_permit(other).await.expect("a permit");
    let refused = fixture.provider.acquire_permit(client).await.err();
    assert!(matches!(refused, Some(IdentityError::RejectedCodeLimit(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rejected_unless_json_200_and_256_kib() {
    let padded = |size: usize| {
        Misbehaviour::default().json(Endpoint::Keys, move |set| set["padding"] = "x".repeat(size).into())
    };
    let fixture = Fixture::new();
    fixture.misbehave(padded(255 * 1024));
    fixture.log_in().await.expect("a large set");
    for misbehaviour in [
        padded(256 * 1024),
        Misbehaviour::default().answer(Endpoint::Keys, |answer| answer.status = 404),
        Misbehaviour::default()
            .answer(Endpoint::Keys, |answer| answer.set_header("content-type", "text/plain")),
    ] {
        let fixture = Fixture::new();
        fixture.misbehave(misbehaviour);
        let refused = fixture.log_in().await.expect_err("no keys");
        assert!(matches!(refused, IdentityError::Unavailable(_) | IdentityError::Unusable(_)), "{refused}");
    }
}
