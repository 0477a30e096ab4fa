//! Sessions over HTTP as services and unauthenticated clients see them, and through stops and failures of the daemon.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use infra_harness::api::{Answered, Api, connect};
use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::login;
use infra_harness::program::Ran;
use infra_harness::provider::{CLIENT_SECRET, Provider};
use infra_harness::skip;
use infra_shared::api::ProblemCode;
use infra_shared::token_text::SessionToken;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

#[test]
fn session_token_returns_user_and_expiry() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    let parsed = SessionToken::parse(&token).expect("the form of a token");

    let answered = daemon.api().get_as("/v1/session", &token);
    assert_eq!(answered.status, 200);
    assert_eq!(answered.header("cache-control"), Some("no-store"));
    let body = answered.json();
    assert_eq!(body["session"]["id"], parsed.id().as_str());
    assert_eq!(body["user"]["provider"], "okta");
    assert_eq!(body["user"]["issuer"], provider.issuer());
    for time in ["createdAt", "expiresAt", "idleExpiresAt"] {
        assert!(body["session"][time].as_str().is_some_and(|text| text.ends_with('Z')), "{time}: {body}");
    }
    assert!(!answered.body.contains(&token), "the token is repeated");
    assert_eq!(daemon.api().get_as("/v1/session?use=false", &token).status, 200);
    assert_eq!(daemon.api().get_as("/v1/session?use=maybe", &token).problem().code, ProblemCode::BadRequest);
}

#[test]
fn invalid_token_reveals_nothing() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let api = daemon.api();
    let token = login::over_http(&daemon, &provider);
    let id = token.get(..16).expect("the prefix and the id");
    let other_secret = format!("{id}.{}", "A".repeat(24));
    let unknown = SessionToken::mint();

    assert_not_authenticated(&api.get("/v1/session"));
    for wrong in [other_secret.as_str(), unknown.expose(), "infra_short.short", "", "Zm9v", &token[..40]] {
        assert_not_authenticated(&api.get_as("/v1/session", wrong));
        assert_not_authenticated(&api.delete_as("/v1/session", wrong));
    }
    let other_scheme = api.request("GET", "/v1/session").header("authorization", format!("Token {token}"));
    assert_not_authenticated(&Answered::of(other_scheme));
    let two = api.request("GET", "/v1/session").bearer_auth(&token).bearer_auth(&token);
    assert_not_authenticated(&Answered::of(two));
    assert_eq!(api.get_as("/v1/session", &token).status, 200, "the session suffered");
}

#[test]
fn token_in_url_is_refused() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    let refused = daemon.api().get(&format!("/v1/session?access_token={token}"));
    assert_ne!(refused.status, 200);
    let both = daemon.api().get_as(&format!("/v1/session?access_token={token}"), &token);
    assert_eq!(both.problem().code, ProblemCode::BadRequest);
    assert!(!daemon.complete_log().contains(&token), "the log shows a token");
}

#[test]
fn logout_takes_effect_on_open_connections() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    let services: Vec<Api> = (0..4).map(|_| daemon.api()).collect();
    for service in &services {
        assert_eq!(service.get_as("/v1/session", &token).status, 200);
    }
    assert_eq!(daemon.api().delete_as("/v1/session", &token).status, 204);
    for service in &services {
        assert_eq!(service.get_as("/v1/session", &token).problem().code, ProblemCode::SessionRevoked);
        // Every other route says only that the token is not valid.
        assert_not_authenticated(&service.delete_as("/v1/session", &token));
    }
}

#[test]
fn logout_proof_revokes_only_its_session() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let api = daemon.api();
    let token = SessionToken::parse(&login::over_http(&daemon, &provider)).expect("a token");
    let (unknown, other) = (SessionToken::mint(), login::over_http(&daemon, &provider));
    let log_out = |of: &SessionToken, proven_by: &SessionToken| {
        let body = json!({"id": of.id().as_str(), "proof": proven_by.logout_proof().to_text()});
        api.post("/v1/logouts", &body).status
    };

    assert_eq!(log_out(&unknown, &unknown), 204);
    assert_eq!(log_out(&token, &unknown), 204);
    assert_eq!(api.get_as("/v1/session", token.expose()).status, 200, "a wrong proof ended a session");
    assert_eq!(log_out(&token, &token), 204);
    assert_eq!(log_out(&token, &token), 204);
    assert_eq!(api.get_as("/v1/session", token.expose()).problem().code, ProblemCode::SessionRevoked);
    assert_eq!(api.get_as("/v1/session", &other).status, 200, "another session was ended");
}

