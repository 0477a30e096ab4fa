//! Revalidation in the whole program: deactivated users, kills, key rotation, and revocation of the provider's tokens.

use std::time::{Duration, Instant};

use infra_harness::canaries::Canaries;
use infra_harness::daemon::{Daemon, MANY_LOGINS, ProviderEntry};
use infra_harness::https::Delivery;
use infra_harness::login;
use infra_harness::program::{RecordingBrowser, User};
use infra_harness::provider::{Endpoint, Misbehaviour, Provider};
use infra_harness::wait;
use infra_peers::certified_provider::{CertifiedProvider, Paths};
use infra_shared::api::ProblemCode;

const BOUND: Duration = Duration::from_mins(1);
/// By then, 96 calls that stall for ten seconds each, 16 at once, have begun.
const STALLED_FOR_ALL: Duration = Duration::from_secs(50);

fn daemon(provider: &Provider) -> Daemon {
    Daemon::start_with(provider, |configuration| {
        "{revalidateEvery: 10s}".clone_into(&mut configuration.sessions);
    })
}

#[test]
fn deactivated_user_is_signed_out_at_next_revalidation() {
    let Some(provider) = CertifiedProvider::start(Paths::Custom) else { return };
    let daemon = Daemon::start_for(vec![provider.entry("client_secret_basic")], |configuration| {
        "{revalidateEvery: 10s}".clone_into(&mut configuration.sessions);
    });
    let alice = User::new();
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    login::call(&alice, &daemon).browser(&browser).run().expect(0);
    let token = login::token(&alice);
    let api = daemon.api();
    // Revalidated at least once, and still signed in.
    let revalidations = || {
        let status = daemon.infrad(["status", "--json"]).wait().expect(0).json();
        status["secretReads"]["refresh"].as_u64().expect("a number")
    };
    let is_revalidated = || (revalidations() >= 1).then_some(());
    assert!(
        wait::until(BOUND, is_revalidated).is_some(),
        "the session is never revalidated\n{}",
        daemon.log()
    );
    assert_eq!(api.get_as("/v1/session?use=false", &token).status, 200, "{}", daemon.log());

    provider.deactivate("alice");
    let before = revalidations();
    let is_refused = || (api.get_as("/v1/session?use=false", &token).status == 401).then_some(());
    assert!(wait::until(BOUND, is_refused).is_some(), "the session stays valid\n{}", daemon.log());
    let later = revalidations() - before;
    assert!(later <= 1, "{later} revalidations until then\n{}", daemon.log());
    alice.infra(["status"]).run().expect(3);
}

#[test]
fn logout_revokes_tokens_at_certified_provider() {
    let Some(provider) = CertifiedProvider::start(Paths::Organization) else { return };
    let daemon = Daemon::start_for(vec![provider.entry("client_secret_post")], |configuration| {
        "{revalidateEvery: 1h}".clone_into(&mut configuration.sessions);
        "log: {level: debug}\n".clone_into(&mut configuration.more);
    });
    let alice = User::new();
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    login::call(&alice, &daemon).browser(&browser).run().expect(0);
    alice.infra(["logout"]).run().expect(0);
    daemon.wait_for_log("revoked the provider's tokens");
}

#[test]
fn token_revocation_resumes_after_kill() {
    let provider = Provider::start();
    let mut daemon = daemon(&provider);
    let token = login::over_http(&daemon, &provider);
    provider.misbehave(Misbehaviour::default().out_of_order(Endpoint::Revocation, 503));
    assert_eq!(
        daemon.api().delete_as("/v1/session", &token).status,
        204,
        "a logout does not wait for the provider"
    );
    let is_tried = || (provider.calls(Endpoint::Revocation) >= 1).then_some(());
    assert!(wait::until(BOUND, is_tried).is_some(), "{}", daemon.log());
    daemon.kill();
    provider.behave();
    daemon.start_again();
    let is_revoked = || provider.live_refresh_tokens().is_empty().then_some(());
    assert!(wait::until(Duration::from_mins(2), is_revoked).is_some(), "{}", daemon.log());
    assert_eq!(daemon.api().get_as("/v1/session", &token).problem().code, ProblemCode::SessionRevoked);
}

#[test]
fn interrupted_revalidation_is_retried_after_restart() {
    let provider = Provider::start();
    let mut daemon = daemon(&provider);
    login::over_http(&daemon, &provider);
    let calls_before = provider.calls(Endpoint::Token);
    provider.misbehave(Misbehaviour::default().answer(Endpoint::Token, |answer| {
        answer.delivery = Delivery::Never;
    }));
    let is_revalidating = || (provider.calls(Endpoint::Token) > calls_before).then_some(());
    assert!(wait::until(BOUND, is_revalidating).is_some(), "{}", daemon.log());
    daemon.kill();
    provider.behave();
    let calls_before = provider.calls(Endpoint::Token);
    daemon.start_again();
    // Earlier than the killed daemon's lease ends.
    let is_revalidated = || (provider.calls(Endpoint::Token) > calls_before).then_some(());
    assert!(wait::until(BOUND, is_revalidated).is_some(), "{}", daemon.log());
}

