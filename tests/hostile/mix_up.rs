//! Two providers at one daemon (RFC 9700 §4.4, RFC 9207): responses and tokens of one are never accepted for the other.
//! If a provider sends `iss`, its codes never reach the other; if it does not, a leaked code is useless there.

use std::collections::HashSet;
use std::sync::Mutex;

use infra_harness::api::Answered;
use infra_harness::daemon::{Daemon, MANY_LOGINS, ProviderEntry};
use infra_harness::https::{parameter, parameters};
use infra_harness::login::{self, Started};
use infra_harness::pending_login::{AuthorizationResponse, PendingLogin};
use infra_harness::program::{Call, User};
use infra_harness::provider::{Endpoint, Misbehaviour, Person, Provider};
use infra_shared::api::ProblemCode;
use infra_shared::login_binding::LoginBinding;
use serde_json::json;

struct TwoProviders {
    okta: Provider,
    other: Provider,
    daemon: Daemon,
}

impl TwoProviders {
    fn start() -> Self {
        let (okta, other) = (Provider::start(), Provider::start());
        let entries = vec![ProviderEntry::of(&okta), ProviderEntry::of(&other).named("other")];
        let daemon =
            Daemon::start_for(entries, |configuration| MANY_LOGINS.clone_into(&mut configuration.more));
        Self { okta, other, daemon }
    }

    fn token_calls(&self) -> usize {
        self.okta.calls(Endpoint::Token) + self.other.calls(Endpoint::Token)
    }

    /// Completes an honest login at each provider.
    fn assert_both_work(&self) {
        for (name, provider) in self.both() {
            provider.behave();
            let started = Started::with_provider(&self.daemon, name);
            let finished = started.finish(&started.sign_in(provider));
            assert_eq!(finished.status, 201, "{name}: {finished:?}\n{}", self.daemon.log());
            assert_eq!(finished.json()["user"]["provider"], name);
            assert_eq!(finished.json()["user"]["issuer"], provider.issuer());
        }
    }

    fn both(&self) -> [(&'static str, &Provider); 2] {
        [("okta", &self.okta), ("other", &self.other)]
    }

    fn login<'a>(&self, user: &'a User, provider: &str) -> Call<'a> {
        let (origin, fingerprint) = (self.daemon.origin(), self.daemon.fingerprint());
        let arguments = [&origin, "--fingerprint", &fingerprint, "--no-keyring", "--provider", provider];
        user.infra(["login"].into_iter().chain(arguments))
    }

    /// Performs the mix-up attack of RFC 9700 §4.4.1. A user signs in with `hostile`. It starts a login for `honest` at
    /// the daemon with the `state` and code challenge that it received, and has the user's browser sign in there. It
    /// then finishes that login with what the daemon sends to its token endpoint. Returns the daemon's answer, or
    /// `None` if the daemon sent nothing to that endpoint.
    fn mix_up(
        &self,
        (hostile_name, hostile): (&str, &Provider),
        (honest_name, honest): (&str, &Provider),
    ) -> Option<Answered> {
        let alice = User::new();
        hostile.forget_requests();
        let pending = PendingLogin::begin(self.login(&alice, hostile_name));
        let (state, challenge) = (pending.parameter("state"), pending.parameter("code_challenge"));
        let api = self.daemon.api();
        let theirs = Started::with_challenge(&api, &self.daemon, honest_name, (&state, &challenge));
        let response = theirs.sign_in(honest);
        assert_eq!(response.redirect_uri, pending.redirect_uri(), "the browser reached another client");
        pending.respond(&response);
        pending.wait().expect(6).stdout_is_empty();

        let received = hostile.requests(Endpoint::Token).pop()?.form_parameters();
        let text = |name: &str| parameter(&received, name).expect("the daemon sent it");
        let body = json!({
            "ticket": theirs.ticket, "code": text("code"), "codeVerifier": text("code_verifier"),
        });
        Some(api.post("/v1/logins/finish", &body))
    }
}

#[test]
fn code_of_other_provider_is_refused_before_exchange() {
    let two = TwoProviders::start();
    let (mine, theirs) = (Started::at(&two.daemon), Started::with_provider(&two.daemon, "other"));
    let response = theirs.sign_in(&two.other);
    for response in
        [response.clone(), response.with("iss", "https://third.example"), response.with("iss", "")]
    {
        assert_eq!(mine.finish(&response).problem().code, ProblemCode::LoginRejected, "{response:?}");
    }
    let mut without = mine.finish_body(&response);
    without.as_object_mut().expect("an object").remove("iss");
    let refused = two.daemon.api().post("/v1/logins/finish", &without);
    assert_eq!(
        refused.problem().code,
        ProblemCode::LoginRejected,
        "a provider that names itself, and did not"
    );
    assert_eq!(two.token_calls(), 0, "a code was sent");
    two.daemon.wait_for_log("response_issuer_mismatch");
    two.daemon.wait_for_log("response_issuer_missing");
    // Neither login was consumed.
    assert_eq!(mine.finish(&mine.sign_in(&two.okta)).status, 201);
    assert_eq!(theirs.finish(&response).status, 201);
}