#[test]
fn excess_session_evicts_oldest_of_user() {
    let provider = Provider::start();
    let daemon = Daemon::start_with(&provider, |configuration| {
        configuration.sessions = "{maxPerUser: 2}".to_owned();
    });
    let tokens: Vec<String> = (0..3).map(|_| login::over_http(&daemon, &provider)).collect();
    let status = |token: &String| daemon.api().get_as("/v1/session", token).status;
    assert_eq!(tokens.iter().map(status).collect::<Vec<_>>(), [401, 200, 200]);
}

#[test]
fn sessions_and_revocations_survive_kill() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let (kept, ended) = (login::over_http(&daemon, &provider), login::over_http(&daemon, &provider));
    let pin = daemon.pin();
    assert_eq!(daemon.api().delete_as("/v1/session", &ended).status, 204);
    daemon.kill();
    daemon.start_again();
    assert_eq!(daemon.pin(), pin, "the daemon has another identity after a kill");
    assert_eq!(daemon.api().get_as("/v1/session", &kept).status, 200);
    assert_eq!(daemon.api().get_as("/v1/session", &ended).problem().code, ProblemCode::SessionRevoked);
}

#[test]
fn log_and_files_reveal_no_secret() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    let secret = token.split_once('.').expect("two parts").1.to_owned();
    daemon.kill();

    let log = daemon.complete_log();
    assert!(!log.contains(&secret) && !log.contains(CLIENT_SECRET), "a secret is in the log\n{log}");
    let files = files_of(&daemon);
    assert!(files.len() >= 2, "nothing was looked at\n{}", daemon.files());
    for file in files {
        let bytes = std::fs::read(&file).expect("a file of the daemon");
        for hidden in [secret.as_str(), CLIENT_SECRET, "alice", "SQLite format 3"] {
            let found = bytes.windows(hidden.len()).any(|window| window == hidden.as_bytes());
            assert!(!found, "{} shows {hidden:?}", file.display());
        }
        let mode = file.metadata().expect("a file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} is open to others", file.display());
    }
}

#[test]
fn second_daemon_on_same_directory_names_first_and_exits() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    daemon.infrad(["serve"]).wait().expect(1).stderr_contains(&[&daemon.process().to_string()]);
    assert!(daemon.is_running());
    assert_eq!(daemon.api().get_as("/v1/session", &token).status, 200);
}

#[test]
fn daemon_stops_cleanly_on_sigterm() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    assert_eq!(daemon.stop(), Some(0), "{}", daemon.log());
    daemon.start_again();
    assert_eq!(daemon.api().get_as("/v1/session", &token).status, 200);
}

#[test]
fn daemon_disables_core_dumps() {
    // A program started from here would inherit a limit that allows core dumps.
    let maximum = getrlimit(Resource::Core).maximum;
    setrlimit(Resource::Core, Rlimit { current: maximum, maximum })
        .expect("a limit may be raised to its maximum");
    let core_limit = |process: u32| -> String {
        let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).expect("limits of a process");
        let core = limits.lines().find(|line| line.starts_with("Max core file size"));
        core.and_then(|line| line.split_whitespace().nth(4)).expect("the limit of cores").to_owned()
    };
    if core_limit(std::process::id()) == "0" {
        return skip::report(
            "nothing may be dumped on this machine: whether the daemon forbids it cannot be seen",
        );
    }
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    assert_eq!(core_limit(daemon.process()), "0");
}

#[test]
fn daemon_locks_memory_or_logs_warning() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", daemon.process())).expect("status of a process");
    let kilobytes = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of the status");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("kilobytes")
    };
    // Mapped devices cannot be locked and hold no secrets.
    let is_locked = kilobytes("VmLck:") >= kilobytes("RssAnon:");
    let log = daemon.complete_log();
    assert_eq!(is_locked, !log.contains("memory is not locked"), "{status}\n{log}");
}

#[test]
fn second_signal_stops_without_waiting() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let origin = daemon.parsed_origin();
    let mut stalled = connect(&origin, daemon.pin());
    let head = format!("POST /v1/logins HTTP/1.1\r\nHost: {}:{}\r\n", origin.host(), origin.port());
    let body = "Content-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n{";
    stalled.write_all(format!("{head}{body}").as_bytes()).expect("half a request");
    stalled.flush().expect("it is sent");
    // The daemon asks for the rest, so it has started the request.
    let mut asked = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
    stalled.read_exact(&mut asked).expect("an interim response");
    assert!(asked.starts_with(b"HTTP/1.1 100 "), "{}", asked.escape_ascii());
    assert_eq!(daemon.stop_immediately(), Some(1), "{}", daemon.log());
}

