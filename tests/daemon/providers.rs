//! The configurations of `docs/providers.md`, each against a simulated provider that answers as the real one is
//! documented to. Only the intended users can sign in. The real providers are out of reach.

use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::documents::Page;
use infra_harness::https::Answer;
use infra_harness::login::{self, Started};
use infra_harness::provider::{CLIENT_ID, Endpoint, Misbehaviour, Provider};
use infra_shared::api::ProblemCode;
use serde_json::{Value, json};

/// Changes the test provider's answers.
type Answers = fn(Misbehaviour) -> Misbehaviour;

#[test]
fn keycloak_groups_with_paths_are_different_groups() {
    let (provider, daemon) = configured("Keycloak", |_| {});
    let promises = |answers: Misbehaviour| {
        answers.json(Endpoint::Discovery, |metadata| {
            metadata["authorization_response_iss_parameter_supported"] = json!(true);
            metadata["code_challenge_methods_supported"] = json!(["plain", "S256"]);
        })
    };
    answers(&provider, promises, &[("groups", json!(["engineering"]))]);
    login::over_http(&daemon, &provider);
    for groups in [json!(["/engineering"]), json!(null)] {
        answers(&provider, promises, &[("groups", groups)]);
        assert_eq!(refusal(&daemon, &provider), ProblemCode::LoginRejected);
    }
}

#[test]
fn entra_needs_assumed_pkce_and_group_ids() {
    let (provider, daemon) = configured("Microsoft Entra ID", |_| {});
    let group = "22222222-2222-2222-2222-222222222222";
    answers(&provider, as_entra, &[("groups", json!([group])), ("email_verified", json!(null))]);
    login::over_http(&daemon, &provider);
    // A user in too many groups: Entra omits the claim and refers to another source.
    answers(&provider, as_entra, &[("groups", json!(null)), ("_claim_names", json!({"groups": "src1"}))]);
    assert_eq!(refusal(&daemon, &provider), ProblemCode::LoginRejected);

    let (provider, daemon) = configured("Microsoft Entra ID", |entry| {
        entry.allow = entry.allow.replace("assumePKCE: true", "assumePKCE: false");
    });
    answers(&provider, as_entra, &[]);
    let body = json!({"provider": "okta", "redirectURI": redirect_uri(&daemon), "state": "s".repeat(43),
                      "codeChallenge": "c".repeat(43)});
    assert_eq!(daemon.api().post("/v1/logins", &body).status, 502);
    daemon.wait_for_log("the provider offers no PKCE with S256");
}

#[test]
fn entra_email_rules_admit_no_user() {
    let (provider, daemon) = configured("Microsoft Entra ID", |entry| {
        let (_, rest) = entry.allow.split_once('\n').expect("more keys");
        entry.allow = format!("{{emailDomains: [example.com]}}\n{rest}");
    });
    answers(&provider, as_entra, &[("email", json!("alice@example.com")), ("email_verified", json!(null))]);
    assert_eq!(refusal(&daemon, &provider), ProblemCode::LoginRejected);
}

#[test]
fn google_admits_by_verified_email_domain() {
    let (provider, daemon) = configured("Google", |_| {});
    let google = |answers: Misbehaviour| {
        answers.json(Endpoint::Discovery, |metadata| {
            metadata["scopes_supported"] = json!(["openid", "email", "profile"]);
            metadata["token_endpoint_auth_methods_supported"] =
                json!(["client_secret_post", "client_secret_basic"]);
        })
    };
    let claims = |email: &str, verified: bool| {
        [
            ("email", json!(email)),
            ("email_verified", json!(verified)),
            ("groups", json!(null)),
            ("hd", json!("example.com")),
        ]
    };
    answers(&provider, google, &claims("alice@example.com", true));
    login::over_http(&daemon, &provider);
    for (email, verified) in [("alice@example.com", false), ("alice@gmail.example", true)] {
        answers(&provider, google, &claims(email, verified));
        assert_eq!(refusal(&daemon, &provider), ProblemCode::LoginRejected, "{email}");
    }
}

