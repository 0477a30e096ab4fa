//! Searches everywhere for secrets after a login with the most verbose logging.

use std::time::Duration;

use infra_harness::canaries::Canaries;
use infra_harness::daemon::Daemon;
use infra_harness::https::parameter;
use infra_harness::login;
use infra_harness::pending_login::PendingLogin;
use infra_harness::program::User;
use infra_harness::provider::{CLIENT_SECRET, Endpoint, Provider};
use infra_harness::skip;
use infra_harness::wait;

/// Connections and their tasks end shortly after their last answer.
const ERASURE_LIMIT: Duration = Duration::from_secs(30);

#[test]
fn secrets_stay_out_of_logs_answers_files_and_processes() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut daemon = Daemon::start_with(&provider, |configuration| {
        configuration.more = "log: {level: trace}\n".to_owned();
        // With revalidation, the provider also issues a refresh token.
        "{revalidateEvery: 1h}".clone_into(&mut configuration.sessions);
    });
    let call = alice.infra([
        "login",
        &daemon.origin(),
        "--fingerprint",
        &daemon.fingerprint(),
        "--no-keyring",
        "-vv",
    ]);
    let pending = PendingLogin::begin(call);
    let response = pending.sign_in(&provider);
    let mut canaries = Canaries::default();
    canaries.add("code", response.parameter("code"));
    canaries.add("client secret", CLIENT_SECRET);
    canaries.add("root key", std::fs::read(daemon.root_key()).expect("the root key"));
    // With `-v`, the user sees the authorization URL, including `state` and `nonce`.
    assert_eq!(canaries.find_in_processes(), Vec::<String>::new());
    assert_eq!(pending.respond(&response).0, 200);
    let ran = pending.wait().expect(0);

    let token = login::token(&alice);
    add_exchanged_secrets(&mut canaries, &provider);
    let refresh_tokens = provider.issued_refresh_tokens();
    assert_eq!(refresh_tokens.len(), 1);
    for token in &refresh_tokens {
        canaries.add("refresh token", token);
    }
    canaries.add("session secret", token.split_once('.').expect("two parts").1);
    let api = daemon.api();
    let mut answers =
        vec![api.get("/v1/server"), api.get_as("/v1/session", &token), api.get_as("/v1/session", "x")];
    answers.push(api.get_as("/v1/session", &format!("{}x", &token[..token.len() - 1])));
    answers.push(api.get_as(&format!("/v1/session?token={token}"), "x"));
    assert_eq!(canaries.find(format!("{answers:?}").as_bytes()), Vec::<String>::new(), "secrets in answers");
    assert_eq!(canaries.find(ran.to_string().as_bytes()), Vec::<String>::new(), "secrets in the terminal");
    assert_eq!(canaries.find_in_processes(), Vec::<String>::new());

    let status = alice.infra(["status", "-vv"]).run().expect(0);
    assert_eq!(canaries.find(status.to_string().as_bytes()), Vec::<String>::new(), "secrets in status");
    daemon.kill();
    let log = daemon.complete_log();
    assert!(log.contains("TRACE") || log.contains("DEBUG"), "the log is not at trace or debug level\n{log}");
    canaries.add("e-mail", "alice@example.test");
    assert_eq!(canaries.find(log.as_bytes()), Vec::<String>::new(), "secrets in the log\n{log}");
    let (root_key, client_secret) = (daemon.root_key(), daemon.directory().join("okta.secret"));
    let allowed_files = [root_key.as_path(), client_secret.as_path()];
    assert_eq!(canaries.find_in_files(daemon.directory(), &allowed_files), Vec::<String>::new());
    // The control: the secrets are in the files that may hold them.
    assert!(!canaries.find_in_files(daemon.directory(), &[]).is_empty());
}

#[test]
fn login_secrets_are_erased_from_daemon_memory() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    let mut canaries = Canaries::default();
    canaries.add("client secret", CLIENT_SECRET);
    canaries.add("session secret", token.split_once('.').expect("two parts").1);
    add_exchanged_secrets(&mut canaries, &provider);
    let find = || canaries.find_in_memory(daemon.process());
    if find().is_none() {
        return skip::report("only root may read the memory of the daemon");
    }
    let is_gone = || find().is_some_and(|found| found.is_empty()).then_some(());
    assert!(wait::until(ERASURE_LIMIT, is_gone).is_some(), "secrets are in memory: {:?}", find());

    // The control: the search finds what is in memory.
    let mut control = Canaries::default();
    control.add("issuer", provider.issuer());
    assert!(control.find_in_memory(daemon.process()).is_some_and(|found| !found.is_empty()));
}

/// Adds what the daemon and the provider exchanged: code, verifier, ID token and access token.
fn add_exchanged_secrets(canaries: &mut Canaries, provider: &Provider) {
    let requests = provider.requests(Endpoint::Token);
    let form = requests.last().expect("an exchange").form_parameters();
    for name in ["code", "code_verifier"] {
        canaries.add(name, parameter(&form, name).expect("a parameter of an exchange"));
    }
    canaries.add("ID token", provider.last_id_token().expect("an ID token"));
    let access_tokens = provider.issued_access_tokens();
    assert_eq!(access_tokens.len(), 1);
    for token in &access_tokens {
        canaries.add("access token", token);
    }
}