#[test]
fn client_that_lies_about_issuer_gains_nothing() {
    let two = TwoProviders::start();
    let (mine, theirs) = (Started::at(&two.daemon), Started::with_provider(&two.daemon, "other"));
    let lie = theirs.sign_in(&two.other).with("iss", two.okta.issuer());
    assert_eq!(mine.finish(&lie).problem().code, ProblemCode::LoginRejected);
    assert_eq!(two.other.calls(Endpoint::Token), 0);
    two.assert_both_work();
}

#[test]
fn provider_redirecting_to_another_gets_no_code() {
    let two = TwoProviders::start();
    let elsewhere = format!("{}/v1/authorize", two.okta.issuer());
    two.other.misbehave(Misbehaviour::default().json(Endpoint::Discovery, move |metadata| {
        metadata["authorization_endpoint"] = json!(elsewhere);
    }));
    let alice = User::new();
    let pending = PendingLogin::begin(two.login(&alice, "other"));
    let response = pending.sign_in(&two.okta);
    assert_eq!(response.parameter("iss"), two.okta.issuer());
    pending.respond(&response);
    pending.wait().expect(6).stdout_is_empty();
    assert_eq!(two.token_calls(), 0, "a code of one was sent to the other");
}

#[test]
fn provider_cannot_redeem_a_code_of_another() {
    for hostile in ["okta", "other"] {
        for (hostile_sends_issuer, honest_sends_issuer) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            let two = TwoProviders::start();
            let [okta, other] = two.both();
            let (hostile, honest) = if hostile == "okta" { (okta, other) } else { (other, okta) };
            for ((_, provider), sends_issuer) in
                [(hostile, hostile_sends_issuer), (honest, honest_sends_issuer)]
            {
                if !sends_issuer {
                    provider.misbehave(Misbehaviour::default().without_response_issuer());
                }
            }
            let answered = two.mix_up(hostile, honest);
            assert_eq!(honest.1.calls(Endpoint::Token), 0, "the code of `{}` was redeemed", honest.0);
            // A code reaches the hostile provider only if neither provider advertises `iss` (RFC 9207).
            let is_sent = !hostile_sends_issuer && !honest_sends_issuer;
            assert_eq!(answered.is_some(), is_sent, "{answered:?}\n{}", two.daemon.log());
            if let Some(answered) = answered {
                assert_eq!(answered.problem().code, ProblemCode::LoginRejected, "{answered:?}");
                let reason =
                    format!("bound to the provider `{}`, but its ticket is for `{}`", hostile.0, honest.0);
                two.daemon.wait_for_log(&reason);
            }
            two.assert_both_work();
        }
    }
}

#[test]
fn login_bound_to_another_name_or_issuer_is_refused() {
    let okta = Provider::start();
    let again = ProviderEntry::of(&okta).named("again");
    let daemon = Daemon::start_for(vec![ProviderEntry::of(&okta), again], |_| {});
    let (origin, pin) = (daemon.parsed_origin(), daemon.pin());
    let bound = LoginBinding { origin: &origin, pin: Some(&pin), provider: "okta", issuer: okta.issuer() };
    for (elsewhere, reason) in [
        (
            LoginBinding { provider: "again", ..bound },
            "bound to the provider `again`, but its ticket is for `okta`",
        ),
        (
            LoginBinding { issuer: "https://other.example", ..bound },
            "bound to another daemon, or to a provider",
        ),
    ] {
        let started = Started::with_binding(&daemon, "okta", &elsewhere);
        let refused = started.finish(&started.sign_in(&okta));
        assert_eq!(refused.problem().code, ProblemCode::LoginRejected, "{elsewhere:?}");
        daemon.wait_for_log(reason);
    }
    assert_eq!(okta.calls(Endpoint::Token), 0, "a code was redeemed");
    for name in ["okta", "again"] {
        let started = Started::with_provider(&daemon, name);
        assert_eq!(started.finish(&started.sign_in(&okta)).status, 201, "{name}: {}", daemon.log());
    }
}

