//! Signed audience tokens (JWT): a service validates them with the published keys, the daemon with their session, and every
//! other route refuses them.

use infra_harness::api::Answered;
use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::login;
use infra_harness::provider::{Misbehaviour, Provider};
use infra_harness::services::{credential_in, introspect, request_token, review, token, verify};
use infra_harness::workloads::{assert_issued, exchange, github, rule, token as platform_token};
use infra_peers::openbao::OpenBao;
use infra_shared::api::ProblemCode;
use infra_shared::token_text::SessionToken;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};

const WIKI: &str = "https://wiki.example.test";
const INACTIVE: &str = r#"{"active":false}"#;
const DISCOVERY: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/v1/jwks";

/// A daemon with signed tokens for `wiki`, `payroll` and the cluster `prod`, opaque ones for `old` and `mute`, and a workload
/// that may use `wiki`.
fn daemon(provider: &Provider, more: &str) -> Daemon {
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(provider)], |_| {});
    let credential = format!("credentials: ['{}'], allow: everyone", credential_in(daemon.directory()));
    let audit = daemon.directory().join("audit.jsonl");
    let workloads = rule("ci", provider, "{repository_id: '74'}", "[wiki]");
    daemon.change(|configuration| {
        configuration.more = format!(
            "audit: {{file: {}}}\nservices:\n\
             - {{name: wiki, audience: '{WIKI}', tokens: jwt, tokenGroups: [engineering, on-call], {credential}}}\n\
             - {{name: payroll, tokens: jwt, {credential}}}\n\
             - {{name: prod, kind: kubernetes, tokens: jwt, {credential}}}\n\
             - {{name: old, acceptSessionToken: true, {credential}}}\n\
             - {{name: mute, {credential}}}\n\
             workloads:\n{workloads}{more}",
            audit.display()
        );
    });
    daemon.start_again();
    daemon
}

/// Signs alice in, who is in the groups `engineering` and `secret`.
fn sign_in(daemon: &Daemon, provider: &Provider) -> String {
    let groups = json!(["secret", "engineering"]);
    provider
        .misbehave(Misbehaviour::default().id_token(move |draft| draft.set_claim("groups", groups.clone())));
    let token = login::over_http(daemon, provider);
    provider.behave();
    token
}