#[test]
fn dex_admits_by_connector_group() {
    let (provider, daemon) = configured("Dex", |_| {});
    let dex = |answers: Misbehaviour| {
        answers.json(Endpoint::Discovery, |metadata| {
            metadata["code_challenge_methods_supported"] = json!(["S256", "plain"]);
            let members = metadata.as_object_mut().expect("an object");
            members.remove("authorization_response_iss_parameter_supported");
            members.remove("revocation_endpoint");
        })
    };
    answers(&provider, dex, &[("groups", json!(["example:engineering"]))]);
    login::over_http(&daemon, &provider);
    answers(&provider, dex, &[("groups", json!(["engineering"]))]);
    assert_eq!(refusal(&daemon, &provider), ProblemCode::LoginRejected);
}

#[test]
fn zitadel_extra_audiences_must_be_trusted() {
    let (provider, daemon) = configured("Zitadel", |entry| {
        entry.allow = entry.allow.replace("{emailDomains: [example.com]}", "everyone");
    });
    let audience = |audiences: &[&str], party: Value| {
        answers(&provider, |it| it, &[("aud", json!(audiences)), ("azp", party)]);
    };
    audience(&[CLIENT_ID, "318490123456789012"], json!(CLIENT_ID));
    login::over_http(&daemon, &provider);
    for (audiences, party) in [
        (&[CLIENT_ID, "318490123456789012", "stranger"][..], json!(CLIENT_ID)),
        (&["318490123456789012"], json!(CLIENT_ID)),
        (&[CLIENT_ID, "318490123456789012"], json!(null)),
        (&[CLIENT_ID, "318490123456789012"], json!("318490123456789012")),
    ] {
        audience(audiences, party.clone());
        assert_eq!(refusal(&daemon, &provider), ProblemCode::LoginRejected, "{audiences:?} {party}");
    }
    daemon.wait_for_log("the token is for [infra-test-client, 318490123456789012, stranger]");
}

#[test]
fn endpoint_host_changes_are_reported_and_can_be_pinned() {
    let provider = Provider::start();
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    let audit = daemon.directory().join("audit.jsonl");
    daemon.change(|configuration| configuration.more = format!("audit: {{file: {}}}\n", audit.display()));
    daemon.start_again();
    login::over_http(&daemon, &provider);
    let check = |daemon: &Daemon| daemon.infrad(["check", "--live"]).wait().stdout;
    assert!(!check(&daemon).contains("they changed"), "nothing changed yet");

    provider.misbehave(Misbehaviour::default().json(Endpoint::Discovery, |metadata| {
        metadata["revocation_endpoint"] = json!("https://127.0.0.1:9/revoke");
    }));
    daemon.stop();
    daemon.start_again();
    login::over_http(&daemon, &provider);
    daemon.wait_for_log("the provider's endpoints moved to other hosts");
    let checked = check(&daemon);
    assert!(checked.contains("they changed on ") && checked.contains(" to 127.0.0.1:9"), "{checked}");
    daemon.stop();
    let audited = std::fs::read_to_string(&audit).expect("a log");
    let changes: Vec<Value> = audited
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|line: &Value| line["event"] == "endpoints_changed")
        .collect();
    assert_eq!(changes.len(), 1, "{audited}");
    assert!(changes[0]["change"].as_str().is_some_and(|it| it.ends_with(" to 127.0.0.1:9")), "{audited}");

    // With `endpointHosts` empty, only the issuer's own host is allowed.
    daemon.change(|configuration| {
        configuration.providers[0].allow = "everyone\n    endpointHosts: []".to_owned();
    });
    daemon.start_again();
    let body = json!({"provider": "okta", "redirectURI": redirect_uri(&daemon), "state": "s".repeat(43),
                      "codeChallenge": "c".repeat(43)});
    assert_eq!(daemon.api().post("/v1/logins", &body).status, 502);
    daemon.wait_for_log(
        "revocation_endpoint is at 127.0.0.1:9, which is neither the issuer's host nor listed in",
    );
    daemon.change(|configuration| {
        configuration.providers[0].allow = "everyone\n    endpointHosts: [\"127.0.0.1:9\"]".to_owned();
    });
    daemon.stop();
    daemon.start_again();
    login::over_http(&daemon, &provider);
    let checked = check(&daemon);
    assert!(checked.contains("127.0.0.1:9") && !checked.contains("they changed"), "{checked}");
}