#[test]
fn id_token_of_one_provider_is_refused_for_another() {
    let two = TwoProviders::start();
    two.assert_both_work();
    let stolen = two.okta.last_id_token().expect("a login");
    let okta = two.okta.issuer().to_owned();
    for (refusals, misbehaviour) in [
        (1, Misbehaviour::default().json(Endpoint::Token, move |answer| answer["id_token"] = json!(stolen))),
        // Signed by the other provider, with the first provider's issuer.
        (2, Misbehaviour::default().claim("iss", json!(okta))),
    ] {
        two.other.misbehave(misbehaviour);
        let started = Started::with_provider(&two.daemon, "other");
        let refused = started.finish(&started.sign_in(&two.other));
        assert_eq!(refused.problem().code, ProblemCode::LoginRejected);
        two.daemon
            .wait_for_log_with("issuer_mismatch", |log| log.matches("issuer_mismatch").count() == refusals);
    }
    two.assert_both_work();
}

#[test]
fn same_subject_at_two_providers_is_two_users() {
    let two = TwoProviders::start();
    let token = |name: &str, provider: &Provider| {
        let started = Started::with_provider(&two.daemon, name);
        let finished = started.finish(&started.sign_in(provider)).json();
        (finished["user"]["subject"].clone(), finished["token"].as_str().expect("a token").to_owned())
    };
    let (mine, theirs) = (token("okta", &two.okta), token("other", &two.other));
    assert_eq!(mine.0, theirs.0);
    for (token, issuer) in [(mine.1, two.okta.issuer()), (theirs.1, two.other.issuer())] {
        assert_eq!(two.daemon.api().get_as("/v1/session", &token).json()["user"]["issuer"], issuer);
    }
}

#[test]
fn hundred_concurrent_logins_at_two_providers_do_not_mix() {
    sign_in_concurrently(100);
}

#[test]
#[ignore = "a minute"]
fn five_hundred_concurrent_logins_at_two_providers_do_not_mix() {
    sign_in_concurrently(500);
}

/// Signs in `count` people concurrently, half at each provider. Each session must belong to its own user, and every
/// state, nonce, challenge, ticket, code and token must be unique.
fn sign_in_concurrently(count: usize) {
    let two = TwoProviders::start();
    let api = two.daemon.api();
    let started: Vec<(usize, Started)> = (0..count)
        .map(|number| {
            (number, Started::over(&api, &two.daemon, if number % 2 == 0 { "okta" } else { "other" }))
        })
        .collect();
    // The provider decides who signs in, one at a time. The exchanges run concurrently.
    let answered: Vec<(usize, Started, AuthorizationResponse)> = started
        .into_iter()
        .map(|(number, started)| {
            let provider = if number % 2 == 0 { &two.okta } else { &two.other };
            provider.person(Person::SignsIn(format!("user-{number}")));
            let response = started.sign_in(provider);
            (number, started, response)
        })
        .collect();

    let sessions = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for part in answered.chunks(count.div_ceil(32)) {
            let (sessions, two) = (&sessions, &two);
            scope.spawn(move || {
                for (number, started, response) in part {
                    let finished = started.finish(response);
                    assert_eq!(finished.status, 201, "{number}: {finished:?}\n{}", two.daemon.log());
                    let body = finished.json();
                    let provider = if number % 2 == 0 { &two.okta } else { &two.other };
                    assert_eq!(body["user"]["subject"], format!("sub-user-{number}"));
                    assert_eq!(body["user"]["issuer"], provider.issuer());
                    let token = body["token"].as_str().expect("a token").to_owned();
                    sessions.lock().expect("no thread panics").push((*number, token));
                }
            });
        }
    });
    let sessions = sessions.into_inner().expect("no thread panics");
    assert_eq!(sessions.len(), count);
    for (number, token) in &sessions {
        let session = api.get_as("/v1/session", token).json();
        assert_eq!(session["user"]["subject"], format!("sub-user-{number}"), "a token of another user");
    }

    let mut seen = HashSet::new();
    let mut assert_unique = |what: &str, value: String| assert!(seen.insert(value), "{what} was given twice");
    for (_, token) in sessions {
        assert_unique("a token", token);
    }
    for (_, started, response) in &answered {
        let (_, query) = started.authorization_url.split_once('?').expect("a query");
        for (name, value) in parameters(query.as_bytes()) {
            if matches!(name.as_str(), "state" | "nonce" | "code_challenge") {
                assert_unique(&name, value);
            }
        }
        assert_unique("a ticket", started.ticket.clone());
        assert_unique("a verifier", started.code_verifier.clone());
        assert_unique("a code", response.parameter("code"));
    }
    login::over_http(&two.daemon, &two.okta);
}