/// Validates a token as a service does that has only the published documents.
fn validate(daemon: &Daemon, token: &str, audience: &str) -> Result<Value, jsonwebtoken::errors::Error> {
    let api = daemon.api();
    let configuration = api.get(DISCOVERY).json();
    assert_eq!(configuration.get("issuer"), Some(&json!(daemon.origin())));
    assert_eq!(configuration.get("jwks_uri"), Some(&json!(format!("{}{KEYS}", daemon.origin()))));
    let keys: JwkSet = serde_json::from_str(&api.get(KEYS).body).expect("a key set");
    let header = decode_header(token)?;
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    let key = header.kid.as_deref().and_then(|id| keys.find(id));
    let key = DecodingKey::from_jwk(key.ok_or(jsonwebtoken::errors::ErrorKind::InvalidSignature)?)?;
    let algorithm = configuration.pointer("/id_token_signing_alg_values_supported/0").and_then(Value::as_str);
    let mut validation = Validation::new(algorithm.expect("a name").parse::<Algorithm>()?);
    validation.set_audience(&[audience]);
    validation.set_issuer(&[daemon.origin()]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    Ok(decode::<Value>(token, &key, &validation)?.claims)
}

fn is_reviewed(daemon: &Daemon, token: &str) -> bool {
    let answered = review(&daemon.api(), "prod", token, &[]);
    assert_eq!(answered.status, 200, "{answered:?}");
    answered.json().pointer("/status/authenticated") == Some(&json!(true))
}

fn is_active(daemon: &Daemon, service: &str, token: &str) -> bool {
    introspect(&daemon.api(), service, token).json().get("active") == Some(&json!(true))
}

fn key_ids(daemon: &Daemon) -> Vec<String> {
    let keys = daemon.api().get(KEYS).json();
    let keys = keys.get("keys").and_then(Value::as_array).expect("a list").iter();
    keys.map(|key| key.get("kid").and_then(Value::as_str).expect("a name").to_owned()).collect()
}

#[test]
fn service_validates_signed_token_with_published_keys() {
    let provider = Provider::start();
    for (more, algorithm) in [("", "ES256"), ("jwt: {algorithm: EdDSA}\n", "EdDSA")] {
        let daemon = daemon(&provider, more);
        let api = daemon.api();
        let session = sign_in(&daemon, &provider);
        let issued = request_token(&api, &session, "wiki");
        assert_eq!((issued.status, issued.json()["audience"].clone()), (201, json!(WIKI)), "{issued:?}");
        let signed = issued.json()["token"].as_str().expect("a token").to_owned();
        let claims = validate(&daemon, &signed, WIKI).expect("a valid token");
        let id = SessionToken::parse(&session).expect("a token").id().to_string();
        assert_eq!((&claims["sub"], &claims["sid"]), (&json!("sub-alice"), &json!(id)), "{claims}");
        assert_eq!((&claims["aud"], &claims["client_id"]), (&json!(WIKI), &json!("infra")), "{claims}");
        assert_eq!(claims["groups"], json!(["engineering"]), "{claims}");
        let lasts = claims["exp"].as_i64().zip(claims["iat"].as_i64()).map(|(exp, iat)| exp - iat);
        assert!(lasts.is_some_and(|lasts| (590..=600).contains(&lasts)), "{claims}");
        validate(&daemon, &signed, "payroll").expect_err("it is for the wiki");
        for path in [DISCOVERY, KEYS] {
            let answered = api.get(path);
            assert_eq!(answered.status, 200, "{answered:?}");
            assert_eq!(answered.header("cache-control"), Some("public, max-age=300"));
            assert!(!answered.body.contains("\"d\"") && answered.body.contains(algorithm), "{answered:?}");
        }
    }
}

/// A service that validates tokens itself asks no daemon, so the limit counts when the token is issued.
#[test]
fn delegated_session_gets_signed_token_for_its_services() {
    let provider = Provider::start();
    let daemon = daemon(&provider, "");
    let api = daemon.api();
    let session = sign_in(&daemon, &provider);
    let body = json!({"audiences": ["payroll"], "lifetimeSeconds": 3600, "label": "agent"});
    let opened = Answered::of(api.request("POST", "/v1/delegations").bearer_auth(&session).json(&body));
    let agent = opened.json()["token"].as_str().expect("a token").to_owned();
    let claims = validate(&daemon, &token(&api, &agent, "payroll"), "payroll").expect("a valid token");
    let id = SessionToken::parse(&agent).expect("a token").id().to_string();
    assert_eq!(claims["act"], json!({"sub": "delegate:agent", "sid": id}), "{claims}");
    for other in ["wiki", "prod", "old"] {
        assert_eq!(request_token(&api, &agent, other).status, 403, "{other}");
    }
    assert_eq!(api.delete_as("/v1/session", &session).status, 204);
    assert_eq!(request_token(&api, &agent, "payroll").status, 401, "it ended with its parent");
}

#[test]
fn daemon_sees_sign_out_of_signed_token_at_once() {
    let provider = Provider::start();
    let daemon = daemon(&provider, "");
    let api = daemon.api();
    let session = sign_in(&daemon, &provider);
    let [for_wiki, for_prod] = ["wiki", "prod"].map(|service| token(&api, &session, service));
    for _ in 0..2 {
        let active = introspect(&api, "wiki", &for_wiki).json();
        assert_eq!((&active["active"], &active["aud"]), (&json!(true), &json!(WIKI)), "{active}");
        assert_eq!((&active["sub"], &active["iss"]), (&json!("sub-alice"), &json!(provider.issuer())));
        assert_eq!(verify(&api, "wiki", &for_wiki).status, 200);
        assert!(is_reviewed(&daemon, &for_prod));
    }
    assert_eq!(api.delete_as("/v1/session", &session).status, 204);
    assert_eq!(introspect(&api, "wiki", &for_wiki).body, INACTIVE);
    assert_eq!(verify(&api, "wiki", &for_wiki).problem().code, ProblemCode::NotAuthenticated);
    assert!(!is_reviewed(&daemon, &for_prod));
    // As the documentation says, a service that does not ask sees it only when the token expires.
    validate(&daemon, &for_wiki, WIKI).expect("still valid offline");
}

/// Every kind of token, at every route.
#[test]
fn tokens_are_refused_at_all_other_routes() {
    let provider = Provider::start();
    let daemon = daemon(&provider, "");
    let api = daemon.api();
    let session = sign_in(&daemon, &provider);
    let of_job = assert_issued(&exchange(&api, &platform_token(&provider, &github(&provider)), "wiki"));
    assert_eq!(validate(&daemon, &of_job, WIKI).expect("a valid token")["client_id"], "workload:ci");
    for (kind, text, accepted_at) in [
        ("session token", session.clone(), &["old"][..]),
        ("opaque audience token", token(&api, &session, "mute"), &["mute"]),
        ("signed token for wiki", token(&api, &session, "wiki"), &["wiki"]),
        ("signed token for payroll", token(&api, &session, "payroll"), &["payroll"]),
        ("signed token for prod", token(&api, &session, "prod"), &["prod"]),
        ("signed token of a workload", of_job, &["wiki"]),
    ] {
        for service in ["wiki", "payroll", "prod", "old", "mute"] {
            let is_accepted = accepted_at.contains(&service);
            assert_eq!(is_active(&daemon, service, &text), is_accepted, "{kind} at {service}");
            let status = if is_accepted { 200 } else { 401 };
            assert_eq!(verify(&api, service, &text).status, status, "{kind} at {service}");
        }
        assert_eq!(is_reviewed(&daemon, &text), accepted_at.contains(&"prod"), "{kind}");
        if kind == "session token" {
            continue;
        }
        for (method, path) in [
            ("GET", "/v1/session"),
            ("DELETE", "/v1/session"),
            ("GET", "/v1/sessions"),
            ("DELETE", "/v1/sessions?which=others"),
            ("DELETE", "/v1/sessions/AAAAAAAAAA"),
        ] {
            let answered = Answered::of(api.request(method, path).bearer_auth(&text));
            assert_eq!(answered.problem().code, ProblemCode::NotAuthenticated, "{kind}: {method} {path}");
        }
        let again = request_token(&api, &text, "wiki");
        assert_eq!(again.problem().code, ProblemCode::NotAuthenticated, "{kind}");
        assert_eq!(exchange(&api, &text, "wiki").status, 400, "{kind} as the token of a workload");
    }
    assert_eq!(api.get_as("/v1/session", &session).status, 200, "nothing above ended the session");
}

#[test]
fn token_keys_rotate_by_command() {
    let provider = Provider::start();
    let mut daemon = daemon(&provider, "");
    let session = sign_in(&daemon, &provider);
    let signed = token(&daemon.api(), &session, "wiki");
    let first = key_ids(&daemon);
    assert_eq!(first.len(), 1);

    let rotated = daemon.infrad(["key", "tokens", "rotate"]).wait().expect(0);
    let announced = key_ids(&daemon);
    assert_eq!((announced.len(), &announced[0]), (2, &first[0]));
    assert!(rotated.stderr.contains(&announced[1]) && rotated.stderr.contains("is published"), "{rotated}");
    let status = daemon.infrad(["status"]).wait().expect(0).stdout;
    assert!(status.contains(&format!("token key     {} (ES256) signs since", first[0])), "{status}");
    assert!(status.contains(&format!("{} (ES256) is published", announced[1])), "{status}");
    daemon.infrad(["key", "tokens", "rotate"]).wait().expect(0);
    assert_eq!(key_ids(&daemon), announced, "the next key stays");
    assert!(is_active(&daemon, "wiki", &signed));

    daemon.restart();
    assert_eq!(key_ids(&daemon), announced, "a restart keeps the keys");
    assert!(is_active(&daemon, "wiki", &signed));

    daemon.infrad(["key", "tokens", "rotate", "--now"]).wait().expect(0).stderr_contains(&["restart them"]);
    let replaced = key_ids(&daemon);
    assert!(replaced.len() == 1 && !announced.contains(&replaced[0]), "{replaced:?}");
    assert!(!is_active(&daemon, "wiki", &signed));
    validate(&daemon, &signed, WIKI).expect_err("its key is no longer published");
    let signed = token(&daemon.api(), &session, "wiki");
    assert!(is_active(&daemon, "wiki", &signed));

    daemon.stop();
    daemon.infrad(["key", "tokens", "rotate"]).wait().expect(0);
    daemon.start_again();
    let announced = key_ids(&daemon);
    assert_eq!((announced.len(), &announced[0]), (2, &replaced[0]));
    assert!(is_active(&daemon, "wiki", &signed));
    let audit = std::fs::read_to_string(daemon.directory().join("audit.jsonl")).expect("a log");
    for (operation, count) in [("announce_token_key", 2), ("replace_token_keys", 1)] {
        assert_eq!(audit.matches(&format!("\"operation\":\"{operation}\"")).count(), count, "{audit}");
    }
}

#[test]
fn token_keys_are_part_of_backup() {
    let provider = Provider::start();
    let mut daemon = daemon(&provider, "");
    daemon.infrad(["key", "tokens", "rotate"]).wait().expect(0);
    let before = key_ids(&daemon);
    let backup = daemon.directory().join("infrad.backup").display().to_string();
    daemon.infrad(["key", "rotate"]).wait().expect(0);
    assert_eq!(key_ids(&daemon), before, "with another data key");
    daemon.infrad(["backup", &backup]).wait().expect(0);
    daemon.infrad(["key", "tokens", "rotate", "--now"]).wait().expect(0);
    assert_ne!(key_ids(&daemon), before);
    daemon.stop();
    daemon.infrad(["restore", &backup]).wait().expect(0);
    daemon.start_again();
    assert_eq!(key_ids(&daemon), before);
}

#[test]
fn documents_of_keys_need_a_service_with_signed_tokens() {
    let provider = Provider::start();
    let daemon = Daemon::start_with(&provider, |configuration| {
        configuration.more = "services: [{name: wiki, allow: everyone}]\n".to_owned();
    });
    for path in [DISCOVERY, KEYS] {
        assert_eq!(daemon.api().get(path).problem().code, ProblemCode::NotFound, "{path}");
    }
    let refused = daemon.infrad(["key", "tokens", "rotate"]).wait().expect(1);
    assert!(refused.stderr.contains("tokens: jwt"), "{refused}");
}

#[test]
fn openbao_accepts_signed_token_for_its_audience() {
    let Some(openbao) = OpenBao::start() else { return };
    let provider = Provider::start();
    let daemon = daemon(&provider, "");
    let api = daemon.api();
    let session = sign_in(&daemon, &provider);
    let authority = daemon.infrad(["ca", "print"]).wait().expect(0).stdout;
    openbao.call("sys/auth/jwt", Some(json!({"type": "jwt"})));
    let configuration = json!({
        "oidc_discovery_url": daemon.origin(), "oidc_discovery_ca_pem": authority,
        "bound_issuer": daemon.origin(), "jwt_supported_algs": ["ES256"],
    });
    openbao.call("auth/jwt/config", Some(configuration));
    let role = json!({
        "role_type": "jwt", "bound_audiences": [WIKI], "user_claim": "sub", "groups_claim": "groups",
        "token_ttl": "10m",
    });
    openbao.call("auth/jwt/role/engineering", Some(role));
    let log_in = |text: &str| openbao.try_log_in("engineering", text);
    let logged_in = log_in(&token(&api, &session, "wiki")).expect("OpenBao accepts the token");
    assert_eq!(logged_in["auth"]["metadata"]["role"], "engineering", "{logged_in}");
    for refused in [token(&api, &session, "payroll"), session] {
        assert_eq!(log_in(&refused), None, "a token of another kind or audience");
    }
}