#[test]
fn live_check_compares_clocks_and_requests_as_browser() {
    let provider = Provider::start();
    let daemon = Daemon::start_for(vec![ProviderEntry::of(&provider)], |_| {});
    let check = |code| daemon.infrad(["check", "--live"]).wait().expect(code).stdout;
    provider.misbehave(
        Misbehaviour::default()
            .answer(Endpoint::Authorization, |answer| *answer = Answer::text(401, "sign in"))
            .json(Endpoint::Discovery, |metadata| {
                metadata["grant_types_supported"] = json!(["authorization_code"]);
            }),
    );
    let checked = check(0);
    assert!(checked.contains("unknown  provider okta: redirect URI "), "{checked}");
    let requests = provider.requests(Endpoint::Authorization);
    assert!(
        requests.iter().all(|it| it.header("accept").is_some_and(|kinds| kinds.starts_with("text/html")))
    );

    provider.misbehave(Misbehaviour::default().answer(Endpoint::Discovery, |answer| {
        answer.set_header("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    }));
    let checked = check(1);
    assert!(checked.contains("failed   provider okta: clock") && checked.contains("s ahead of"), "{checked}");

    provider.misbehave(
        Misbehaviour::default()
            .json(Endpoint::Discovery, |metadata| metadata["issuer"] = json!("https://a.test/")),
    );
    let checked = check(1);
    let both = format!("configured `{}`, the provider's metadata has `https://a.test/`", provider.issuer());
    assert!(checked.contains(&both), "{checked}");
}

fn as_entra(answers: Misbehaviour) -> Misbehaviour {
    answers.json(Endpoint::Discovery, |metadata| {
        let members = metadata.as_object_mut().expect("an object");
        members.remove("code_challenge_methods_supported");
        members.remove("authorization_response_iss_parameter_supported");
        metadata["token_endpoint_auth_methods_supported"] =
            json!(["client_secret_post", "private_key_jwt", "client_secret_basic"]);
    })
}

/// Starts a daemon with the provider in the page's block under `heading`, except for its address and authentication.
fn configured(heading: &str, change: impl FnOnce(&mut ProviderEntry)) -> (Provider, Daemon) {
    let provider = Provider::start();
    let blocks = Page::read("docs/providers.md").blocks();
    let block = blocks.into_iter().find(|block| block.heading == heading).expect("a block");
    let lines = block.text.lines().skip_while(|line| !line.starts_with("  - name: ")).skip(1);
    let keys =
        lines.take_while(|line| line.starts_with("    ")).filter_map(|line| line.trim().split_once(": "));
    let own = ["kind", "issuer", "clientID", "clientSecret", "caFile"];
    let mut keys: Vec<(&str, &str)> = keys.filter(|(key, _)| !own.contains(key)).collect();
    let position = keys.iter().position(|(key, _)| *key == "allow").expect("the page says whom");
    let (_, allow) = keys.remove(position);
    let more = keys.iter().map(|(key, value)| format!("\n    {key}: {value}"));
    let mut entry = ProviderEntry::of(&provider);
    // `allow` is the last key of the generated entry, so the other keys follow it.
    entry.allow = std::iter::once(allow.to_owned()).chain(more).collect();
    change(&mut entry);
    let daemon = Daemon::start_for(vec![entry], |_| {});
    (provider, daemon)
}

/// Sets the provider's answers and the claims in its ID tokens.
fn answers(provider: &Provider, like: Answers, claims: &[(&'static str, Value)]) {
    let claims = claims.to_vec();
    let misbehaviour = Misbehaviour::default().id_token(move |draft| {
        for (name, value) in &claims {
            draft.set_claim(name, value.clone());
        }
    });
    provider.misbehave(like(misbehaviour));
}

/// Signs in and returns why the login was refused.
fn refusal(daemon: &Daemon, provider: &Provider) -> ProblemCode {
    let started = Started::at(daemon);
    let finished = started.finish(&started.sign_in(provider));
    assert!(finished.status >= 400, "it was not refused: {finished:?}");
    finished.problem().code
}

fn redirect_uri(daemon: &Daemon) -> String {
    let port = daemon.redirect_ports().into_iter().next().expect("a port");
    format!("http://127.0.0.1:{port}/callback")
}