#[test]
fn refresh_tokens_survive_rotation_and_kill_encrypted() {
    let provider = Provider::start();
    let mut daemon = daemon(&provider);
    let token = login::over_http(&daemon, &provider);
    daemon.infrad(["key", "rotate"]).wait().expect(0);
    daemon.infrad(["backup", "backup"]).wait().expect(0);
    let calls_before = provider.calls(Endpoint::Token);
    daemon.kill();
    daemon.start_again();
    let is_revalidated = || (provider.calls(Endpoint::Token) > calls_before).then_some(());
    assert!(wait::until(BOUND, is_revalidated).is_some(), "{}", daemon.log());
    assert_eq!(daemon.api().get_as("/v1/session", &token).status, 200, "{}", daemon.log());
    daemon.stop();

    let mut canaries = Canaries::default();
    provider.issued_refresh_tokens().iter().for_each(|token| canaries.add("a refresh token", token));
    assert_eq!(canaries.find_in_files(daemon.directory(), &[]), [""; 0]);
    assert_eq!(canaries.find(daemon.complete_log().as_bytes()), [""; 0]);
}

#[test]
fn no_refresh_token_is_requested_without_revalidation() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    assert_eq!(daemon.api().delete_as("/v1/session", &token).status, 204);
    assert_eq!(provider.issued_refresh_tokens(), [""; 0]);
    let status = daemon.infrad(["status", "--json"]).wait().expect(0).json();
    assert_eq!((&status["secretReads"]["refresh"], &status["secretReads"]["revoke"]), (&0.into(), &0.into()));
}

#[test]
fn stop_waits_for_pending_revalidations() {
    let provider = Provider::start();
    let mut daemon = daemon(&provider);
    let token = login::over_http(&daemon, &provider);
    let calls_before = provider.calls(Endpoint::Token);
    // The provider rotates its tokens immediately, but answers slowly.
    provider.misbehave(Misbehaviour::default().answer(Endpoint::Token, |answer| {
        answer.delivery = Delivery::After(Duration::from_secs(3));
    }));
    let is_revalidated = || (provider.calls(Endpoint::Token) > calls_before).then_some(());
    assert!(wait::until(BOUND, is_revalidated).is_some(), "{}", daemon.log());
    assert_eq!(daemon.stop(), Some(0));
    provider.behave();
    let calls_before = provider.calls(Endpoint::Token);
    daemon.start_again();
    let is_revalidated = || (provider.calls(Endpoint::Token) > calls_before).then_some(());
    assert!(wait::until(BOUND, is_revalidated).is_some(), "{}", daemon.log());
    let settled_status = || {
        let session = daemon.api().get_as("/v1/session?use=false", &token);
        (session.status != 200 || provider.live_refresh_tokens().len() == 1).then_some(session.status)
    };
    assert_eq!(wait::until(BOUND, settled_status), Some(200), "{}", daemon.log());
}

#[test]
fn stalling_provider_does_not_delay_another() {
    const SESSIONS: usize = 96;
    let (stalling, other) = (Provider::start(), Provider::start());
    let entries = vec![ProviderEntry::of(&stalling), ProviderEntry::of(&other).named("other")];
    let daemon = Daemon::start_for(entries, |configuration| {
        format!("{{revalidateEvery: 10s, maxPerUser: {SESSIONS}}}").clone_into(&mut configuration.sessions);
        MANY_LOGINS.clone_into(&mut configuration.more);
    });
    for _ in 0..SESSIONS {
        login::over_http(&daemon, &stalling);
    }
    stalling.misbehave(Misbehaviour::default().answer(Endpoint::Token, |answer| {
        answer.delivery = Delivery::Never;
    }));
    // Revalidations from before are over.
    stalling.forget_requests();
    let begun = Instant::now();
    // As many requests as slots, and all of them stall.
    let is_stalled = || (stalling.calls(Endpoint::Token) >= 16).then_some(());
    assert!(wait::until(BOUND, is_stalled).is_some(), "{}", daemon.log());
    let started = login::Started::with_provider(&daemon, "other");
    let finished = started.finish(&started.sign_in(&other));
    assert_eq!(finished.status, 201, "{finished:?}");
    other.deactivate("alice");
    let token = finished.json()["token"].as_str().expect("a token").to_owned();
    let api = daemon.api();
    let is_refused = || (api.get_as("/v1/session?use=false", &token).status == 401).then_some(());
    assert!(wait::until(BOUND, is_refused).is_some(), "{}", daemon.log());
    // It did not queue behind the other provider's sessions. On a busy machine, all of them have had their turn by now.
    let (calls, passed) = (stalling.calls(Endpoint::Token), begun.elapsed());
    assert!(
        calls < SESSIONS || passed > STALLED_FOR_ALL,
        "{calls} calls of the stalling provider came first, in {passed:?}"
    );
}