#[test]
fn sessions_of_removed_provider_are_revoked_at_start() {
    let (staying, leaving) = (Provider::start(), Provider::start());
    let entries = vec![ProviderEntry::of(&leaving), ProviderEntry::of(&staying).named("other")];
    let mut daemon = Daemon::start_for(entries, |_| {});
    let token = login::over_http(&daemon, &leaving);

    daemon.stop();
    daemon.change(|configuration| configuration.providers.retain(|provider| provider.name == "other"));
    daemon.start_again();
    assert_eq!(daemon.api().get_as("/v1/session", &token).problem().code, ProblemCode::SessionRevoked);
}

#[test]
fn wrong_root_key_is_reported_and_loses_nothing() {
    let provider = Provider::start();
    let other = Daemon::start(&provider);
    let (mut daemon, token) = stopped_with_a_session(&provider);
    let (key, kept) = (daemon.root_key(), daemon.directory().join("kept.key"));
    std::fs::rename(&key, &kept).expect("the root key");
    std::fs::copy(other.root_key(), &key).expect("another root key");
    assert_start_refused(&daemon).stderr_contains(&["root key"]);

    std::fs::rename(&kept, &key).expect("the root key");
    assert_session_survives(&mut daemon, &token);
}

#[test]
fn lost_root_key_is_reported_and_not_recreated() {
    let provider = Provider::start();
    let (mut daemon, token) = stopped_with_a_session(&provider);
    let (key, kept) = (daemon.root_key(), daemon.directory().join("kept.key"));
    std::fs::rename(&key, &kept).expect("the root key");
    assert_start_refused(&daemon).stderr_contains(&["root.key"]);
    assert!(!key.exists(), "a new root key was made for an old store");

    std::fs::rename(&kept, &key).expect("the root key");
    assert_session_survives(&mut daemon, &token);
}

#[test]
fn root_key_readable_by_others_is_refused() {
    let provider = Provider::start();
    let (mut daemon, token) = stopped_with_a_session(&provider);
    let key = daemon.root_key();
    let mode = key.metadata().expect("the root key").permissions().mode() & 0o777;
    assert_eq!(mode, 0o400, "the root key was made with another mode");
    std::fs::set_permissions(&key, Permissions::from_mode(0o444)).expect("chmod");
    assert_start_refused(&daemon).stderr_contains(&["root.key"]);

    std::fs::set_permissions(&key, Permissions::from_mode(0o400)).expect("chmod");
    assert_session_survives(&mut daemon, &token);
}

#[test]
fn plain_database_is_refused_and_left_unchanged() {
    let provider = Provider::start();
    let (mut daemon, token) = stopped_with_a_session(&provider);
    let database = database_of(&daemon);
    let kept = daemon.directory().join("kept.database");
    std::fs::rename(&database, &kept).expect("the database");
    let mut plain = b"SQLite format 3\0".to_vec();
    plain.resize(4096, 0);
    std::fs::write(&database, &plain).expect("a plain database");
    std::fs::set_permissions(&database, Permissions::from_mode(0o600)).expect("chmod");
    assert_start_refused(&daemon).stderr_contains(&["encrypt"]);
    assert_eq!(std::fs::read(&database).expect("the plain database"), plain, "it was written to");

    std::fs::rename(&kept, &database).expect("the database");
    assert_session_survives(&mut daemon, &token);
}

#[track_caller]
fn assert_not_authenticated(answered: &Answered) {
    assert_eq!(answered.problem().code, ProblemCode::NotAuthenticated);
    // RFC 6750 §3: every 401 carries a challenge.
    assert!(
        answered.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")),
        "{answered:?}"
    );
}

fn stopped_with_a_session(provider: &Provider) -> (Daemon, String) {
    let mut daemon = Daemon::start(provider);
    let token = login::over_http(&daemon, provider);
    assert_eq!(daemon.stop(), Some(0));
    (daemon, token)
}

#[track_caller]
fn assert_start_refused(daemon: &Daemon) -> Ran {
    let ran = daemon.infrad(["serve"]).wait();
    assert!(matches!(ran.code, Some(1 | 2)), "it was not refused\n{ran}");
    assert!(!ran.stderr.contains("file is not a database"), "the cause is missing\n{ran}");
    ran
}

#[track_caller]
fn assert_session_survives(daemon: &mut Daemon, token: &str) {
    daemon.start_again();
    assert_eq!(daemon.api().get_as("/v1/session", token).status, 200, "the session is lost");
}

/// Returns the files in the data directory.
fn files_of(daemon: &Daemon) -> Vec<PathBuf> {
    let entries = daemon.data_dir().read_dir().expect("the data directory");
    entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}

/// Returns the database: after an orderly stop it is one file, and by far the largest.
fn database_of(daemon: &Daemon) -> PathBuf {
    let size = |path: &PathBuf| path.metadata().map_or(0, |metadata| metadata.len());
    files_of(daemon).into_iter().max_by_key(size).expect("a database")
}
